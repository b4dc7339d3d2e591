#!/usr/bin/env bash
# Builds the crate for each CPython and runs the tests of `wsgi` and `python` with it, those with real frameworks among
# them; says at the end which versions were run, and which were left out and why. The free-threaded build is compiled.
#
#   tests/scripts/every_python.sh FOLDER [VERSION...]
#
# FOLDER gets the builds, a few hundred megabytes for each version. A VERSION is one of `pyenv versions`, such as
# 3.13.0, or the path of a python3; without any, all of pyenv's from 3.9 on are taken. DEBIAN=ROOT adds the python3 of
# Debian's unstable suite in a folder that debootstrap has made: it, python3-dev and python3-venv must be installed
# there. A CPython without a shared library cannot be embedded; pyenv makes one with
# PYTHON_CONFIGURE_OPTS=--enable-shared.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
folder=$(mkdir -p "$1" && cd "$1" && pwd)
shift
pythons=("$@")
if [ $# -eq 0 ]; then
  for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3; do
    [ -x "$python" ] && pythons+=("$python")
  done
fi
run=() compiled=() left_out=() failed=()

# What a CPython is: its version, "shared" if it can be embedded, "free-threaded" if it has no interpreter lock.
facts='
import sys, sysconfig
get = sysconfig.get_config_var
print("%d.%d.%d" % sys.version_info[:3], "shared" if get("Py_ENABLE_SHARED") else "static",
      "free-threaded" if get("Py_GIL_DISABLED") else "locked", get("LIBDIR"))
'

one() {
  local python=$1 version shared lock libraries
  read -r version shared lock libraries < <("$python" -c "$facts")
  case $version in
    2.* | 3.[0-8].*) left_out+=("$version: older than 3.9") && return ;;
  esac
  if [ "$shared" = static ]; then
    left_out+=("$version: no shared library") && return
  fi
  if [ "$lock" = free-threaded ]; then
    left_out+=("$version: free-threaded, which is compiled only") && return
  fi
  printf '\n==> CPython %s, %s\n' "$version" "$python"
  export PYO3_PYTHON=$python CARGO_TARGET_DIR=$folder/$version
  export LD_LIBRARY_PATH=$libraries
  # Rebuilt for each: no debug information.
  export CARGO_PROFILE_DEV_DEBUG=0
  unset VIRTUAL_ENV
  local skipped=()
  # Gunicorn 27, which some tests compare with, needs 3.10.
  case $version in
    3.9.*) skipped=(--skip migrated --skip byte_for_byte --skip gunicorns_own_client --skip whether_it_is_installed) ;;
  esac
  if cargo build --quiet --locked --examples &&
    cargo test --quiet --locked --lib -- wsgi:: python:: gunicorn:: &&
    cargo test --quiet --locked --test it -- wsgi:: "${skipped[@]}"; then
    run+=("$version")
  else
    failed+=("$version")
  fi
}

for python in "${pythons[@]}"; do
  case $python in
    /*) ;;
    *) python=${PYENV_ROOT:-$HOME/.pyenv}/versions/$python/bin/python3 ;;
  esac
  one "$python"
done

# Without the interpreter's lock: compiled by configuration, whether or not there is such a CPython.
printf '\n==> the free-threaded build, compiled\n'
cat >"$folder/free-threaded.txt" <<END
implementation=CPython
version=3.14
shared=true
lib_name=python3.14t
pointer_width=64
build_flags=Py_GIL_DISABLED
executable=$(command -v python3)
END
if (unset PYO3_PYTHON && PYO3_CONFIG_FILE=$folder/free-threaded.txt CARGO_TARGET_DIR=$folder/free-threaded \
  cargo check --quiet --locked --lib --tests); then
  compiled=("a free-threaded 3.14")
else
  failed+=("the free-threaded build")
fi

if [ -n "${DEBIAN-}" ]; then
  # Within that root: its libraries need its own libc. The crate, the registry's cache and the toolchain are shown there.
  printf '\n==> Debian unstable in %s\n' "$DEBIAN"
  cargo_home=${CARGO_HOME:-$HOME/.cargo}
  rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
  shown=("$PWD" "$folder" "$cargo_home" "$rustup_home" /proc /dev)
  hide() {
    for place in "${shown[@]}"; do umount -l "$DEBIAN$place" 2>/dev/null || true; done
  }
  trap hide EXIT
  for place in "${shown[@]}"; do
    mkdir -p "$DEBIAN$place"
    mount --rbind "$place" "$DEBIAN$place"
  done
  cp /etc/resolv.conf "$DEBIAN/etc/resolv.conf"
  inside() {
    chroot "$DEBIAN" /usr/bin/env -i HOME="$HOME" PATH="$cargo_home/bin:/usr/bin:/bin:/usr/sbin" \
      CARGO_HOME="$cargo_home" RUSTUP_HOME="$rustup_home" CARGO_PROFILE_DEV_DEBUG=0 \
      PIP_INDEX_URL="${PIP_INDEX_URL-}" PYO3_PYTHON=/usr/bin/python3 CARGO_TARGET_DIR="$folder/debian" \
      sh -c "cd '$PWD' && $1"
  }
  version=$(inside 'python3 -c "import platform; print(platform.python_version())"')
  # Where a frameworks' release does not build for it, the tests without them are run.
  if inside 'cargo test --quiet --locked --lib -- wsgi:: python:: gunicorn:: && cargo build --quiet --locked --examples &&
      cargo test --quiet --locked --test it -- wsgi::'; then
    run+=("$version of Debian")
  else
    failed+=("$version of Debian")
  fi
else
  left_out+=("Debian's: no DEBIAN=ROOT")
fi

tell() {
  local title=$1
  shift
  [ $# -eq 0 ] || printf '%s: %s\n' "$title" "$(printf '%s, ' "$@" | sed 's/, $//')"
}
echo
tell run "${run[@]}"
tell compiled "${compiled[@]}"
tell "left out" "${left_out[@]}"
tell failed "${failed[@]}"
[ ${#failed[@]} -eq 0 ]
