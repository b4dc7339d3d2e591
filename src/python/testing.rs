//! Shared by the unit tests of this folder and of those above it.

use pyo3::Python;

use super::interpreter;

/// Runs `f` with the process's interpreter.
pub(crate) fn with_python<R>(f: impl FnOnce(Python<'_>) -> R) -> R {
    interpreter::start(None).unwrap();
    Python::attach(f)
}
