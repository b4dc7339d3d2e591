//! [`python_env`]: a virtual environment with what `tests/requirements.txt` names, made once.
//!
//! Nothing outside cargo's target folder is touched.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::fcntl::{Flock, FlockArg};

use super::target;

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// The environment's folder, made where it is not there yet.
///
/// # Panics
///
/// Where it cannot be made, with what Python or pip said.
#[track_caller]
pub(crate) fn python_env() -> &'static Path {
    static ENV: OnceLock<PathBuf> = OnceLock::new();
    ENV.get_or_init(make)
}

fn make() -> PathBuf {
    let python = python();
    let version = run(
        Command::new(&python).args(["-c", "import platform; print(platform.python_version())"])
    );
    let mut hash = DefaultHasher::new();
    (REQUIREMENTS, &python).hash(&mut hash);
    let name = format!("python-{}-{:016x}", version.trim(), hash.finish());
    let folder = target().join(name);

    // Other test processes may be about to make the same.
    let lock = File::create(target().join("python.lock")).expect("the target folder is writable");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e);
    let complete = folder.join("complete");
    if !complete.exists() {
        eprintln!("making {} (once)", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("what an interrupted run has left goes");
        }
        let requirements = folder.join("requirements.txt");
        run(Command::new(&python).args(["-m", "venv"]).arg(&folder));
        fs::write(&requirements, REQUIREMENTS).expect("the folder is there");
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements));
        File::create(&complete).expect("the folder is there");
    }
    folder
}

/// The interpreter whose library was linked, found as pyo3's build script finds it.
pub(crate) fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("PYO3_PYTHON") {
        return python.into();
    }
    if let Some(env) = std::env::var_os("VIRTUAL_ENV") {
        return Path::new(&env).join("bin/python");
    }
    let runs = |name: &&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.stdout.starts_with(b"Python 3"))
    };
    let found = ["python", "python3"].into_iter().find(runs);
    found.expect("there is a python3 on PATH").into()
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "the tests need a Python with venv and pip, and a package index that pip can reach; \
         {command:?} failed:\n{out}{err}"
    );
    out.into_owned()
}
