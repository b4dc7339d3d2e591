//! What the log says of workers: why they are sent signals, and how they ended.
//!
//! Nothing is done here.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::arbiter::action::{ExitReport, RecycleReason, SignalReason};
use crate::ipc::scoreboard::{Slot, WorkerState};
use crate::sys::fork::Exit;
use crate::sys::memory::OomKills;
use crate::time::MonoTime;
use crate::trace::{critical, debug, error, info, warning};

/// Says why a worker is sent a signal, where that is not plain from what came before.
pub(super) fn explain(slot: Slot<'_>, pid: i32, why: SignalReason) {
    match why {
        SignalReason::Stop | SignalReason::Examined | SignalReason::Logs => {}
        SignalReason::Retired => info!("Retiring worker (pid: {pid})"),
        SignalReason::Silent(silence) => critical!(
            "WORKER TIMEOUT (pid:{pid}): worker {} made no progress for {:.1} s, {}",
            slot.id(),
            silence.as_secs_f64(),
            doing(slot)
        ),
        SignalReason::NotReady(timeout) => critical!(
            "WORKER TIMEOUT (pid:{pid}): worker {} was not ready within {} s",
            slot.id(),
            timeout.as_secs_f64()
        ),
        SignalReason::Stuck(_) => {
            let next = match slot.state() {
                WorkerState::Draining => "it leaves already",
                _ => "it is replaced",
            };
            error!(
                "REQUEST TIMEOUT (pid:{pid}): worker {} is {}; {next}",
                slot.id(),
                doing(slot)
            );
        }
        SignalReason::Overdue => warning!(
            "Killing worker (pid: {pid}): it did not leave in time, {}",
            doing(slot)
        ),
    }
}

/// `busy, in GET /slow for 31.2 s (thread 0x00007f0c1b2c3d40)`; all calls, the longest first.
fn doing(slot: Slot<'_>) -> String {
    let state = match slot.state() {
        WorkerState::Empty => "gone",
        WorkerState::Starting => "starting",
        WorkerState::Ready => "ready",
        WorkerState::Busy => "busy",
        WorkerState::Draining => "draining",
    };
    let now = MonoTime::now();
    let mut calls: Vec<_> = slot.calls().collect();
    calls.sort_by_key(|call| call.started);
    if calls.is_empty() {
        return format!("{state}, in no request");
    }
    let calls = calls.into_iter().map(|call| {
        let (method, target) = call.request.unwrap_or_default();
        let elapsed = now.since(call.started).as_secs_f64();
        format!(
            "in {method} {target} for {elapsed:.1} s (thread {:#018x})",
            call.thread
        )
    });
    let calls: Vec<String> = calls.collect();
    format!("{state}, {}", calls.join(", "))
}

pub(super) fn late(pid: i32) {
    warning!(
        "Worker (pid:{pid}) did not come to the end of its last step in time: that was cut short"
    );
}

/// What an exit is worth. A worker that has crashed when its work was done (`ending` is the status that it has told)
/// has not failed: what it was about to do was to be thrown away.
pub(super) fn verdict(pid: i32, exit: Exit, ending: Option<i32>) -> Exit {
    match ending {
        Some(status) if exit.is_crash() => {
            warning!(
                "Worker (pid:{pid}) crashed in its last step, when its work was done (it {exit}): that counts as status \
                 {status}"
            );
            Exit::Code(status)
        }
        _ => exit,
    }
}

pub(super) fn recycled(pid: i32, reason: RecycleReason) {
    match reason {
        RecycleReason::Requests(requests) => {
            info!("Worker (pid:{pid}) has answered {requests} requests, and is replaced");
        }
        RecycleReason::Age(age) => info!(
            "Worker (pid:{pid}) is {:.0} s old, and is replaced",
            age.as_secs_f64()
        ),
        RecycleReason::Memory(bytes) => warning!(
            "Worker (pid:{pid}) takes {} MiB of memory, and is replaced",
            bytes >> 20
        ),
        RecycleReason::Asked => info!("Worker (pid:{pid}) is replaced, as was asked for"),
    }
}

pub(super) fn fork_retry(reason: &str, retry: Duration) {
    let pause = retry.as_secs_f64();
    error!("{reason}; the next attempt follows in {pause} s");
}

pub(super) fn gone(report: &ExitReport, oom_kills: &mut OomKills) {
    let ExitReport {
        pid,
        exit,
        words,
        kill_reason,
        retry,
        ..
    } = report;
    let why = match (words, kill_reason, exit) {
        (Some(words), ..) => format!(": {words}"),
        (None, Some(_), _) => " by the arbiter".to_owned(),
        (None, None, Exit::Signal(Signal::SIGKILL)) if oom_kills.has_grown() => {
            " by the system, for want of memory (oom_kill of its control group)".to_owned()
        }
        (None, None, Exit::Signal(Signal::SIGKILL)) => "! Perhaps out of memory?".to_owned(),
        _ => String::new(),
    };
    let next = match retry {
        Some(Duration::ZERO) | None => String::new(),
        Some(pause) => format!("; the next attempt follows in {} s", pause.as_secs_f64()),
    };
    match exit {
        Exit::Code(0) if kill_reason.is_some() => debug!("Worker (pid:{pid}) {exit}{why}"),
        Exit::Code(0) if next.is_empty() => info!("Worker (pid:{pid}) {exit}{why}"),
        // It says that all is well, but one that leaves so early is not.
        Exit::Code(0) => warning!("Worker (pid:{pid}) {exit}{why}{next}"),
        _ if kill_reason.is_some() => info!("Worker (pid:{pid}) {exit}{why}{next}"),
        Exit::Signal(Signal::SIGTERM) => info!("Worker (pid:{pid}) {exit}{why}{next}"),
        Exit::Code(_) | Exit::Signal(Signal::SIGKILL) => {
            error!("Worker (pid:{pid}) {exit}{why}{next}");
        }
        _ => warning!("Worker (pid:{pid}) {exit}{why}{next}"),
    }
}
