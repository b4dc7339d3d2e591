//! The thread that samples the stacks of this process: with the interpreter held, so that no frame changes meanwhile.
//!
//! It is a thread of Python's own, but none of `threading`'s: nothing waits for it. Between two samples it is detached.

use std::sync::Arc;

use pyo3::prelude::*;

use super::embedded;
use crate::service::SampleOrders;

/// What `sampler.py` asks and tells.
#[pyclass(frozen, module = "oxicorn", name = "orders")]
struct Orders(Arc<dyn SampleOrders>);

#[pymethods]
impl Orders {
    fn tick(&self, py: Python<'_>) -> bool {
        py.detach(|| self.0.tick())
    }

    fn report(&self, py: Python<'_>, text: &str) {
        py.detach(|| self.0.report(text));
    }
}

/// Starts the thread, unless this Python has no interpreter lock, or the application has replaced its threads.
pub(crate) fn start(py: Python<'_>, orders: Arc<dyn SampleOrders>) -> PyResult<()> {
    let start = embedded::function(py, include_str!("sampler.py"), "start")?;
    start.call1((Py::new(py, Orders(orders))?,)).map(drop)
}
