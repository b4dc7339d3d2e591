//! [`ConfigFile`]: a configuration file that is a Python program, as Gunicorn has them.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyType};

use super::functions::{self, Function, HookFunctions};
use super::generation;
use super::owner::warn_of_writers;
use super::values::value;
use crate::config::{FileValue, Origin, Setting, SettingsSource, Unserved};
use crate::error::{Error, Result};
use crate::python::gunicorn_names::SharedObject;
use crate::python::{embedded, errors, fork, gunicorn_names, interpreter};
use crate::sys::user::effective_uid;

/// The file that is read where no other one is named.
#[cfg(feature = "cli")]
const DEFAULT: &str = "gunicorn.conf.py";

/// A configuration file that is a Python program: the settings are names that it sets.
///
/// ```no_run
/// use oxicorn::config::{Settings, SettingsSource};
/// use oxicorn::gunicorn::ConfigFile;
///
/// let file = ConfigFile::named("shop.conf.py")?.run(None)?;
/// let settings = Settings::load([&SettingsSource::environment(), &file])?;
/// # Ok::<(), oxicorn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    program: Program,
    /// The folder in which the program runs.
    folder: PathBuf,
}

/// An exception in one line, its traceback, the place in the file that it has passed through, and the place that has raised
/// it.
type Explanation = (String, String, Option<String>, Option<String>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Program {
    File(PathBuf),
    Module(String),
}

impl ConfigFile {
    /// The file that `name` names: a path, `file:PATH`, or `python:MODULE`. A relative path is one of the current folder,
    /// in which the file will run, wherever this process is then.
    ///
    /// # Errors
    ///
    /// The current folder cannot be found.
    pub fn named(name: impl AsRef<OsStr>) -> Result<Self> {
        let folder = env::current_dir()
            .map_err(|error| Error::io("cannot find the current folder", error))?;
        Ok(Self::named_in(name.as_ref(), folder))
    }

    /// The same, in another folder.
    pub(crate) fn named_in(name: &OsStr, folder: PathBuf) -> Self {
        let program = match name.to_str() {
            Some(text) => match (text.strip_prefix("python:"), text.strip_prefix("file:")) {
                (Some(module), _) => Program::Module(module.to_owned()),
                (None, path) => Program::File(folder.join(path.unwrap_or(text))),
            },
            None => Program::File(folder.join(name)),
        };
        Self { program, folder }
    }

    /// `gunicorn.conf.py` of a folder, if there is one.
    #[cfg(feature = "cli")]
    pub(crate) fn of_folder(folder: &Path) -> Option<Self> {
        let path = folder.join(DEFAULT);
        path.exists().then(|| Self {
            program: Program::File(path),
            folder: folder.to_owned(),
        })
    }

    /// Runs the file in this process, and gives the settings that it has set, each with its line.
    ///
    /// An interpreter is started unless the process has one, with the packages of the virtual environment `venv`, or
    /// else of the activated one. The file runs in its folder, which comes first in `sys.path`. Names that are no
    /// settings are the file's own.
    ///
    /// # Errors
    ///
    /// In one sentence with file, line and cause: the file does not exist, cannot be compiled, or raises. A traceback is
    /// logged. [`exit_code`](Error::exit_code) is that of `sys.exit` where the file calls it, else 1.
    pub fn run(&self, venv: Option<&Path>) -> Result<SettingsSource> {
        if let Program::File(path) = &self.program {
            if !path.exists() {
                return Err(Error::config(format!("there is no {self}")));
            }
        }
        interpreter::start(venv)?;
        let left = env::current_dir();
        let entered = env::set_current_dir(&self.folder);
        entered.map_err(|e| Error::io(self.cannot("run in its folder"), e))?;
        fork::keep_exit_functions();
        let names = Python::attach(|py| {
            gunicorn_names::runs_file();
            let executed = interpreter::set_path(py, &[], true)
                .and_then(|()| gunicorn_names::install(py))
                .and_then(|()| self.execute(py));
            let (path, names) = executed.map_err(|error| self.failed(py, &error))?;
            if venv.is_none() {
                check_venv(&path, &names)?;
            }
            self.warn_of_changed_modules(py)
                .map_err(|error| unreadable(&path, &error))?;
            let source = collect(&path, &names)?;
            let server = gunicorn_names::replaced_server(py);
            let server = server.map_err(|error| self.failed(py, &error))?;
            // The file's own setting of the field has precedence.
            Ok(match server {
                Some(server) => {
                    let origin = Origin::File { path, line: None };
                    let server = FileValue::Text(server.into());
                    SettingsSource::new()
                        .file_value("server_header", &server, origin)
                        .followed_by(source)
                }
                None => source,
            })
        });
        if let Ok(left) = left {
            env::set_current_dir(left).map_err(|e| Error::io(self.cannot("go back from"), e))?;
        }
        names
    }

    /// Executes the program; gives its path, and its names with their values and lines.
    fn execute<'py>(&self, py: Python<'py>) -> PyResult<(PathBuf, Bound<'py, PyList>)> {
        let spec = match &self.program {
            Program::File(path) => step(py, "spec_of_file")?.call1((path.as_os_str(),))?,
            Program::Module(name) => step(py, "spec_of_module")?.call1((name,))?,
        };
        let origin: Option<PathBuf> = spec.getattr("origin")?.extract()?;
        if let Some(path) = origin {
            warn_of_writers(&path, effective_uid());
        }
        step(py, "execute")?.call1((spec,))?.extract()
    }

    /// Modules that the file imports are not imported again by another run of it.
    fn warn_of_changed_modules(&self, py: Python<'_>) -> PyResult<()> {
        static SEEN: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

        let seen = SEEN.get_or_init(py, || PyDict::new(py).unbind());
        let own = match &self.program {
            Program::File(_) => "__config__",
            Program::Module(name) => name,
        };
        let changed = step(py, "changed_modules")?.call1((seen, own))?;
        let changed: Vec<String> = changed.extract()?;
        if !changed.is_empty() {
            let modules = changed.join(", ");
            let text = format!(
                "Changed since the arbiter has imported them, and still as they were, also in its workers: {modules} (an \
                 upgrade, USR2, takes them as they are now)"
            );
            errors::warn(py, &text);
        }
        Ok(())
    }

    fn cannot(&self, what: &str) -> String {
        format!("cannot {what} the {self}")
    }

    /// Logs an exception of the file, and returns it as one sentence.
    fn failed(&self, py: Python<'_>, error: &PyErr) -> Error {
        let (cause, traceback, at) = match self.explain(py, error) {
            Ok((cause, traceback, Some(own), Some(last))) if own != last => {
                (cause, traceback, format!(" ({own}, raised in {last})"))
            }
            Ok((cause, traceback, own, last)) => {
                let place = own.or(last).map(|place| format!(" ({place})"));
                (cause, traceback, place.unwrap_or_default())
            }
            Err(_) => (
                errors::summary(py, error),
                errors::traceback(py, error),
                String::new(),
            ),
        };
        errors::log(py, &traceback);
        Error::config(format!("{}: {cause}{at}", self.cannot("run")))
            .with_exit_status(errors::exit_status(py, error))
    }

    fn explain(&self, py: Python<'_>, error: &PyErr) -> PyResult<Explanation> {
        let path = match &self.program {
            Program::File(path) => Some(path.as_os_str()),
            Program::Module(_) => None,
        };
        step(py, "explain")?
            .call1((path, error.value(py)))?
            .extract()
    }
}

/// The settings and the hooks among a file's names.
fn collect(path: &Path, names: &Bound<'_, PyList>) -> Result<SettingsSource> {
    let mut source = SettingsSource::new();
    let mut functions = BTreeMap::new();
    for entry in names {
        let entry = entry.extract::<(String, Bound<'_, PyAny>, Option<u32>)>();
        let (name, object, line) = entry.map_err(|error| unreadable(path, &error))?;
        let origin = Origin::File {
            path: path.to_owned(),
            line,
        };
        if let Some((hook, arguments)) = functions::arguments(&name) {
            if !object.is_none() {
                let function = Function::new(hook, &object, arguments);
                let function =
                    function.map_err(|error| no_function(hook, &origin, &object, &error))?;
                functions.insert(hook, function);
            }
            continue;
        }
        let is_object = match name.as_str() {
            "logconfig_dict" => !object.is_none(),
            "logger_class" => object.is_instance_of::<PyType>(),
            _ => false,
        };
        if is_object {
            let shared = SharedObject(Arc::new(object.clone().unbind()));
            source = source.object(name.clone(), Arc::new(shared), origin.clone());
        }
        if name == "logconfig_dict" {
            continue;
        }
        // Of the file's own names only the spelling matters: their values may be anything.
        let known = Setting::named(&name).is_some() || Unserved::named(&name).is_some();
        let value = if known {
            value(&object).map_err(|error| unreadable(path, &error))?
        } else {
            FileValue::Absent
        };
        source = source.file_value(&name, &value, origin);
    }
    let origin = Origin::File {
        path: path.to_owned(),
        line: None,
    };
    let functions = HookFunctions::new(functions);
    Ok(source.object(generation::OBJECT, Arc::new(functions), origin))
}

/// A file that names a virtual environment must run in it.
fn check_venv(path: &Path, names: &Bound<'_, PyList>) -> Result<()> {
    let other = step(names.py(), "other_venv").and_then(|step| step.call1((names,))?.extract());
    let other: Option<(String, Option<u32>, String)> =
        other.map_err(|error| unreadable(path, &error))?;
    let Some((venv, line, prefix)) = other else {
        return Ok(());
    };
    let origin = Origin::File {
        path: path.to_owned(),
        line,
    };
    Err(Error::config(format!(
        "venv = {venv} ({origin}) is not where the file itself runs, which is {prefix}: name it on the command line \
         (--venv), or activate it"
    )))
}

/// A value for a hook that is none.
fn no_function(name: &str, origin: &Origin, value: &Bound<'_, PyAny>, error: &PyErr) -> Error {
    let expected = errors::message(value.py(), error);
    let shown = value.getattr("__qualname__");
    let value = shown.as_ref().unwrap_or(value);
    Error::config(format!(
        "invalid value '{value}' for {name} ({origin}): expected {expected}"
    ))
}

/// A value whose own code fails where it is read.
fn unreadable(path: &Path, error: &PyErr) -> Error {
    Error::config(format!(
        "cannot read a value of {}: {error}",
        path.display()
    ))
}

/// `configuration file /srv/shop/gunicorn.conf.py`, or `configuration module shop.conf`.
impl fmt::Display for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.program {
            Program::File(path) => write!(f, "configuration file {}", path.display()),
            Program::Module(name) => write!(f, "configuration module {name}"),
        }
    }
}

/// The function `name` of `config_file.py`.
fn step<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    embedded::function(py, include_str!("config_file.py"), name)
}
