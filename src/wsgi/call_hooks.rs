//! [`CallHooks`]: code of Python's own around an application and its calls, as Gunicorn's hooks are.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::h1::Head;

/// Code around an application and its calls.
pub(crate) trait CallHooks: Send + Sync {
    /// This process was just forked for the application.
    fn forked(&self);

    /// The application is loaded, in the worker of this number.
    ///
    /// # Errors
    ///
    /// End the worker's boot.
    fn loaded(&self, worker: u64, callable: &Bound<'_, PyAny>) -> PyResult<()>;

    /// The worker ends, and no call runs: the application's threads and exit functions come after this.
    fn retiring(&self);

    /// Tells whether calls are to be told.
    fn wants_calls(&self) -> bool;

    /// A call is about to begin. Gives an object for the request, and whether the call may go on.
    fn before(
        &self,
        py: Python<'_>,
        head: &Head,
        environ: &Bound<'_, PyDict>,
    ) -> (Option<Py<PyAny>>, PyResult<()>);

    /// A call has ended; without a response if it did not begin.
    fn after(
        &self,
        py: Python<'_>,
        request: Option<Py<PyAny>>,
        environ: &Bound<'_, PyDict>,
        response: Option<SentResponse>,
    );
}

/// The response of a call, as far as it came.
#[derive(Debug, Default)]
pub(crate) struct SentResponse {
    /// The status, if `start_response` was called.
    pub(crate) status: Option<u16>,
    pub(crate) reason: Vec<u8>,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many bytes of the body were given to the server.
    pub(crate) sent: u64,
}
