//! [`Mount`]: what a program says of the calls of its application: the path that it lives under, further keys of
//! the environ, and hooks.

use std::fmt;
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::call_hooks::CallHooks;
use super::imports::Report;
use crate::fork_outcome::ForkOutcome;
use crate::service::{Exchange, Request};

/// Adds keys to the environ of a request.
pub(super) type AddKeys = dyn Fn(&Request<'_>, &Bound<'_, PyDict>) -> PyResult<()> + Send + Sync;

/// A program's settings for the calls of its application.
#[derive(Clone, Default)]
pub(super) struct Mount {
    /// The path that the application lives under; without it, the variable `SCRIPT_NAME` says it.
    pub(super) script_name: Option<String>,
    /// Called for each request, when all other keys are there.
    pub(super) add_keys: Option<Arc<AddKeys>>,
    /// Names of keys whose values are kept for the record of each request.
    pub(super) recorded: Vec<String>,
    /// Gunicorn's hooks.
    pub(super) hooks: Option<Arc<dyn CallHooks>>,
    /// Takes the files that the application was loaded from.
    pub(super) report: Option<Arc<Report>>,
}

impl Mount {
    /// Tells hooks of a fork, in the child.
    pub(super) fn forked(&self, outcome: ForkOutcome) -> ForkOutcome {
        if let (ForkOutcome::Child, Some(hooks)) = (outcome, &self.hooks) {
            hooks.forked();
        }
        outcome
    }

    /// The path that the application lives under.
    pub(super) fn script_name(&self, py: Python<'_>) -> PyResult<String> {
        match &self.script_name {
            Some(name) => Ok(name.clone()),
            None => py
                .import("os")?
                .getattr("environ")?
                .call_method1(intern!(py, "get"), ("SCRIPT_NAME", ""))?
                .extract(),
        }
    }
}

/// Keeps the values of some keys for the record of a request, as they are when the application has returned.
pub(super) fn record(names: &[String], environ: &Bound<'_, PyDict>, exchange: &dyn Exchange) {
    for name in names {
        // A key that cannot be looked up, or a value without text, is one that is missing.
        let found = environ.get_item(name).ok().flatten();
        let found = found.or_else(|| {
            let mut items = environ.iter();
            let same = |key: &Bound<'_, PyAny>| {
                key.extract::<&str>()
                    .is_ok_and(|key| key.eq_ignore_ascii_case(name))
            };
            items.find(|(key, _)| same(key)).map(|(_, value)| value)
        });
        if let Some(text) = found.and_then(|value| value.str().ok()) {
            let text = text.to_string_lossy();
            let latin1: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
            exchange.record_variable(name, &latin1.unwrap_or_else(|| text.as_bytes().to_vec()));
        }
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("script_name", &self.script_name)
            .field("add_keys", &self.add_keys.is_some())
            .field("recorded", &self.recorded)
            .field("hooks", &self.hooks.is_some())
            .field("report", &self.report.is_some())
            .finish()
    }
}
