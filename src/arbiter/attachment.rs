//! [`Attachment`]: something of the program's that an arbiter polls beside its own descriptors.
//!
//! The arbiter knows nothing of what is attached: a control socket, a page of metrics, a watch on files.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

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
pub trait Attachment {
    /// The descriptor that is polled for reading: a socket, an eventfd, or an epoll instance over several. `None`
    /// where only the [`deadline`](Self::deadline) counts. It is asked for once, when the arbiter starts.
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    /// When [`ready`](Self::ready) is to be called though nothing can be read. It is asked for each time before the
    /// arbiter waits.
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

/// All that is attached to an arbiter.
#[derive(Default)]
pub(super) struct Attachments(pub(super) Vec<Box<dyn Attachment>>);

impl Attachments {
    /// What is to be polled.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().filter_map(|it| it.fd())
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<MonoTime> {
        self.0.iter().filter_map(|it| it.deadline()).min()
    }

    /// Calls those that are readable or due; gives whether one is still readable.
    pub(super) fn run(&mut self, handle: &Handle) -> bool {
        let mut again = false;
        for attachment in &mut self.0 {
            let due = attachment.deadline();
            if !is_readable(&**attachment) && due.is_none_or(|due| due > MonoTime::now()) {
                continue;
            }
            let ready = AssertUnwindSafe(|| attachment.ready(handle));
            if let Err(panic) = catch_unwind(ready) {
                error!("{}", Error::panicked("an attachment", &*panic));
            }
            again |= is_readable(&**attachment);
        }
        again
    }

    /// What an upgrade hands over beside the arbiter's own.
    pub(super) fn listeners(&self) -> Listeners {
        let all = self.0.iter().map(|it| it.handed_over());
        all.fold(Listeners::default(), |all, more| all.with(&more))
    }

    /// Numbers of descriptors that other code's children are not to have.
    pub(super) fn private(&self) -> impl Iterator<Item = RawFd> {
        self.descriptors().map(|fd| fd.as_raw_fd())
    }

    /// In a child.
    pub(super) fn close_in_child(&mut self) {
        self.0.iter_mut().for_each(|it| it.in_child());
        self.0.clear();
    }
}

fn is_readable(attachment: &dyn Attachment) -> bool {
    attachment.fd().is_some_and(|fd| {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    })
}
