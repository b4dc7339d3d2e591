//! [`HookFunctions`]: the functions of a configuration file that are Gunicorn's server hooks.

use std::collections::BTreeMap;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::steps::step;

/// Gunicorn's server hooks, each with its arguments.
const HOOKS: &[(&str, &[&str])] = &[
    ("on_starting", &["server"]),
    ("on_reload", &["server"]),
    ("when_ready", &["server"]),
    ("pre_fork", &["server", "worker"]),
    ("post_fork", &["server", "worker"]),
    ("post_worker_init", &["worker"]),
    ("worker_int", &["worker"]),
    ("worker_abort", &["worker"]),
    ("pre_exec", &["server"]),
    ("pre_request", &["worker", "req"]),
    ("post_request", &["worker", "req", "environ", "resp"]),
    ("child_exit", &["server", "worker"]),
    ("worker_exit", &["server", "worker"]),
    ("nworkers_changed", &["server", "new_value", "old_value"]),
    ("on_exit", &["server"]),
    ("ssl_context", &["config", "default_ssl_context_factory"]),
];

/// The hooks that a file has set.
#[derive(Clone, Debug, Default)]
pub(super) struct HookFunctions(Arc<BTreeMap<&'static str, Function>>);

/// A function, and how many of the hook's arguments it takes.
#[derive(Debug)]
pub(super) struct Function {
    function: Py<PyAny>,
    arguments: usize,
}

/// The arguments of a hook of this name; `None` where there is no such hook.
pub(super) fn arguments(name: &str) -> Option<(&'static str, &'static [&'static str])> {
    HOOKS.iter().find(|(hook, _)| *hook == name).copied()
}

impl Function {
    /// A value of a file as a function of a hook.
    ///
    /// # Errors
    ///
    /// A `TypeError` with the description of what was expected.
    pub(super) fn new(
        name: &str,
        value: &Bound<'_, PyAny>,
        arguments: &'static [&'static str],
    ) -> PyResult<Self> {
        let arguments = arguments.to_vec();
        let checked = step(value.py(), "check")?.call1((name, value, arguments))?;
        let (function, arguments) = checked.extract()?;
        Ok(Self {
            function,
            arguments,
        })
    }

    pub(super) fn call(&self, arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
        let arguments = arguments.get_slice(0, self.arguments);
        self.function.bind(arguments.py()).call1(arguments)?;
        Ok(())
    }
}

impl HookFunctions {
    pub(super) fn new(functions: BTreeMap<&'static str, Function>) -> Self {
        Self(Arc::new(functions))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Function> {
        self.0.get(name)
    }
}
