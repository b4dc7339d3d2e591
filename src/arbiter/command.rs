//! What the arbiter can be told, and by which signal: [`Command`] and the table of [`SIGNALS`].
//!
//! Nothing is decided here: the [`Supervisor`](super::supervisor::Supervisor) does.

use nix::sys::signal::Signal;

use crate::sys::signal::Disposition;

/// What the arbiter can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Let the workers finish what they have, then end.
    Stop,
    /// End now: requests that are being answered are given up.
    StopNow,
    /// One worker more.
    Grow,
    /// One worker less, but never none.
    Shrink,
}

/// What the arbiter does with signals. The host's handlers are back when it has ended.
///
/// Those without a command are taken so that they do not kill the arbiter, as their default would: a
/// child's end is noticed without the signal's help, the others have no effect.
pub(super) const SIGNALS: &[(Signal, Disposition, Option<Command>)] = &[
    (Signal::SIGTERM, Disposition::Queue, Some(Command::Stop)),
    (Signal::SIGINT, Disposition::Queue, Some(Command::StopNow)),
    (Signal::SIGQUIT, Disposition::Queue, Some(Command::StopNow)),
    (Signal::SIGTTIN, Disposition::Queue, Some(Command::Grow)),
    (Signal::SIGTTOU, Disposition::Queue, Some(Command::Shrink)),
    (Signal::SIGCHLD, Disposition::Queue, None),
    (Signal::SIGHUP, Disposition::Queue, None),
    (Signal::SIGUSR1, Disposition::Queue, None),
    (Signal::SIGUSR2, Disposition::Queue, None),
    (Signal::SIGWINCH, Disposition::Queue, None),
    (Signal::SIGPIPE, Disposition::Ignore, None),
];

impl Command {
    /// What a signal says.
    pub(super) fn from_signal(signal: Signal) -> Option<Self> {
        let row = SIGNALS.iter().find(|(known, ..)| *known == signal)?;
        row.2
    }
}

/// A signal as the log has it: `term`.
pub(super) fn name(signal: Signal) -> String {
    signal.as_str().trim_start_matches("SIG").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker;

    #[test]
    fn signals_are_commands() {
        assert_eq!(Command::from_signal(Signal::SIGTERM), Some(Command::Stop));
        assert_eq!(Command::from_signal(Signal::SIGHUP), None);
        assert_eq!(name(Signal::SIGTTIN), "ttin");
    }

    #[test]
    fn a_worker_has_its_own_answer_to_every_signal_of_the_arbiter() {
        for (signal, ..) in SIGNALS {
            let own = worker::SIGNALS.iter().any(|(known, _)| known == signal);
            assert!(own, "{signal}");
        }
    }
}
