//! A worker process from its fork to its exit status.
//!
//! Nothing unwinds through here: the frames below belong to the program that started the arbiter.

use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::unistd::Pid;

use super::context::{Place, WorkerContext};
use super::orders::WorkerEvent;
use super::{Shutdown, Worker};
use crate::error::{Error, Result};
use crate::ipc::link::{LATE, LastWords, Message};
use crate::ipc::scoreboard::WorkerState;
use crate::ipc::worker_signal::WorkerSignal;
use crate::sys::exit_deadline;
use crate::sys::fork;
use crate::sys::parent_death;
use crate::trace::{error, info, warning};

const BOOT_FAILED: i32 = 3;
const APP_FAILED: i32 = 4;
const FAILED: i32 = 255;

/// The bound of the last step of a worker that ends gracefully.
const GRACEFUL_END: Duration = Duration::from_secs(2);
/// The same for a quick shutdown: the arbiter kills the worker two seconds after the signal.
const QUICK_END: Duration = Duration::from_secs(1);
/// The same for one that leaves calls behind, after it has waited a second for them.
const ABANDONED_END: Duration = Duration::from_millis(500);

/// Runs the worker, and gives the status that its process is to exit with.
///
/// The worker's error is not logged here: the arbiter is told it, since only the arbiter knows what
/// follows from it.
pub(crate) fn run_process(worker: &mut dyn Worker, context: &WorkerContext) -> i32 {
    info!("Booting worker with pid: {}", process::id());
    let work = || {
        context.prepare_for_the_arbiters_end();
        let end = worker.run(context);
        context.exit_if_forked_child("the work", &end);
        end
    };
    let end = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::panicked("the worker", panic.as_ref())));
    let status = conclude(end, context);
    info!("Worker exiting (pid: {})", process::id());
    context.take_last_step(status, || worker.end());
    status
}

fn conclude(end: Result<()>, context: &WorkerContext) -> i32 {
    let Err(error) = end else {
        return context.orders.status();
    };
    if let Some(lines) = &context.orders.arbiter {
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

impl WorkerContext {
    /// Ends this process where it is not the worker's own: it would share this worker's slot
    /// and connections without the arbiter knowing. `outcome` is what `what`, in which it was forked, came to.
    pub(crate) fn exit_if_forked_child<T>(&self, what: &str, outcome: &Result<T>) {
        if self.is_own_process() {
            return;
        }
        let worker = self.slot().pid();
        exit_forked_child(
            &format!("{what} of worker {worker}"),
            outcome.as_ref().err(),
        );
    }

    /// Ends this worker's process at once, with calls of its service running in other threads: nothing
    /// could make them return. What `save` saves is saved. Returns only where there is no arbiter, and the process
    /// is the program's own.
    pub(crate) fn abandon(&self, save: impl FnOnce()) {
        if self.orders.arbiter.is_some() {
            self.orders.tell(WorkerEvent::Abandoned);
            info!("Worker exiting (pid: {})", Pid::this());
            self.end_within(ABANDONED_END, self.orders.status(), save);
            fork::exit_now(self.orders.status());
        }
    }

    /// Takes the last step in this process, if it is the worker's own: its status is fixed, and its log written.
    fn take_last_step(&self, status: i32, step: impl FnOnce()) {
        let bound = match self.orders.asked() {
            Shutdown::Quick => QUICK_END,
            Shutdown::Running | Shutdown::Graceful => GRACEFUL_END,
        };
        self.end_within(bound, status, step);
    }

    /// Takes a step after which the process is to end, or in the middle of which it ends with this status.
    fn end_within(&self, bound: Duration, status: i32, step: impl FnOnce()) {
        let Some(lines) = &self.orders.arbiter else {
            return;
        };
        match exit_deadline::set(
            status,
            bound,
            (lines.link.as_fd(), LATE),
            WorkerSignal::ExitDeadline.number(),
            WorkerSignal::Stacks.number(),
        ) {
            Ok(()) => {
                lines.link.send(&Message::Ending(status));
                if catch_unwind(AssertUnwindSafe(step)).is_err() {
                    error!("the worker has panicked at its end");
                }
            }
            Err(error) => error!("{error}: it is left out"),
        }
    }

    /// Sees to it that this worker does not outlive its arbiter by more than the grace of its last requests, as far as
    /// the system lets it: one worker says where it does not.
    fn prepare_for_the_arbiters_end(&self) {
        let Some(lines) = &self.orders.arbiter else {
            return;
        };
        let Place {
            id,
            slot,
            graceful_timeout,
            ..
        } = self.place;
        let listeners = self.listeners();
        let sockets = listeners.iter().map(|listener| listener.as_fd());
        let scoreboard = Arc::clone(&self.scoreboard);
        let prepared = parent_death::prepare(
            lines.arbiter,
            WorkerSignal::ParentDeath.number(),
            sockets,
            graceful_timeout,
            move || scoreboard.slot(slot).state() == WorkerState::Busy,
        );
        if let (Err(error), 1) = (prepared, id) {
            warning!("If the arbiter is killed, workers in a call may outlive it: {error}");
        }
    }
}

/// Ends this process, which was forked in `what` and came back from it, perhaps by an error: with the status that a
/// program ends with by itself.
pub(crate) fn exit_forked_child(what: &str, error: Option<&Error>) -> ! {
    error!(
        "Process {}, which {what} has forked, came back from it, and ends: a child is to end by itself, or to become \
         another program",
        Pid::this(),
    );
    if let Some(error) = error {
        error!("It came back with: {}", error.report());
    }
    fork::vanish(error.and_then(Error::exit_status).unwrap_or(1));
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
