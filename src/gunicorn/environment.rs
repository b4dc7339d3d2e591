//! `raw_env` in an arbiter that has run a configuration file, so that its hooks, threads and children have it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::config::Settings;

/// What each variable that was set was before; `None` if it was not there.
static BEFORE: Mutex<BTreeMap<OsString, Option<OsString>>> = Mutex::new(BTreeMap::new());

/// Gives the variables of former settings their first values again, and sets those of these settings.
pub(super) fn set(py: Python<'_>, settings: &Settings) -> PyResult<()> {
    let environ = py.import("os")?.getattr("environ")?;
    let former = std::mem::take(&mut *BEFORE.lock().unwrap_or_else(PoisonError::into_inner));
    for (name, value) in &former {
        match value {
            Some(value) => environ.set_item(name, value)?,
            None => drop(environ.call_method1("pop", (name, py.None()))?),
        }
    }
    let mut before = BTreeMap::new();
    for (name, value) in &settings.raw_env {
        let value_before = environ.call_method1("get", (name,))?.extract()?;
        before.entry(name.into()).or_insert(value_before);
        environ.set_item(name, value)?;
    }
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = before;
    Ok(())
}
