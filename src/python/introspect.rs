//! The modules and the threads of the running interpreter. Nothing is imported to find out.

use pyo3::prelude::*;

/// A module that was imported already.
pub(super) fn loaded_module<'py>(
    py: Python<'py>,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let modules = py.import("sys")?.getattr("modules")?;
    let module = modules.call_method1("get", (name,))?;
    Ok((!module.is_none()).then_some(module))
}

/// The names of Python's threads for which `filter` returns true, without the main thread.
pub(super) fn thread_names(
    py: Python<'_>,
    filter: impl Fn(&Bound<'_, PyAny>) -> PyResult<bool>,
) -> PyResult<Vec<String>> {
    let Some(threading) = loaded_module(py, "threading")? else {
        return Ok(Vec::new());
    };
    let main = threading.call_method0("main_thread")?;
    let mut names = Vec::new();
    for thread in threading.call_method0("enumerate")?.try_iter()? {
        let thread = thread?;
        if !thread.is(&main) && filter(&thread)? {
            names.push(thread.getattr("name")?.to_string());
        }
    }
    Ok(names)
}
