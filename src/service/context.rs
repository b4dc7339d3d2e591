//! [`ServiceContext`]: where a service is made, and [`Stacks`], how its process is asked what its threads do.

use std::any::Any;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::Address;

/// The place where a service will run: [`ServiceContext::new`], and then what is different there.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServiceContext<'a> {
    /// The number of this worker among the server's; a replacement has a number of its own.
    pub worker: u64,
    /// The number of worker processes that the server is set to run.
    pub workers: usize,
    /// The number of threads of one worker that may call the service at once.
    pub threads: usize,
    /// The addresses that the server listens on; [`ConnectionInfo::listener`](super::ConnectionInfo::listener) is an index into them.
    pub listeners: &'a [Address],
    /// True if this process is a worker's own, and ends with the service. Otherwise it is a program that goes on after
    /// the service.
    pub own_process: bool,
    /// The way to ask this process what its threads are doing, if there is one.
    pub stacks: Option<Stacks<'a>>,
    /// The orders to sample the stacks of this process's threads, if they can come.
    pub sampling: Option<&'a Arc<dyn SampleOrders>>,
    /// The arbiter's handle, for the layer that knows its type.
    pub(crate) opaque_handle: Option<&'a (dyn Any + Send + Sync)>,
}

impl<'a> ServiceContext<'a> {
    /// Worker 1 of 1, with one thread, in a program's process, without [`stacks`](Self::stacks) and
    /// without an arbiter.
    #[must_use]
    pub fn new(listeners: &'a [Address]) -> Self {
        Self {
            worker: 1,
            workers: 1,
            threads: 1,
            listeners,
            own_process: false,
            stacks: None,
            sampling: None,
            opaque_handle: None,
        }
    }
}

/// A service in a language with stacks of its own writes those of all its threads when this process gets a
/// signal, also while a hung thread holds the [turn](super::Service::runtime).
#[derive(Clone, Copy, Debug)]
pub struct Stacks<'a> {
    /// The descriptor to write to. A service that writes later duplicates it.
    pub to: BorrowedFd<'a>,
    /// The signal's number.
    pub on: i32,
}

/// The orders to sample stacks, for a service in a language with stacks of its own. One thread of the service takes them for
/// as long as the process lives, and holds nothing else meanwhile.
pub trait SampleOrders: fmt::Debug + Send + Sync {
    /// Blocks until a sample is due, and gives true; or until no more of them are to be taken, and gives false.
    fn tick(&self) -> bool;

    /// Reports the samples since the last report as folded text: on each line the functions of a stack, outermost first,
    /// between semicolons, then a space and how often the stack was seen.
    fn report(&self, folded: &str);
}
