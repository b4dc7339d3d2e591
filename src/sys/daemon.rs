//! [`daemonize`]: the present process goes on as a daemon.
//!
//! The library never does it unasked: it is for a program's `main`. A process with threads is refused: they
//! would not be in the daemon, and the locks that they hold would.
//!
//! ```text
//!   the process ── fork ──▶ leader of a new session ── fork ──▶ the daemon
//!        │ exit 0                  │ exit 0                        no terminal becomes its own
//! ```

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::fork;
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;

/// Whether [`daemonize`] has made this process a daemon.
static DAEMON: AtomicBool = AtomicBool::new(false);

/// Makes this process a daemon: it goes on in a grandchild, with a session of its own and the umask 022, and
/// the process that was called ends with status 0.
///
/// The standard streams lead to the null device afterwards; with `keep_streams` the output and the errors stay
/// what they are where that is no terminal. The folder stays, so that relative paths mean what they did, and so
/// do all other descriptors.
///
/// To be called before anything is opened that belongs to one process, a pid file or a lock say. What goes
/// wrong later has only a log to be told in.
///
/// # Errors
///
/// This process has threads, or the system refused. It is then no daemon, or no whole one, and should end.
pub fn daemonize(keep_streams: bool) -> Result<()> {
    let threads = fork::threads();
    if threads > 1 {
        return Err(Error::config(format!(
            "a process with {threads} threads cannot become a daemon, since they would not be in it"
        )));
    }
    go_on_in_a_child()?;
    setsid().map_err(|errno| failed("setsid", errno))?;
    // A session's leader that opens a terminal makes it its own (setsid(2)); a child of it cannot.
    go_on_in_a_child()?;
    umask(Mode::from_bits_truncate(0o022));
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| Error::io("cannot become a daemon: /dev/null", error))?;
    let stays = |terminal: bool| keep_streams && !terminal;
    dup2_stdin(&null).map_err(|errno| failed("dup2", errno))?;
    if !stays(io::stdout().is_terminal()) {
        dup2_stdout(&null).map_err(|errno| failed("dup2", errno))?;
    }
    if !stays(io::stderr().is_terminal()) {
        dup2_stderr(&null).map_err(|errno| failed("dup2", errno))?;
    }
    DAEMON.store(true, Ordering::Relaxed);
    Ok(())
}

/// Whether this process went into the background, so that its standard error may lead nowhere.
pub(crate) fn is_daemon() -> bool {
    DAEMON.load(Ordering::Relaxed)
}

fn go_on_in_a_child() -> Result<()> {
    match fork::fork(|| {}) {
        ForkOutcome::Child => Ok(()),
        ForkOutcome::Parent(_) => fork::exit_now(0),
        ForkOutcome::Failed(errno) => Err(failed("fork", Errno::from_raw(errno))),
    }
}

fn failed(what: &str, errno: Errno) -> Error {
    Error::io(format_args!("cannot become a daemon: {what}"), errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Gunicorn: G67
    #[test]
    fn a_process_with_threads_is_no_daemon() {
        // The test harness has some.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || receiver.recv());
        let error = daemonize(false).unwrap_err();
        assert!(
            error.is_config() && error.to_string().contains("threads"),
            "{error}"
        );
        drop(sender);
        assert!(thread.join().is_ok());
    }
}
