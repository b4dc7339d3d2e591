//! What the arbiter can be told, and by which signal: [`Command`] and the table of [`SIGNALS`].
//!
//! Nothing is decided here: the [`Supervisor`](super::supervisor::Supervisor) does.

use nix::sys::signal::Signal;

use super::policy::GroupId;
use crate::ipc::link::{CommandKind, WorkerCommand};
use crate::sys::signal::Disposition;
use crate::worker;

/// What the arbiter can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Let the workers finish what they have, then end.
    Stop,
    /// End now: requests that are being answered are given up.
    StopNow,
    /// One worker of the first group more.
    Grow,
    /// One worker of the first group less, but never none.
    Shrink,
    /// This many workers of that group.
    Scale(GroupId, usize),
    /// No workers, until there is a reload or one is asked for.
    Quiesce,
    /// Read the settings again, and put new workers in the place of all that there are.
    Reload,
    /// Start the program anew, as it is now on disk, with the listeners that are open.
    Upgrade,
    /// Open the logs again, here and in the workers.
    ReopenLogs,
}

/// A signal to the arbiter or to a worker, and what comes of it.
pub(crate) struct SignalRule {
    pub(crate) signal: Signal,
    /// How the arbiter takes it. The host's handlers are back when the arbiter has ended.
    pub(crate) disposition: Disposition,
    pub(super) command: Option<Command>,
    pub(crate) meaning: &'static str,
}

const fn row(signal: Signal, command: Option<Command>, meaning: &'static str) -> SignalRule {
    SignalRule {
        signal,
        disposition: Disposition::Queue,
        command,
        meaning,
    }
}

/// What the arbiter does with signals.
///
/// Those without a command are taken so that they do not kill the arbiter, as their default would.
pub(crate) const SIGNALS: &[SignalRule] = &[
    row(
        Signal::SIGTERM,
        Some(Command::Stop),
        "Stop gracefully: what has been accepted or waits in the queue is answered, within \
         `graceful_timeout`.",
    ),
    row(
        Signal::SIGINT,
        Some(Command::StopNow),
        "Stop at once: everything is gone within 3 s. During a graceful stop it makes that quick.",
    ),
    row(Signal::SIGQUIT, Some(Command::StopNow), "As INT."),
    row(
        Signal::SIGHUP,
        Some(Command::Reload),
        "Reload: settings are read again and new workers started; as one becomes ready, an old one \
         leaves. If the settings are bad or the new workers cannot boot, the old ones stay.",
    ),
    row(
        Signal::SIGTTIN,
        Some(Command::Grow),
        "One worker more, in the first group.",
    ),
    row(
        Signal::SIGTTOU,
        Some(Command::Shrink),
        "One worker less in the first group, but never none: the oldest leaves gracefully, or one that is not \
         ready yet.",
    ),
    row(
        Signal::SIGUSR1,
        Some(Command::ReopenLogs),
        "Open the log files again, here and in every worker.",
    ),
    row(
        Signal::SIGWINCH,
        Some(Command::Quiesce),
        "All workers leave gracefully and none follow, until HUP or TTIN. Without effect where a terminal \
         controls the process, since a window that changes its size sends it.",
    ),
    row(
        Signal::SIGUSR2,
        Some(Command::Upgrade),
        "Upgrade: the program is started anew beside this one, with the same listeners. TERM ends the old \
         one then, or the new one.",
    ),
    row(
        Signal::SIGCHLD,
        None,
        "A child has ended: workers are waited for, each by its own process id.",
    ),
    SignalRule {
        disposition: Disposition::Ignore,
        ..row(
            Signal::SIGPIPE,
            None,
            "Ignored: a client that has gone is an error of a write.",
        )
    },
    SignalRule {
        disposition: Disposition::Ignore,
        ..row(
            Signal::SIGXFSZ,
            None,
            "Ignored: a file that may grow no further (`RLIMIT_FSIZE`) is an error of a write.",
        )
    },
];

/// The numbers of the signals that an arbiter takes.
#[cfg(feature = "wsgi")]
pub(crate) fn taken_signals() -> impl Iterator<Item = i32> {
    SIGNALS.iter().map(|rule| rule.signal as i32)
}

/// A signal, and what comes of it: a line of `docs/SIGNALS.md`. Given by [`signals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalRow {
    /// Its name: `TERM`.
    pub name: &'static str,
    /// What it does to an arbiter that [takes signals](super::ArbiterBuilder::signals), in Markdown.
    pub arbiter: &'static str,
    /// What it does to a worker, in Markdown.
    pub worker: &'static str,
}

/// All signals that mean something to the processes of a server, for a program's own help.
pub fn signals() -> impl Iterator<Item = SignalRow> {
    worker::SIGNALS.iter().map(|&(signal, _, worker)| {
        let row = SIGNALS.iter().find(|row| row.signal == signal);
        SignalRow {
            name: signal.as_str().trim_start_matches("SIG"),
            arbiter: row.map_or("Its default.", |row| row.meaning),
            worker,
        }
    })
}

impl Command {
    /// What a worker asks for; `None` for a group that is not among so many.
    pub(super) fn of_worker(command: WorkerCommand, groups: usize) -> Option<Self> {
        Some(match command.kind {
            CommandKind::Stop => Self::Stop,
            CommandKind::StopNow => Self::StopNow,
            CommandKind::Reload => Self::Reload,
            CommandKind::Scale => {
                let group = Some(command.group as usize).filter(|group| *group < groups)?;
                Self::Scale(GroupId(group), command.workers as usize)
            }
        })
    }

    /// How a worker asks for it; `None` where it cannot.
    pub(super) fn by_worker(self) -> Option<WorkerCommand> {
        let (kind, group, workers) = match self {
            Self::Stop => (CommandKind::Stop, 0, 0),
            Self::StopNow => (CommandKind::StopNow, 0, 0),
            Self::Reload => (CommandKind::Reload, 0, 0),
            Self::Scale(GroupId(group), workers) => (CommandKind::Scale, group, workers),
            Self::Grow | Self::Shrink | Self::Quiesce | Self::Upgrade | Self::ReopenLogs => {
                return None;
            }
        };
        Some(WorkerCommand {
            kind,
            group: u32::try_from(group).ok()?,
            workers: u32::try_from(workers).ok()?,
        })
    }

    pub(super) fn from_signal(signal: Signal) -> Option<Self> {
        let row = SIGNALS.iter().find(|row| row.signal == signal)?;
        row.command
    }
}

/// A signal as the log has it: `term`.
pub(super) fn name(signal: Signal) -> String {
    signal.as_str().trim_start_matches("SIG").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::worker_signal::WorkerSignal;
    use std::fmt::Write;
    use std::{env, fs};

    // Gunicorn: G11
    #[test]
    fn signals_are_commands() {
        assert_eq!(Command::from_signal(Signal::SIGTERM), Some(Command::Stop));
        assert_eq!(Command::from_signal(Signal::SIGCHLD), None);
        assert_eq!(name(Signal::SIGTTIN), "ttin");
    }

    // Gunicorn: G17
    #[test]
    fn a_worker_has_its_own_answer_to_every_signal_of_the_arbiter() {
        for row in SIGNALS {
            let own = worker::SIGNALS
                .iter()
                .any(|(known, ..)| *known == row.signal);
            assert!(own, "{}", row.signal);
        }
    }

    /// The generated part of `docs/SIGNALS.md`.
    fn table() -> String {
        let mut table = "| signal | to the arbiter | to a worker |\n|---|---|---|\n".to_owned();
        for row in signals() {
            let _ = writeln!(table, "| {} | {} | {} |", row.name, row.arbiter, row.worker);
        }
        for (order, meaning) in [
            (
                WorkerSignal::Stacks,
                "Write the stacks of all threads into the arbiter's log; nothing else changes.",
            ),
            (
                WorkerSignal::Expire,
                "Give up the request that has passed `request_timeout`.",
            ),
            (
                WorkerSignal::ParentDeath,
                "Its arbiter has died: so the kernel says. Take nothing new, finish what is there, and leave.",
            ),
            (
                WorkerSignal::ExitDeadline,
                "Its last step has taken too long: it sends this to itself, and ends at once.",
            ),
            (
                WorkerSignal::Repeat,
                "Wait no longer: it sends this to itself while a call goes on that was to be broken off, as an \
                 arbiter does that loads an application.",
            ),
            (
                WorkerSignal::Uncork,
                "Send the responses that wait for each other (`batch_responses`): it sends this to itself a millisecond \
                 after the first of them was ready.",
            ),
        ] {
            let name = order.to_string();
            let name = name.trim_start_matches("SIG");
            let _ = writeln!(table, "| {name} | Its default. | {meaning} |");
        }
        table
    }

    // Gunicorn: G11
    #[test]
    fn the_signals_page_is_up_to_date() {
        const START: &str = "<!-- Made from the tables in the code; `OXICORN_BLESS=1 cargo test --lib signals_page` writes it anew. -->\n\n";
        const END: &str = "<!-- The rest is written by hand. -->\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SIGNALS.md");
        let found = fs::read_to_string(path).unwrap();
        let (before, rest) = found.split_once(START).expect("the table's start");
        let (_, after) = rest.split_once(END).expect("the table's end");
        let wanted = [before, START, &table(), "\n", END, after].concat();
        if env::var_os("OXICORN_BLESS").is_some_and(|bless| bless == "1") {
            fs::write(path, &wanted).unwrap();
        } else {
            assert!(
                found == wanted,
                "docs/SIGNALS.md should have:\n\n{}",
                table()
            );
        }
    }
}
