//! What a worker does with signals: a row for each that means something to an arbiter or a worker.

use nix::sys::signal::Signal;

use crate::sys::signal::Disposition;

/// What a worker does with signals, and the same in words; the arbiter's own table has the same ones.
pub(crate) const SIGNALS: &[(Signal, Disposition, &str)] = &[
    (
        Signal::SIGTERM,
        Disposition::Queue,
        "Take nothing new, finish what is there, and leave with status 0; another worker follows. One that is not \
         ready yet has nothing to finish, and ends by the signal at once.",
    ),
    (
        Signal::SIGINT,
        Disposition::Queue,
        "Leave at once, with status 0: calls that run are broken off where they can be (a Python call gets \
         `SystemExit`), no connection is accepted any more, and the complete requests of accepted ones are answered \
         within a second; another worker follows. One that is not ready yet ends as by TERM.",
    ),
    (Signal::SIGQUIT, Disposition::Queue, "As INT."),
    (
        Signal::SIGHUP,
        Disposition::Drop,
        "Without effect: it is for the arbiter, and a worker that is sent it by mistake (`pkill -HUP`) lives on.",
    ),
    (Signal::SIGTTIN, Disposition::Drop, "Without effect."),
    (Signal::SIGTTOU, Disposition::Drop, "Without effect."),
    (
        Signal::SIGUSR1,
        Disposition::Queue,
        "Open the log files again.",
    ),
    (Signal::SIGUSR2, Disposition::Drop, "Without effect."),
    (Signal::SIGWINCH, Disposition::Drop, "Without effect."),
    (
        Signal::SIGCHLD,
        Disposition::Default,
        "The application's own.",
    ),
    (Signal::SIGPIPE, Disposition::Ignore, "Ignored."),
    (Signal::SIGXFSZ, Disposition::Ignore, "Ignored."),
    (
        Signal::SIGABRT,
        Disposition::Default,
        "Leave at once, with status 1: so the arbiter ends a worker that makes no progress. A running request is \
         broken off as by INT, and complete requests are answered within half a second. A worker that is not ready \
         yet, and one that aborts itself, end by the signal.",
    ),
];
