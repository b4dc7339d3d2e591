//! [`Inbox`]: what wakes an arbiter: signals, the commands of its host, descriptors, and time.
//!
//! Nothing is decided here, and this is the only place where an arbiter waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::ArbiterOptions;
use super::answers::Commanded;
use crate::arbiter::command::{self, Command, SIGNALS};
use crate::arbiter::handle::CommandQueue;
use crate::error::{Error, Result};
use crate::sys::signal::{self, Pipe, Signals};
use crate::time::MonoTime;
use crate::trace::{debug, info};

/// All descriptors have one token: whichever is readable, everything is looked at.
const ANY: Token = Token(0);
/// How often the workers' calls and their memory are looked at, where those have bounds.
const LOOK: Duration = Duration::from_millis(500);
/// How soon it looks again at what was about to be complete: an exit, a text.
const SOON: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Inbox {
    poll: Poll,
    pub(super) signals: Signals,
    pub(super) command_queue: CommandQueue,
    /// Whether something that was found is about to be complete.
    pub(super) look_soon: bool,
    /// Whether what is attached has more to read.
    pub(super) look_now: bool,
    pulse: Option<Duration>,
    pulse_at: Option<MonoTime>,
}

impl Inbox {
    /// Takes the process's signals, if the options say so.
    pub(super) fn new(command_queue: CommandQueue, options: &ArbiterOptions) -> Result<Self> {
        let poll = Poll::new().map_err(|e| Error::io("cannot make the arbiter's poll", e))?;
        let table = SIGNALS.iter().filter(|_| options.signals);
        let table = table.map(|row| (row.signal, row.disposition));
        let signals = Signals::install(Pipe::new()?, table)?;
        let inbox = Self {
            poll,
            signals,
            command_queue,
            look_soon: false,
            look_now: false,
            pulse: options.pulse,
            pulse_at: options.pulse.map(|_| MonoTime::now()),
        };
        inbox
            .watch(&inbox.signals)
            .and_then(|()| inbox.watch(&inbox.command_queue))
            .map_err(|e| Error::io("cannot watch the arbiter's descriptors", e))?;
        inbox.command_queue.begin();
        Ok(inbox)
    }

    pub(super) fn watch(&self, fd: impl AsFd) -> io::Result<()> {
        self.watch_number(fd.as_fd().as_raw_fd())
    }

    pub(super) fn watch_number(&self, fd: RawFd) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), ANY, Interest::READABLE)
    }

    pub(super) fn forget(&self, fd: impl AsFd) {
        let fd = fd.as_fd().as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
    }

    /// What is the arbiter's alone.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![
            self.poll.as_raw_fd(),
            self.command_queue.as_fd().as_raw_fd(),
        ];
        let signals = self.signals.descriptors().into_iter();
        all.extend(signals.map(|fd| fd.as_raw_fd()));
        all
    }

    /// What the arbiter was told, by signals and by its host.
    pub(super) fn commands(&self) -> Vec<Commanded> {
        let mut commands = Vec::new();
        for signal in self.signals.drain() {
            let Some(command) = Command::from_signal(signal) else {
                debug!("Received signal: {}", command::name(signal));
                continue;
            };
            if command == Command::Quiesce && signal::has_terminal() {
                debug!("Ignoring signal: winch, since a terminal controls this process");
                continue;
            }
            info!("Handling signal: {}", command::name(signal));
            commands.push((command, None));
        }
        let asked = self.command_queue.take().into_iter();
        commands.extend(asked.map(|(command, ticket)| (command, Some(ticket))));
        commands
    }

    /// Whether the observer is to be told that the arbiter is alive; asked for each time.
    pub(super) fn is_pulse_due(&mut self) -> bool {
        let now = MonoTime::now();
        let (Some(at), Some(every)) = (self.pulse_at, self.pulse) else {
            return false;
        };
        if now >= at {
            self.pulse_at = Some(now + every);
        }
        now >= at
    }

    /// Waits until something has happened, or something is due; `look` where workers are to be looked at regularly.
    pub(super) fn wait(
        &mut self,
        events: &mut Events,
        next: Option<MonoTime>,
        look: bool,
    ) -> Result<()> {
        let next = next.into_iter().chain(self.pulse_at).min();
        let due = next.map(|next| next.since(MonoTime::now()));
        let look = match (self.look_now, self.look_soon, look) {
            (true, ..) => Some(Duration::ZERO),
            (false, true, _) => Some(SOON),
            (false, false, true) => Some(LOOK),
            (false, false, false) => None,
        };
        let timeout = due.into_iter().chain(look).min();
        self.command_queue.set_waiting(true);
        let polled = self.poll.poll(events, timeout);
        self.command_queue.set_waiting(false);
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(Error::io("the arbiter's poll failed", error))
            }
            _ => Ok(()),
        }
    }

    /// Gives the signals back to the process.
    pub(super) fn close(self) -> CommandQueue {
        self.command_queue
    }
}
