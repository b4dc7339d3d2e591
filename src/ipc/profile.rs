//! [`ProfileChannel`]: how an arbiter has its workers sample their stacks, and how they report what they have found.
//!
//! ```text
//!   arbiter ── order (shared memory), eventfd ──▶ a thread of each worker
//!           ◀── lines appended to a file in memory ──
//! ```
//!
//! Workers have no arbiter's end of anything: they inherit the file, and append to it with one write each, so their reports
//! do not mix (open(2), `O_APPEND`).

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::{Error, Result};
use crate::sys::eventfd::Notifier;
use crate::sys::mapping::{Mapping, Region, shared};
use crate::time::MonoTime;

use std::os::fd::AsFd;

shared! {
    /// The order: its number is written first, and its end, which is what a worker waits for, last.
    struct Cell {
        number: AtomicU64,
        /// In nanoseconds, as all times.
        until: AtomicU64,
        every: AtomicU64,
        reports: AtomicU32,
    }
}

const LENGTH: NonZeroUsize = NonZeroUsize::new(size_of::<Cell>()).unwrap();
/// The longest report of all workers that is read, in bytes.
const LONGEST: u64 = 12 << 20;
/// How often a worker looks again, while an order that it has done is there still.
const LOOK: Duration = Duration::from_millis(50);

/// What a worker is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProfileOrder {
    pub(crate) number: u64,
    pub(crate) until: MonoTime,
    pub(crate) every: Duration,
}

#[derive(Debug)]
pub(crate) struct ProfileChannel {
    notifier: Notifier,
    cell: Region<Cell>,
    file: File,
}

impl ProfileChannel {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let failed = |errno| Error::io("cannot make a file in memory", errno);
        let file = memfd_create(c"oxicorn-profile", MFdFlags::MFD_CLOEXEC).map_err(failed)?;
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND)).map_err(failed)?;
        Ok(Arc::new(Self {
            notifier: Notifier::new()?,
            cell: Mapping::anonymous(LENGTH)?.region(0, 1),
            file: File::from(file),
        }))
    }

    /// The arbiter's: has all workers sample until then.
    ///
    /// # Errors
    ///
    /// Where the file cannot be emptied.
    pub(crate) fn begin(&self, until: MonoTime, every: Duration) -> Result<()> {
        let cell = &self.cell[0];
        // From now on reports of the order before this one come too late.
        cell.number.fetch_add(1, Ordering::AcqRel);
        let emptied = self.file.set_len(0);
        emptied.map_err(|error| Error::io("cannot empty a file in memory", error))?;
        let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        cell.reports.store(0, Ordering::Relaxed);
        cell.every.store(every, Ordering::Relaxed);
        cell.until.store(until.as_nanos(), Ordering::Release);
        self.notifier.notify();
        Ok(())
    }

    /// The arbiter's: how many workers have reported.
    pub(crate) fn reports(&self) -> u32 {
        self.cell[0].reports.load(Ordering::Acquire)
    }

    /// The arbiter's: takes what was reported, and lets the workers rest.
    pub(crate) fn end(&self) -> String {
        self.notifier.clear();
        let mut text = Vec::new();
        let mut file = &self.file;
        // What cannot be read was not reported.
        let _ = file.rewind();
        let _ = file.take(LONGEST).read_to_end(&mut text);
        let _ = self.file.set_len(0);
        // Half a line would have another count.
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        text.truncate(whole.map_or(0, |end| end + 1));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A worker's: waits for an order after that of this number.
    pub(crate) fn wait(&self, last: u64) -> ProfileOrder {
        loop {
            let mut fds = [PollFd::new(self.notifier.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::NONE);
            let cell = &self.cell[0];
            let until = MonoTime::from_nanos(cell.until.load(Ordering::Acquire));
            let number = cell.number.load(Ordering::Relaxed);
            if number != last && MonoTime::now() < until {
                // Whatever is in the memory, a worker sleeps between samples.
                let every = cell
                    .every
                    .load(Ordering::Relaxed)
                    .clamp(1_000_000, 1_000_000_000);
                return ProfileOrder {
                    number,
                    until,
                    every: Duration::from_nanos(every),
                };
            }
            thread::sleep(LOOK);
        }
    }

    /// A worker's: tells what it has found. Where C code has held it up until the arbiter has given another order, that is
    /// of no use any more.
    pub(crate) fn report(&self, number: u64, text: &str) {
        if self.cell[0].number.load(Ordering::Acquire) != number {
            return;
        }
        // A report that does not fit is lost.
        let _ = (&self.file).write_all(text.as_bytes());
        self.cell[0].reports.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_done_once_and_its_reports_are_read_once() {
        let channel = ProfileChannel::new().unwrap();
        for number in 1..=2 {
            let until = MonoTime::now() + Duration::from_secs(60);
            channel.begin(until, Duration::ZERO).unwrap();
            let order = channel.wait(number - 1);
            assert_eq!((order.number, order.until), (number, until));
            assert_eq!(order.every, Duration::from_millis(1));
            channel.report(number, "a;b 1\n");
            channel.report(number, "c 2\n");
            assert_eq!(channel.reports(), 2);
            assert_eq!(channel.end(), "a;b 1\nc 2\n");
            assert_eq!(channel.end(), "");
        }
    }

    #[test]
    fn a_report_of_an_earlier_order_is_dropped() {
        let channel = ProfileChannel::new().unwrap();
        let until = MonoTime::now() + Duration::from_secs(60);
        channel.begin(until, Duration::ZERO).unwrap();
        channel.begin(until, Duration::ZERO).unwrap();
        channel.report(1, "early 1\n");
        assert_eq!(channel.reports(), 0);
        channel.report(2, "late 1\n");
        assert_eq!((channel.reports(), &*channel.end()), (1, "late 1\n"));
    }

    #[test]
    fn what_is_too_long_ends_with_a_whole_line() {
        let channel = ProfileChannel::new().unwrap();
        let line = "a 123456\n";
        let longest = usize::try_from(LONGEST).unwrap();
        assert_ne!(longest % line.len(), 0);
        channel.report(0, &line.repeat(longest / line.len() + 2));
        let text = channel.end();
        assert_eq!(text, line.repeat(longest / line.len()));
    }
}
