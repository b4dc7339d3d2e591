//! Starts the process's one Python interpreter: the environment of packages that the operator means, or
//! one sentence that says why not.
//! It takes no signal, and changes nothing of the process but what Python itself does.
//!
//! The executable, by whose place Python finds its packages: the `venv` setting, `$VIRTUAL_ENV`, then
//! `python3` or `python` on `PATH` if its folder belongs to a virtual environment; else Python looks for
//! `python3` by itself.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::Python;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::ffi::{self, Action, Config};
use crate::error::{Error, Result};
use crate::trace;

/// The version of Python that this crate was built with: `3.11.7`.
const BUILT_WITH: &str = env!("OXICORN_PYTHON");
/// Where that Python has its own modules, if that was known: `/usr/lib/python3.11`.
const LIBRARY: &str = env!("OXICORN_PYTHON_LIBRARY");

/// Whether the interpreter of this process was started here, in it or in a parent.
static OURS: AtomicBool = AtomicBool::new(false);

/// Whether the interpreter is this crate's, and not the program's own.
pub(crate) fn is_ours() -> bool {
    OURS.load(Ordering::Relaxed)
}

/// Makes sure that there is an interpreter. The first call's thread becomes Python's main thread.
pub(crate) fn start(venv: Option<&Path>) -> Result<()> {
    static STARTING: Mutex<()> = Mutex::new(());

    // Nobody can hold Python's lock and wait for this one: who holds Python's lock finds it running.
    let _guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if ffi::is_running() {
        return Ok(());
    }
    compare_versions(Python::version_str())?;
    let executable = find_executable(venv)?;
    let interrupt = Action::of(libc::SIGINT).is_ok_and(|action| action.is_default());
    let configured = || -> Result<(), String> {
        let mut config = Config::new();
        config.argv(env::args_os())?;
        match &executable {
            Some(path) => config.executable(path.as_os_str())?,
            None => config.program_name(OsStr::new("python3"))?,
        }
        config.start()
    };
    configured().map_err(|cause| {
        let why = obstacle(env::var_os("PYTHONHOME").as_deref(), Path::new(LIBRARY));
        Error::boot(format!("Python {BUILT_WITH} cannot start: {cause}{why}"))
    })?;
    OURS.store(true, Ordering::Relaxed);
    if interrupt {
        // Python takes SIGINT where nobody has it, whatever it was told; it is given back to the program.
        Python::attach(release_interrupt)
            .map_err(|error| Error::boot(format!("Python {BUILT_WITH} keeps SIGINT: {error}")))?;
    }
    Ok(())
}

/// What may keep Python from its own modules: where it was told to look for them, or where they were.
fn obstacle(home: Option<&OsStr>, library: &Path) -> String {
    if let Some(home) = home {
        return format!(" (PYTHONHOME is {})", Path::new(home).display());
    }
    match fs::read_dir(library) {
        Err(error) if !library.as_os_str().is_empty() => {
            format!("; {} cannot be read: {error}", library.display())
        }
        _ => String::new(),
    }
}

fn release_interrupt(py: Python<'_>) -> PyResult<()> {
    let signal = py.import("signal")?;
    signal.call_method1("signal", (libc::SIGINT, signal.getattr("SIG_DFL")?))?;
    Ok(())
}

/// Puts the current folder and `paths` in front of `sys.path`. On an interpreter that is a program's own, `paths`
/// only: the rest is not asked for.
pub(crate) fn set_path(py: Python<'_>, paths: &[PathBuf], own_process: bool) -> PyResult<()> {
    let list = py.import("sys")?.getattr(intern!(py, "path"))?;
    let list = list.cast::<PyList>()?;
    let cwd = env::current_dir().ok().filter(|_| own_process || is_ours());
    let entries = cwd.iter().map(|cwd| Ok(cwd.clone()));
    let entries = entries
        .chain(paths.iter().map(std::path::absolute))
        .collect::<Result<Vec<_>, _>>()?;
    for entry in entries.iter().rev() {
        let entry = entry.as_os_str();
        while list.contains(entry)? {
            list.call_method1("remove", (entry,))?;
        }
        list.insert(0, entry)?;
    }
    Ok(())
}

/// Puts `variables` into `os.environ`. In a program's own process Python alone sees them: the environment of a process
/// with threads must not be written to.
pub(crate) fn set_environ<'v>(
    py: Python<'_>,
    variables: impl IntoIterator<Item = (&'v OsStr, &'v OsStr)>,
    own_process: bool,
) -> PyResult<()> {
    let environ = py.import("os")?.getattr("environ")?;
    for (key, value) in variables {
        if own_process {
            environ.set_item(key, value)?;
        } else {
            let key = environ.call_method1("encodekey", (key,))?;
            let value = environ.call_method1("encodevalue", (value,))?;
            environ.getattr("_data")?.set_item(key, value)?;
        }
    }
    Ok(())
}

/// The interpreter that runs must be of the minor version that this crate was built with (its structures
/// differ), and had better be the very same.
fn compare_versions(running: &str) -> Result<()> {
    let running = running.split(' ').next().unwrap_or(running);
    if minor(running) != minor(BUILT_WITH) {
        return Err(Error::boot(format!(
            "the loader found the library of Python {running}, but this program was built with Python \
             {BUILT_WITH}: see LD_LIBRARY_PATH"
        )));
    }
    if running != BUILT_WITH {
        trace::warning!(
            "The loader found the library of Python {running}, but this program was built with Python \
             {BUILT_WITH}"
        );
    }
    Ok(())
}

/// `(3, 11)` of `3.11.7` or `3.11.7.final.0`.
fn minor(version: &str) -> Option<(u16, u16)> {
    let mut parts = version.trim().split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn find_executable(venv: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(folder) = venv {
        if !folder.is_dir() {
            return Err(Error::boot(format!(
                "there is no virtual environment {}: no such folder",
                folder.display()
            )));
        }
        return match read_venv(folder)? {
            Some(executable) => Ok(Some(executable)),
            None => Err(Error::boot(format!(
                "{} is not a virtual environment: it has no pyvenv.cfg",
                folder.display()
            ))),
        };
    }
    if let Some(folder) = env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty()) {
        let folder = Path::new(&folder);
        if let Some(executable) = read_venv(folder)? {
            return Ok(Some(executable));
        }
        trace::warning!(
            "VIRTUAL_ENV is {}, which is not a virtual environment",
            folder.display()
        );
    }
    let folders: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    for name in ["python3", "python"] {
        let found = folders.iter().find(|folder| folder.join(name).is_file());
        let Some(folder) = found.and_then(|bin| bin.parent()) else {
            continue;
        };
        if let Some(executable) = read_venv(folder)? {
            return Ok(Some(executable));
        }
    }
    Ok(None)
}

/// The executable of the virtual environment in `folder`; `None` if that is none (PEP 405).
///
/// # Errors
///
/// Where it belongs to another version of Python: that would start without its packages, and not say so.
fn read_venv(folder: &Path) -> Result<Option<PathBuf>> {
    let Ok(facts) = fs::read_to_string(folder.join("pyvenv.cfg")) else {
        return Ok(None);
    };
    if let Some(version) = version_of_venv(&facts) {
        if minor(version).is_some_and(|found| Some(found) != minor(BUILT_WITH)) {
            return Err(Error::boot(format!(
                "the virtual environment {} is of Python {version}, but this program was built with \
                 Python {BUILT_WITH}: make one with that version, or build with PYO3_PYTHON={}",
                folder.display(),
                folder.join("bin/python").display(),
            )));
        }
    }
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    Ok(Some(absolute.join("bin/python")))
}

/// The version in a `pyvenv.cfg`: `version` of `venv`, `version_info` of `virtualenv` and `uv`.
fn version_of_venv(facts: &str) -> Option<&str> {
    facts
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| {
            let key = key.trim();
            key.eq_ignore_ascii_case("version") || key.eq_ignore_ascii_case("version_info")
        })
        .map(|(_, version)| version.trim())
}

/// The names of Python's threads of which `which` is true, other than the main one.
pub(crate) fn threads(
    py: Python<'_>,
    which: impl Fn(&Bound<'_, PyAny>) -> PyResult<bool>,
) -> PyResult<Vec<String>> {
    let Some(threading) = loaded(py, "threading")? else {
        return Ok(Vec::new());
    };
    let main = threading.call_method0("main_thread")?;
    let mut names = Vec::new();
    for thread in threading.call_method0("enumerate")?.try_iter()? {
        let thread = thread?;
        if !thread.is(&main) && which(&thread)? {
            names.push(thread.getattr("name")?.to_string());
        }
    }
    Ok(names)
}

/// A module that was imported already; nothing is imported for the end.
pub(crate) fn loaded<'py>(py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let modules = py.import("sys")?.getattr("modules")?;
    let module = modules.call_method1("get", (name,))?;
    Ok((!module.is_none()).then_some(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn venv(facts: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pyvenv.cfg"), facts).unwrap();
        folder
    }

    #[test]
    fn a_python_without_its_modules_says_where_they_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("python");
        assert_eq!(
            obstacle(None, &missing),
            format!(
                "; {} cannot be read: No such file or directory (os error 2)",
                missing.display()
            )
        );
        let told = obstacle(Some(OsStr::new("/opt")), &missing);
        assert_eq!(told, " (PYTHONHOME is /opt)");
        assert_eq!(obstacle(None, folder.path()), "");
        assert_eq!(obstacle(None, Path::new("")), "");
    }

    #[test]
    fn a_venv_of_another_version_is_refused_with_both_versions() {
        for facts in [
            "home = /usr/bin\nversion = 3.2.1\n",
            "home = /usr\nversion_info = 3.2.1.final.0\n",
        ] {
            let folder = venv(facts);
            let error = find_executable(Some(folder.path())).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("3.2.1") && text.contains(BUILT_WITH),
                "{text}"
            );
            assert_eq!(error.exit_code(), 3);
        }
    }

    #[test]
    fn a_venv_of_this_version_gives_its_executable() {
        let folder = venv(&format!("home = /usr/bin\nversion = {BUILT_WITH}\n"));
        assert_eq!(
            find_executable(Some(folder.path())).unwrap(),
            Some(folder.path().join("bin/python"))
        );
    }

    #[test]
    fn a_missing_venv_is_named() {
        let error = find_executable(Some(Path::new("/no/such/venv"))).unwrap_err();
        assert!(error.to_string().contains("/no/such/venv"));
        let folder = tempfile::tempdir().unwrap();
        let error = find_executable(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("pyvenv.cfg"));
    }

    #[test]
    fn a_library_of_another_minor_version_is_refused() {
        let error = compare_versions("3.2.1 (main, 2011) [GCC]").unwrap_err();
        assert!(error.to_string().contains("3.2.1"), "{error}");
        assert!(compare_versions(BUILT_WITH).is_ok());
    }
}
