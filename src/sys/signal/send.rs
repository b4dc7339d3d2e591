//! The only place that sends signals to other processes, and how a signal is called.

use nix::errno::Errno;
use nix::sys::signal::Signal;

/// What a signal is called: `SIGTERM`, `SIGRTMIN+6`.
pub(crate) fn name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("SIGRTMIN+{}", number - libc::SIGRTMIN()),
    }
}

/// Sends a signal to one process. Never to a group: for kill(2), 0 and negative numbers mean many processes.
pub(crate) fn kill(pid: i32, number: i32) -> nix::Result<()> {
    if pid <= 0 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: kill(2) touches no memory. nix has no name for real-time signals.
    Errno::result(unsafe { libc::kill(pid, number) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_signal_is_ever_sent_to_a_group() {
        for pid in [0, -1] {
            assert_eq!(kill(pid, 0), Err(Errno::ESRCH));
        }
    }
}
