//! [`Sinks`]: what a program itself has take note of a server's answers.

use std::fmt;
use std::sync::Arc;

use crate::access::AccessSink;

type MakeSink = dyn Fn() -> Box<dyn AccessSink> + Send + Sync;

/// The sinks of a program, made anew for each generation of workers.
#[derive(Clone, Default)]
pub(super) struct Sinks(Vec<Arc<MakeSink>>);

impl Sinks {
    pub(super) fn add<S: AccessSink + 'static>(
        &mut self,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) {
        self.0.push(Arc::new(move || Box::new(make())));
    }

    /// Those of a generation of workers.
    pub(super) fn make(&self) -> impl Iterator<Item = Box<dyn AccessSink>> {
        self.0.iter().map(|make| make())
    }
}

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sinks({})", self.0.len())
    }
}
