#!/usr/bin/env bash
# Follows the README on a bare Debian 13, whose Rust is the oldest that the crate supports:
#
#   debian_13.sh FOLDER small    the crate compiles with its default features
#   debian_13.sh FOLDER whole    the README's commands, every feature alone, and all tests, with the locked dependencies
#                                and with the newest ones that this Rust can have
#
# As root. A Debian 13 is made in FOLDER by debootstrap(8), from the mirror of this machine's own apt, unless it is there
# from an earlier run. Takes minutes: 3 for the small size, 40 for the whole one.
set -euo pipefail

folder=$(realpath -m "$1")
size=$2
source=$(realpath "$(dirname "$0")/../..")
[ "$size" = small ] || [ "$size" = whole ] || { echo "the size is small or whole, not $size" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "left out: only root can make a Debian in a folder" >&2; exit 0; }
command -v debootstrap >/dev/null || { echo "left out: debootstrap is not installed" >&2; exit 0; }

step() { printf '\n==> Debian 13: %s (%s s)\n' "$*" "$SECONDS"; }

if [ ! -e "$folder/made" ]; then
  step "make it in $folder"
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m1 '/debian/*$')
  debootstrap --variant=minbase trixie "$folder" "$mirror" >"$folder.log" || { tail "$folder.log" >&2; exit 1; }
  touch "$folder/made"
fi

# The server's processes there.
serving() {
  for exe in /proc/[0-9]*/exe; do
    ! is_serving "${exe%/exe}" || basename "${exe%/exe}"
  done
}
is_serving() { [ "$(readlink "$1/exe")" = "$folder/oxicorn/target/release/examples/serve" ]; }

# The one that no other of them has forked.
arbiter() {
  for pid in $(serving); do
    is_serving "/proc/$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$pid/stat")" || echo "$pid"
  done
}

mounted=()
leave() {
  kill -KILL $(serving) 2>/dev/null || true
  for ((i = ${#mounted[@]} - 1; i >= 0; i--)); do umount -l "${mounted[i]}"; done
}
trap leave EXIT
for name in proc dev dev/pts; do
  case $name in
    proc) mount -t proc proc "$folder/proc" ;;
    dev) mount --bind /dev "$folder/dev" ;;
    dev/pts) mount --bind /dev/pts "$folder/dev/pts" ;;
  esac
  mounted+=("$folder/$name")
done

# What this machine knows of the network, and which certificates it trusts.
cp -L /etc/resolv.conf /etc/hosts "$folder/etc/"
trusted=()
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  cp -L /etc/ssl/certs/ca-certificates.crt "$folder/trusted.crt"
  trusted=(CARGO_HTTP_CAINFO=/trusted.crt PIP_CERT=/trusted.crt)
fi
# A command line there, by root, in the crate's folder and without this machine's environment.
inside() {
  chroot "$folder" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    CARGO_TERM_COLOR=never PORT=18613 "${trusted[@]}" sh -c "cd /oxicorn && $1"
}

# The commands of the README that begin with these words, one a line.
readme() { sed -n '/^```sh$/,/^```$/p' "$source/README.md" | grep "^$1"; }

step "copy what is committed"
mkdir -p "$folder/oxicorn"
# Of an earlier run the output stays, and every file counts as new.
find "$folder/oxicorn" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
git -C "$source" archive HEAD | tar -x -m -C "$folder/oxicorn"

install=$(readme 'apt-get install')
step "$install"
inside 'apt-get update -qq'
inside "DEBIAN_FRONTEND=noninteractive $install -y -qq" >"$folder.log" 2>&1 || { tail "$folder.log" >&2; exit 1; }
inside 'rustc --version && cargo --version && python3 --version'

if [ "$size" = small ]; then
  step "cargo check"
  inside 'cargo check --quiet --locked'
  exit
fi

run=$(readme 'cargo run' | head -1)
step "$run"
inside "$run" &
server=$!
answer="import urllib.request as u; print(u.urlopen('http://127.0.0.1:18613/', timeout=5).status)"
until inside "python3 -c \"$answer\"" 2>/dev/null; do
  kill -0 "$server" 2>/dev/null || { echo "the server has ended" >&2; exit 1; }
  sleep 1
done
kill "$(arbiter)"
wait "$server"

features=$(inside "python3 -c \"
import tomllib
print(*(name for name in tomllib.load(open('Cargo.toml', 'rb'))['features'] if name[0] != '_'))\"")
for feature in $features; do
  step "only the feature $feature"
  inside "cargo check --quiet --locked --no-default-features --features $feature"
done

step "cargo test"
inside 'cargo test --locked --no-fail-fast'
step "cargo test, with the newest dependencies for this Rust"
inside 'cargo update && cargo test --no-fail-fast'
