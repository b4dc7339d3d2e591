//! What applications and configuration files look for of Gunicorn: the package `gunicorn`, its loggers, and its name.
//!
//! The package is a small one of this crate's, and is found only where Gunicorn's own is not installed.

use std::fmt::Write as _;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::embedded;
use super::errors;

/// Whether this process has run a configuration file of Gunicorn's.
static HAS_FILE: AtomicBool = AtomicBool::new(false);

/// The logs, as the loggers `gunicorn.error` and `gunicorn.access` write to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggerSettings {
    /// A path, or `-` for the standard error.
    pub(crate) errorlog: Box<Path>,
    /// A path, or `-` for the standard output; `None` for no log.
    pub(crate) accesslog: Option<Box<Path>>,
    /// The name of a level, in lower case.
    pub(crate) level: String,
    /// The logger by which Python writes both logs, if it does.
    pub(crate) logger: Option<LoggerRecipe>,
}

/// How a logger of Gunicorn's interface is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggerRecipe {
    /// The dotted name of its class.
    pub(crate) class: String,
    /// The class itself, where a file has given that.
    pub(crate) class_object: Option<SharedObject>,
    pub(crate) logconfig: Option<Box<Path>>,
    pub(crate) logconfig_json: Option<Box<Path>>,
    pub(crate) logconfig_dict: Option<SharedObject>,
    pub(crate) access_log_format: String,
}

/// An object of a configuration file. Two are equal if they are the same.
#[derive(Clone, Debug)]
pub(crate) struct SharedObject(pub(crate) Arc<Py<PyAny>>);

impl PartialEq for SharedObject {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedObject {}

/// The loggers of this process, once they are set up.
struct Loggers {
    settings: LoggerSettings,
    logger: Option<Py<PyAny>>,
}

static LOGGERS: Mutex<Option<Loggers>> = Mutex::new(None);
/// The process that has a logger by which Python writes both logs; 0 is none. Children that others fork have none.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// The level of that logger, as Python's `logging` counts them.
static LEVEL: AtomicI64 = AtomicI64::new(0);
/// Whether that logger wants to know of requests.
static WANTS_REQUESTS: AtomicBool = AtomicBool::new(false);

/// No Python runs while this lock is held.
fn loggers() -> MutexGuard<'static, Option<Loggers>> {
    LOGGERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The logger of this process, if Python writes the logs.
pub(crate) fn logger(py: Python<'_>) -> Option<Py<PyAny>> {
    let loggers = loggers();
    let logger = loggers.as_ref()?.logger.as_ref()?;
    Some(logger.clone_ref(py))
}

/// The level of this process's logger, as Python's `logging` counts them; `None` where Python writes no log.
#[cfg(feature = "tracing")]
pub(crate) fn logger_level() -> Option<i64> {
    (PROCESS.load(Ordering::Relaxed) == process::id()).then(|| LEVEL.load(Ordering::Relaxed))
}

/// Whether the logger of this process is to know of requests.
pub(crate) fn wants_requests() -> bool {
    WANTS_REQUESTS.load(Ordering::Relaxed)
}

/// This process was just forked here, with the loggers of its parent.
pub(super) fn inherit_logger() {
    if PROCESS.load(Ordering::Relaxed) != 0 {
        PROCESS.store(process::id(), Ordering::Relaxed);
    }
}

/// Lets Python write no further message: its loggers are about to end.
pub(crate) fn release_logger() {
    PROCESS.store(0, Ordering::Relaxed);
}

/// The function by which a logger writes of one request.
pub(crate) fn log_access(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    step(py, "log_access")
}

/// Makes the logger, which sets both of Python's loggers up.
fn make_logger(
    py: Python<'_>,
    settings: &LoggerSettings,
    recipe: &LoggerRecipe,
) -> PyResult<Py<PyAny>> {
    let values = PyDict::new(py);
    let paths = [
        ("errorlog", Some(&settings.errorlog)),
        ("accesslog", settings.accesslog.as_ref()),
        ("logconfig", recipe.logconfig.as_ref()),
        ("logconfig_json", recipe.logconfig_json.as_ref()),
    ];
    for (name, path) in paths {
        values.set_item(name, path.map(|path| path.as_os_str()))?;
    }
    values.set_item("loglevel", &settings.level)?;
    values.set_item("access_log_format", &recipe.access_log_format)?;
    // The server does these by itself.
    for name in [
        "capture_output",
        "syslog",
        "disable_redirect_access_to_syslog",
    ] {
        values.set_item(name, false)?;
    }
    let object = |object: &Option<SharedObject>| {
        let object = object.as_ref();
        object.map(|object| object.0.clone_ref(py).into_bound(py))
    };
    let class = match object(&recipe.class_object) {
        Some(class) => class,
        None => recipe.class.as_str().into_pyobject(py)?.into_any(),
    };
    let made = step(py, "make_logger")?.call1((values, class, object(&recipe.logconfig_dict)))?;
    let (logger, level, wants_requests) = made.extract()?;
    LEVEL.store(level, Ordering::Relaxed);
    WANTS_REQUESTS.store(wants_requests, Ordering::Relaxed);
    Ok(logger)
}

/// The function of this name, of a program that is run once in a process.
fn step<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static NAMES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

    let names = NAMES.get_or_try_init(py, || {
        embedded::run(py, include_str!("gunicorn_names.py")).map(Bound::unbind)
    })?;
    names.bind(py).as_any().get_item(name)
}

/// Makes `import gunicorn` and `from gunicorn.glogging import Logger` work.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    step(py, "install")?.call1((include_str!("glogging.py"),))?;
    Ok(())
}

/// Notes that this process runs a configuration file of Gunicorn's.
pub(crate) fn runs_file() {
    HAS_FILE.store(true, Ordering::Relaxed);
}

/// Gives both loggers handlers and a level. A logger of a class of its own gets all later messages of this process.
pub(crate) fn set_up_loggers(py: Python<'_>, settings: &LoggerSettings) -> PyResult<()> {
    let logger = if let Some(recipe) = &settings.logger {
        Some(make_logger(py, settings, recipe)?)
    } else {
        // As text: of a path Python makes an object of `pathlib`, which it imports for that.
        let errorlog = settings.errorlog.as_os_str();
        let accesslog = settings.accesslog.as_deref().map(Path::as_os_str);
        let level = settings.level.to_ascii_uppercase();
        step(py, "set_up")?.call1((errorlog, accesslog, level))?;
        None
    };
    let process = logger.as_ref().map_or(0, |_| process::id());
    let settings = settings.clone();
    let former = loggers().replace(Loggers { settings, logger });
    PROCESS.store(process, Ordering::Relaxed);
    // Its end may run Python's code.
    drop(former);
    Ok(())
}

/// Sets the loggers up, unless they are so in this process or in that which has forked it.
///
/// # Errors
///
/// In one sentence. The traceback is logged.
pub(crate) fn inherit_or_set_up_loggers(
    py: Python<'_>,
    settings: &LoggerSettings,
) -> Result<(), String> {
    let are_set_up = loggers()
        .as_ref()
        .is_some_and(|loggers| loggers.settings == *settings);
    if are_set_up {
        return Ok(());
    }
    set_up_loggers(py, settings).map_err(|error| why_not(py, &error))
}

/// Why the loggers cannot be set up, in one sentence. The traceback is logged.
pub(crate) fn why_not(py: Python<'_>, error: &PyErr) -> String {
    errors::log(py, &errors::traceback(py, error));
    let mut sentence = format!(
        "the loggers cannot be set up: {}",
        errors::summary(py, error)
    );
    // `logging` tells of the cause in another exception.
    let causes = std::iter::successors(error.cause(py), |cause| cause.cause(py));
    if let Some(cause) = causes.last() {
        let _ = write!(sentence, " ({})", errors::summary(py, &cause));
    }
    sentence
}

/// What a program has put in the place of `gunicorn.SERVER`, if it has.
pub(crate) fn replaced_server(py: Python<'_>) -> PyResult<Option<String>> {
    step(py, "replaced")?.call1(("SERVER",))?.extract()
}

/// The value of `SERVER_SOFTWARE`: what a program has put in the place of `gunicorn.SERVER_SOFTWARE`, or else `own`. Where
/// a configuration file of Gunicorn's is used, it contains the word gunicorn, which applications look for.
pub(crate) fn software(py: Python<'_>, own: &str) -> PyResult<String> {
    let replaced: Option<String> = step(py, "replaced")?
        .call1(("SERVER_SOFTWARE",))?
        .extract()?;
    Ok(match replaced {
        Some(software) => software,
        None if HAS_FILE.load(Ordering::Relaxed) => format!("{own} (gunicorn)"),
        None => own.to_owned(),
    })
}
