//! Starts the process's one Python interpreter, and sets the paths and variables that an application is imported with.
//! It takes no signal. Of the process it changes only what Python itself changes.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::Python;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::ffi::{self, Config};
use super::venv::{BUILT_WITH, find_executable, minor_version};
use crate::error::{Error, Result};
use crate::sys::sigaction::SigAction;
use crate::trace;

/// The folder of the standard library of the Python that this crate was built with, if it was known:
/// `/usr/lib/python3.11`.
const LIBRARY: &str = env!("OXICORN_PYTHON_LIBRARY");

/// Whether the interpreter of this process was started here, in it or in a parent.
static OURS: AtomicBool = AtomicBool::new(false);

/// Whether the interpreter is this crate's, and not the program's own.
pub(crate) fn is_ours() -> bool {
    OURS.load(Ordering::Relaxed)
}

/// Starts an interpreter, unless this process has one. The calling thread becomes Python's main thread.
///
/// # Errors
///
/// In one sentence: where the library's version is another than this crate was built with, where `venv` is no virtual
/// environment of that version, and where Python does not start.
pub(crate) fn start(venv: Option<&Path>) -> Result<()> {
    static STARTING: Mutex<()> = Mutex::new(());

    let _guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if ffi::is_running() {
        return Ok(());
    }
    compare_versions(Python::version_str())?;
    let executable = find_executable(venv)?;
    let interrupt = SigAction::current(libc::SIGINT).is_ok_and(|action| action.is_default());
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
        let hint = library_hint(env::var_os("PYTHONHOME").as_deref(), Path::new(LIBRARY));
        Error::boot(format!("Python {BUILT_WITH} cannot start: {cause}{hint}"))
    })?;
    OURS.store(true, Ordering::Relaxed);
    Python::attach(write_by_line)
        .map_err(|error| Error::boot(format!("Python {BUILT_WITH} has no output: {error}")))?;
    if interrupt {
        // Python takes a SIGINT with the default action in spite of its configuration. The program gets it back.
        Python::attach(release_interrupt)
            .map_err(|error| Error::boot(format!("Python {BUILT_WITH} keeps SIGINT: {error}")))?;
    }
    Ok(())
}

/// Why Python may not find its standard library, as the end of a sentence: PYTHONHOME, or a folder that is gone.
fn library_hint(home: Option<&OsStr>, library: &Path) -> String {
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

/// Has the standard output and the standard error write each line at once. Without a buffer, `print` writes a line and its
/// end in two steps, and what another process says may come between them.
fn write_by_line(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let how = PyDict::new(py);
    how.set_item("line_buffering", true)?;
    how.set_item("write_through", false)?;
    for name in ["stdout", "stderr"] {
        let stream = sys.getattr(name)?;
        // A descriptor that was closed at the start has none.
        if !stream.is_none() {
            stream.call_method("reconfigure", (), Some(&how))?;
        }
    }
    Ok(())
}

fn release_interrupt(py: Python<'_>) -> PyResult<()> {
    let signal = py.import("signal")?;
    signal.call_method1("signal", (libc::SIGINT, signal.getattr("SIG_DFL")?))?;
    Ok(())
}

/// Puts the current folder and `paths` in front of `sys.path`; on an interpreter that is a program's own, only `paths`.
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

/// Sets `variables` in `os.environ`. Where this is not a worker's `own_process`, Python alone sees them: the
/// environment of a process with threads must not be written to.
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

/// Gives the variables `keys` in `os.environ` the values that the process itself has for them, or removes them. Python
/// alone sees it.
pub(crate) fn reset_environ<'k>(
    py: Python<'_>,
    keys: impl IntoIterator<Item = &'k OsStr>,
) -> PyResult<()> {
    let environ = py.import("os")?.getattr("environ")?;
    let data = environ.getattr("_data")?;
    for key in keys {
        let name = environ.call_method1("encodekey", (key,))?;
        match env::var_os(key) {
            Some(value) => data.set_item(name, environ.call_method1("encodevalue", (value,))?)?,
            None => drop(data.call_method1("pop", (name, py.None()))?),
        }
    }
    Ok(())
}

/// Compares the version of the loaded library with that of the build. Another minor version is an error, since its
/// structures differ; another patch version is a warning.
fn compare_versions(running: &str) -> Result<()> {
    let running = running.split(' ').next().unwrap_or(running);
    if minor_version(running) != minor_version(BUILT_WITH) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_without_its_modules_says_where_they_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("python");
        assert_eq!(
            library_hint(None, &missing),
            format!(
                "; {} cannot be read: No such file or directory (os error 2)",
                missing.display()
            )
        );
        let told = library_hint(Some(OsStr::new("/opt")), &missing);
        assert_eq!(told, " (PYTHONHOME is /opt)");
        assert_eq!(library_hint(None, folder.path()), "");
        assert_eq!(library_hint(None, Path::new("")), "");
    }

    #[test]
    fn a_line_of_output_leaves_in_one_piece() {
        start(None).unwrap();
        Python::attach(|py| {
            for name in ["stdout", "stderr"] {
                let stream = py.import("sys").unwrap().getattr(name).unwrap();
                let is = |what| stream.getattr(what).unwrap().is_truthy().unwrap();
                assert!(is("line_buffering") && !is("write_through"), "{name}");
            }
        });
    }

    #[test]
    fn a_library_of_another_minor_version_is_refused() {
        let error = compare_versions("3.2.1 (main, 2011) [GCC]").unwrap_err();
        assert!(error.to_string().contains("3.2.1"), "{error}");
        assert!(compare_versions(BUILT_WITH).is_ok());
    }
}
