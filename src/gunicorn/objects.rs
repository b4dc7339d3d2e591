//! The objects that hooks are given, which `hooks.py` makes: made once in a process, before its first hook.

use std::process;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::generation::Generation;
use super::steps::step;
use crate::config::{SETTINGS, Setting, Settings};
use crate::hooks::ServerInfo;
use crate::python::gunicorn_names;
use crate::service::Address;

/// The objects of this process, which show what is in force.
pub(super) struct Objects<'py> {
    py: Python<'py>,
    server: Bound<'py, PyAny>,
}

impl<'py> Objects<'py> {
    pub(super) fn new(
        py: Python<'py>,
        info: &ServerInfo,
        generation: &Generation,
    ) -> PyResult<Self> {
        if generation.is_new_to_objects() {
            let log = gunicorn_names::logger(py);
            let defaults = values(py, &Settings::default())?;
            step(py, "follow")?.call1((values(py, &generation.settings)?, defaults, log))?;
        }
        let addresses = info.listeners.iter().map(|address| listened(py, address));
        let addresses = PyList::new(py, addresses.collect::<PyResult<Vec<_>>>()?)?;
        let server = step(py, "arbiter")?.call1((info.pid, addresses, info.workers))?;
        Ok(Self { py, server })
    }

    pub(super) fn server(&self) -> Bound<'py, PyAny> {
        self.server.clone()
    }

    /// The worker of this number, in the arbiter.
    pub(super) fn worker(&self, id: u64, pid: Option<i32>) -> PyResult<Bound<'py, PyAny>> {
        step(self.py, "worker_of")?.call1((id, pid))
    }

    /// The worker of this number, whose process has ended.
    pub(super) fn end_of(&self, id: u64, pid: i32) -> PyResult<()> {
        step(self.py, "end_of")?.call1((id, pid)).map(drop)
    }

    /// The worker that this process is.
    pub(super) fn own_worker(&self, id: u64) -> PyResult<Bound<'py, PyAny>> {
        step(self.py, "own_worker")?.call1((id, process::id()))
    }
}

/// An address as Gunicorn has it: a pair of host and port, or a path.
fn listened<'py>(py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
    match address.ip() {
        Some(address) => {
            let pair = (address.ip().to_string(), address.port());
            Ok(pair.into_pyobject(py)?.into_any())
        }
        None => Ok(address.path().into_pyobject(py)?.into_any()),
    }
}

/// The settings by name, with Python's types.
fn values<'py>(py: Python<'py>, settings: &Settings) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    for setting in SETTINGS {
        let shown = setting.show(settings);
        values.set_item(setting.name, python_value(py, setting, shown.as_deref())?)?;
    }
    let environ = PyDict::new(py);
    for (name, value) in &settings.raw_env {
        environ.set_item(name, value)?;
    }
    values.set_item("env", environ)?;
    if settings.proc_name.is_none() {
        values.set_item(
            "proc_name",
            settings.wsgi_app.as_deref().unwrap_or("gunicorn"),
        )?;
    }
    Ok(values)
}

fn python_value<'py>(
    py: Python<'py>,
    setting: &Setting,
    shown: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    if setting.repeats {
        let items = shown.map_or(Vec::new(), |text| text.split(',').collect());
        return Ok(PyList::new(py, items)?.into_any());
    }
    let Some(text) = shown else {
        return Ok(py.None().into_bound(py));
    };
    if setting.is_switch() {
        return Ok((text == "true").into_pyobject(py)?.to_owned().into_any());
    }
    if setting.is_number() {
        let arguments = PyTuple::new(py, [text])?;
        let builtins = py.import("builtins")?;
        // A mask is written as in Python: `0o22`.
        let number = builtins.call_method1("int", (text, 0));
        return number.or_else(|_| builtins.call_method1(intern!(py, "float"), arguments));
    }
    Ok(text.into_pyobject(py)?.into_any())
}
