//! [`Attachment`]: something of the program's that an arbiter polls beside its own descriptors.
//!
//! The arbiter knows nothing of what is attached: a control socket, a page of metrics, a watch on files.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Handle;
use crate::error::Error;
use crate::net::Listeners;
use crate::time::MonoTime;
use crate::trace::error;

/// What is polled by an arbiter, on the arbiter's thread. Given to
/// [`ArbiterBuilder::attach`](super::ArbiterBuilder::attach).
///
/// In a forked child, a worker or the process of an upgrade, it is dropped, so that what it has open is closed there:
/// a descriptor that closes on exec and is not shared otherwise.
///
/// The arbiter gives it up, with one line in the log, where its descriptor was closed, where its deadline is still past when
/// [`ready`](Self::ready) has returned, and where another method than that panics. It is dropped then, unless its
/// descriptor was closed: the number may be another file's.
pub trait Attachment {
    /// The descriptor that is polled for reading: a socket, an eventfd, or an epoll instance over several. `None`
    /// where only the [`deadline`](Self::deadline) counts. It has to be the same one each time.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// When [`ready`](Self::ready) is to be called though nothing can be read. It is asked for each time before the
    /// arbiter waits, which is for 10 ms at least where no descriptor is readable.
    fn deadline(&self) -> Option<MonoTime> {
        None
    }

    /// The descriptor is readable, or the deadline has come. It is called again while the descriptor stays readable.
    ///
    /// It must not block: no worker is supervised meanwhile. What the handle is told is done when it has returned; it
    /// cannot wait for that here. A panic of it is logged, and ends nothing.
    fn ready(&mut self, handle: &Handle);

    /// This is a forked child, in which the value is about to be dropped: what it would do for the arbiter when it is
    /// dropped, removing a file for one, is not to be done here. It must not wait for locks of other threads.
    fn in_child(&mut self) {}

    /// The listeners of its own that an upgrade hands to the next arbiter, which finds them where it binds their
    /// addresses again. All others are closed there.
    fn handed_over(&self) -> Listeners {
        Listeners::default()
    }
}

/// How soon an attachment is called for its deadline at the soonest: one that is always due must not keep the arbiter busy.
const SOONEST: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Attachments(pub(super) Vec<Box<dyn Attachment>>);

impl Attachments {
    /// The descriptors to be polled, which other code's children are not to have.
    pub(super) fn descriptors(&mut self) -> Vec<RawFd> {
        let mut descriptors = Vec::new();
        self.each(|it| {
            descriptors.extend(it.fd().map(|fd| fd.as_raw_fd()));
            Ok(())
        });
        descriptors
    }

    /// When the next one is to be called.
    pub(super) fn deadline(&mut self) -> Option<MonoTime> {
        let mut next = None;
        self.each(|it| {
            next = next.into_iter().chain(it.deadline()).min();
            Ok(())
        });
        next.map(|next| next.max(MonoTime::now() + SOONEST))
    }

    /// Calls those that are readable or due; gives whether one is still readable.
    pub(super) fn run(&mut self, handle: &Handle) -> bool {
        let mut again = false;
        self.each(|it| {
            let now = MonoTime::now();
            let is_due = |it: &dyn Attachment| it.deadline().is_some_and(|due| due <= now);
            if !is_readable(it)? && !is_due(it) {
                return Ok(());
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| it.ready(handle))) {
                error!("{}", Error::panicked("an attachment", &*panic));
            }
            if is_due(it) {
                return Err(Fault::Overdue);
            }
            again |= is_readable(it)?;
            Ok(())
        });
        again
    }

    /// What an upgrade hands over beside the arbiter's own.
    pub(super) fn listeners(&mut self) -> Listeners {
        let mut all = Listeners::default();
        self.each(|it| {
            all = all.with(&it.handed_over());
            Ok(())
        });
        all
    }

    pub(super) fn close_in_child(&mut self) {
        self.each(|it| {
            it.in_child();
            Ok(())
        });
        self.0.drain(..).for_each(drop_one);
    }

    /// Calls each of them, and gives up one at fault.
    fn each(&mut self, mut call: impl FnMut(&mut dyn Attachment) -> Result<(), Fault>) {
        for mut it in std::mem::take(&mut self.0) {
            let called = catch_unwind(AssertUnwindSafe(|| call(&mut *it)))
                .unwrap_or_else(|panic| Err(Fault::Panic(Error::panicked("it", &*panic))));
            match called {
                Ok(()) => {
                    self.0.push(it);
                    continue;
                }
                Err(Fault::Closed) => {
                    error!("An attachment is given up: its descriptor is closed");
                    // The number may be another file's by now, which is not to be closed.
                    std::mem::forget(it);
                    continue;
                }
                Err(Fault::Overdue) => {
                    error!("An attachment is given up: its deadline stays in the past");
                }
                Err(Fault::Panic(error)) => error!("An attachment is given up: {error}"),
            }
            drop_one(it);
        }
    }
}

enum Fault {
    Closed,
    Overdue,
    Panic(Error),
}

fn drop_one(attachment: Box<dyn Attachment>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(attachment))) {
        error!("{}", Error::panicked("the end of an attachment", &*panic));
    }
}

fn is_readable(attachment: &dyn Attachment) -> Result<bool, Fault> {
    let Some(fd) = attachment.fd() else {
        return Ok(false);
    };
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    let closed = |events: PollFlags| events.contains(PollFlags::POLLNVAL);
    if fds[0].revents().is_some_and(closed) {
        return Err(Fault::Closed);
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use nix::fcntl::{FcntlArg, fcntl};
    use nix::sys::stat::SFlag;

    use super::*;
    use crate::arbiter::CommandQueue;
    use crate::sys;

    /// What it is asked for, and how often it was called.
    struct Part {
        fd: Option<OwnedFd>,
        deadline: fn(u32) -> Option<MonoTime>,
        listeners: fn() -> Listeners,
        calls: Rc<Cell<u32>>,
    }

    impl Attachment for Part {
        fn fd(&self) -> Option<BorrowedFd<'_>> {
            self.fd.as_ref().map(AsFd::as_fd)
        }

        fn deadline(&self) -> Option<MonoTime> {
            (self.deadline)(self.calls.get())
        }

        fn ready(&mut self, _: &Handle) {
            self.calls.set(self.calls.get() + 1);
        }

        fn handed_over(&self) -> Listeners {
            (self.listeners)()
        }
    }

    fn attached(
        fd: Option<OwnedFd>,
        deadline: fn(u32) -> Option<MonoTime>,
    ) -> (Attachments, Rc<Cell<u32>>) {
        let calls = Rc::new(Cell::new(0));
        let part = Part {
            fd,
            deadline,
            listeners: Listeners::default,
            calls: Rc::clone(&calls),
        };
        (Attachments(vec![Box::new(part)]), calls)
    }

    fn handle() -> Handle {
        CommandQueue::new().unwrap().handle()
    }

    #[test]
    fn one_whose_descriptor_was_closed_is_given_up() {
        let (one, _other) = UnixStream::pair().unwrap();
        // A number that no other test is given meanwhile.
        let number = fcntl(&one, FcntlArg::F_DUPFD(900)).unwrap();
        let fd = sys::fd::adopt(number, SFlag::S_IFSOCK).unwrap();
        let (mut attachments, calls) = attached(Some(fd), |_| None);
        assert!(!attachments.run(&handle()));
        assert_eq!(attachments.descriptors(), [number]);
        nix::unistd::close(number).unwrap();
        assert!(!attachments.run(&handle()));
        assert_eq!((calls.get(), attachments.0.len()), (0, 0));
    }

    #[test]
    fn one_whose_deadline_stays_in_the_past_is_dropped() {
        let (mut attachments, calls) = attached(None, |_| Some(MonoTime::ZERO));
        assert!(attachments.deadline().unwrap() > MonoTime::now());
        attachments.run(&handle());
        assert_eq!((calls.get(), attachments.0.len()), (1, 0));
        let once = |calls| (calls == 0).then_some(MonoTime::ZERO);
        let (mut attachments, calls) = attached(None, once);
        attachments.run(&handle());
        attachments.run(&handle());
        assert_eq!((calls.get(), attachments.0.len()), (1, 1));
    }

    #[test]
    fn one_that_panics_when_it_is_asked_is_dropped() {
        let (mut attachments, calls) = attached(None, |_| panic!("no clock"));
        assert_eq!(attachments.deadline(), None);
        assert!(attachments.0.is_empty());
        let part = Part {
            fd: None,
            deadline: |_| None,
            listeners: || panic!("no listeners"),
            calls,
        };
        attachments.0.push(Box::new(part));
        assert!(attachments.listeners().is_empty());
        assert!(attachments.0.is_empty());
    }
}
