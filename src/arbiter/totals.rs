//! [`HandedTotals`]: how the totals go from one arbiter to the next, and which ends of workers count there.
//!
//! ```text
//!   OXICORN_TOTALS=1 7        the layout of the counters, and the descriptor of their file
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::stat::SFlag;

use super::Handle;
use super::action::{ExitReport, RecycleReason, SignalReason};
use crate::error::Result;
use crate::ipc::exemplars::Exemplar;
use crate::ipc::totals::{Counters, LAYOUT, RestartCause};
use crate::net::handover;
use crate::sys::fd;
use crate::sys::fork::Exit;
use crate::trace::info;

/// The counters' layout and descriptor, for the next arbiter.
pub(super) const TOTALS: &str = "OXICORN_TOTALS";

/// The file of the counters, to be handed to the next arbiter; none where the system gave no file.
#[derive(Debug, Default)]
pub(super) struct HandedTotals(Option<OwnedFd>);

impl HandedTotals {
    /// The counters of the arbiter before this one, if there is one and it counts in the same layout; new ones otherwise.
    ///
    /// # Errors
    ///
    /// Where the system gives no memory.
    pub(super) fn find(is_successor: bool) -> Result<(Counters, Self)> {
        if is_successor {
            let found = handover::variable(TOTALS).and_then(|text| inherited(&text));
            if let Some((counters, fd)) = found {
                return Ok((counters, Self(Some(fd))));
            }
            info!("The totals start at zero: the arbiter before this one counts in another way");
        }
        let (counters, fd) = Counters::new()?;
        Ok((counters, Self(fd)))
    }

    pub(super) fn text(&self) -> Option<String> {
        let fd = self.0.as_ref()?.as_raw_fd();
        Some(format!("{LAYOUT} {fd}"))
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }
}

impl Handle {
    /// For each bucket of the durations a request that is an example of it, where requests have ids.
    pub(crate) fn exemplars(&self) -> Vec<Option<Exemplar>> {
        let scoreboard = self.scoreboard();
        scoreboard.map_or_else(Vec::new, |it| it.exemplars().collect())
    }
}

/// The counters that a text of [`HandedTotals::text`] names.
fn inherited(text: &str) -> Option<(Counters, OwnedFd)> {
    let (layout, fd) = text.split_once(' ')?;
    // Also where the layout is unknown: it is to be closed.
    let fd = fd::adopt(fd.parse().ok()?, SFlag::S_IFREG).ok()?;
    if layout.parse() != Ok(LAYOUT) {
        return None;
    }
    let counters = Counters::inherited(&fd).ok()?;
    Some((counters, fd))
}

/// Why a worker is replaced that has served for long enough.
pub(super) fn cause_of_recycling(reason: RecycleReason) -> Option<RestartCause> {
    match reason {
        RecycleReason::Requests(_) => Some(RestartCause::Requests),
        RecycleReason::Age(_) => Some(RestartCause::Age),
        RecycleReason::Memory(_) => Some(RestartCause::Memory),
        RecycleReason::Asked => None,
    }
}

/// Why a worker that has ended is replaced; `None` where it was asked to leave, or is not replaced. `ready` is whether it
/// had said so.
pub(super) fn cause_of_exit(report: &ExitReport, ready: bool) -> Option<RestartCause> {
    match report.kill_reason {
        Some(SignalReason::Silent(_)) => Some(RestartCause::Timeout),
        Some(SignalReason::NotReady(_)) => Some(RestartCause::BootTimeout),
        Some(SignalReason::Stuck(_)) => Some(RestartCause::RequestTimeout),
        Some(_) => None,
        None if report.asked_to_leave => None,
        None if matches!(report.exit, Exit::Signal(_)) => Some(RestartCause::Signal),
        None if !ready => Some(RestartCause::BootFailure),
        None => Some(RestartCause::Exit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use std::time::Duration;

    #[test]
    fn counters_of_another_layout_are_not_taken() {
        let (_counters, handed) = HandedTotals::find(false).unwrap();
        let text = handed.text().unwrap();
        let (layout, fd) = text.split_once(' ').unwrap();
        assert_eq!(layout, LAYOUT.to_string());
        // It was opened by this process.
        assert!(inherited(&text).is_none());
        assert!(inherited(&format!("{} {fd}", LAYOUT + 1)).is_none());
        assert!(inherited("").is_none());
    }

    #[test]
    fn an_exit_counts_by_what_led_to_it() {
        let report = |exit, kill_reason| ExitReport {
            id: 1,
            pid: 1,
            slot: 0,
            exit,
            words: None,
            kill_reason,
            asked_to_leave: false,
            retry: None,
        };
        let silent = Some(SignalReason::Silent(Duration::ZERO));
        let killed = Exit::Signal(Signal::SIGKILL);
        for (exit, reason, ready, cause) in [
            (killed, silent, true, Some(RestartCause::Timeout)),
            (killed, None, true, Some(RestartCause::Signal)),
            (Exit::Code(0), Some(SignalReason::Retired), true, None),
            (Exit::Code(3), None, false, Some(RestartCause::BootFailure)),
            (Exit::Code(0), None, true, Some(RestartCause::Exit)),
        ] {
            assert_eq!(cause_of_exit(&report(exit, reason), ready), cause);
        }
        // A reload has asked it.
        let asked = ExitReport {
            asked_to_leave: true,
            ..report(Exit::Code(0), None)
        };
        assert_eq!(cause_of_exit(&asked, true), None);
    }
}
