//! A service's way to its arbiter's [`Handle`]: the layer of services knows no arbiter.

use crate::arbiter::Handle;
use crate::service::ServiceContext;

impl ServiceContext<'_> {
    /// The handle of the server that this service is made for: it tells the state, the workers and the totals of all
    /// workers. Of its commands the server does those that
    /// [`worker_commands`](crate::ServerBuilder::worker_commands) allows. `None` where no arbiter has forked this process.
    ///
    /// ```no_run
    /// use oxicorn::service::per_worker;
    /// use oxicorn::{Request, Responder, Result, Server};
    ///
    /// fn main() -> Result<()> {
    ///     let make = per_worker(|context| {
    ///         let handle = context.handle();
    ///         Ok(move |_: Request<'_>, reply: Responder<'_>| {
    ///             let ready = handle.as_ref().map_or(1, |handle| handle.status().ready);
    ///             let totals = handle.as_ref().and_then(|handle| handle.totals());
    ///             let requests = totals.map_or(0, |totals| totals.requests);
    ///             reply.text(200, format!("{ready} workers, {requests} requests\n"))
    ///         })
    ///     });
    ///     Server::bind("127.0.0.1:8000")?.workers(4).serve(make)
    /// }
    /// ```
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        self.opaque_handle?.downcast_ref().cloned()
    }
}
