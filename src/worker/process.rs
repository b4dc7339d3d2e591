//! A worker process from its fork to its exit status.
//!
//! Nothing unwinds through here: the frames below belong to the program that started the arbiter.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::Ordering;

use super::{Worker, WorkerContext};
use crate::error::{Error, Result};
use crate::ipc::link::{LastWords, Message};
use crate::trace::info;

/// A worker that failed before it was ready.
const BOOT_FAILED: i32 = 3;
/// A worker whose application could not be found.
const APP_FAILED: i32 = 4;
/// A worker that failed later.
const FAILED: i32 = 255;

/// Runs the worker, and gives the status that its process is to exit with.
///
/// The worker's error is not logged here: the arbiter is told it, since only the arbiter knows what
/// follows from it.
pub(crate) fn run_process(worker: &mut dyn Worker, context: &WorkerContext) -> i32 {
    info!("Booting worker with pid: {}", process::id());
    let life = || {
        context.prepare_for_the_arbiters_end();
        let end = worker.run(context);
        context.exit_if_forked_child("the work", &end);
        end
    };
    let end = catch_unwind(AssertUnwindSafe(life))
        .unwrap_or_else(|panic| Err(Error::panicked("the worker", panic.as_ref())));
    let status = conclude(end, context);
    info!("Worker exiting (pid: {})", process::id());
    context.take_last_step(status, || worker.end());
    status
}

fn conclude(end: Result<()>, context: &WorkerContext) -> i32 {
    let Err(error) = end else {
        return context.status();
    };
    if let Some(lines) = &context.arbiter {
        lines.link.send(&Message::LastWords(LastWords {
            app: error.is_app(),
            sentence: error.to_string(),
        }));
    }
    match (context.ready.load(Ordering::Relaxed), error.is_app()) {
        (true, _) => FAILED,
        (false, true) => APP_FAILED,
        (false, false) => BOOT_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Listener;

    fn status(mut worker: impl Worker) -> i32 {
        let context = WorkerContext::detached(Vec::<Listener>::new()).unwrap();
        run_process(&mut worker, &context)
    }

    #[test]
    fn a_worker_that_returns_exits_with_0() {
        assert_eq!(status(|_: &WorkerContext| Ok(())), 0);
    }

    #[test]
    fn an_error_before_ready_is_a_boot_failure() {
        assert_eq!(status(|_: &WorkerContext| Err(Error::new("no"))), 3);
        assert_eq!(status(|_: &WorkerContext| Err(Error::app("no"))), 4);
    }

    #[test]
    fn an_error_after_ready_is_none() {
        let late = |context: &WorkerContext| {
            context.ready();
            Err(Error::app("no"))
        };
        assert_eq!(status(late), 255);
    }

    #[test]
    fn a_panic_does_not_leave_the_worker() {
        assert_eq!(status(|_: &WorkerContext| panic!("at the disco")), 3);
    }
}
