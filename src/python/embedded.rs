//! Parts of this crate that are written in Python.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Runs a program, and gives the names that it has set. Its frames are those of the file `<oxicorn>`.
pub(crate) fn run<'py>(py: Python<'py>, source: &str) -> PyResult<Bound<'py, PyDict>> {
    let builtins = py.import("builtins")?;
    let code = builtins.call_method1("compile", (source, "<oxicorn>", "exec"))?;
    let names = PyDict::new(py);
    builtins.call_method1("exec", (code, &names))?;
    Ok(names)
}

/// The function `name` of a program, which is run anew for it.
pub(crate) fn function<'py>(
    py: Python<'py>,
    source: &str,
    name: &str,
) -> PyResult<Bound<'py, PyAny>> {
    run(py, source)?.as_any().get_item(name)
}
