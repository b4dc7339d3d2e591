//! [`keep_own`]: the signals that the arbiter takes stay its own. A configuration file that replaced a handler of theirs
//! would have a server that cannot be stopped or reloaded.

use crate::arbiter::taken_signals;
use crate::sys::sigaction::SigAction;
use crate::sys::signal;
use crate::trace;

/// Runs a hook of the arbiter's, and puts the arbiter's handlers back in force where the hook has replaced them. A line
/// names those of the hook, which will not run.
pub(super) fn keep_own<T>(hook: &str, work: impl FnOnce() -> T) -> T {
    let own = taken_signals().filter_map(|signal| SigAction::current(signal).ok());
    let own: Vec<_> = own.collect();
    let done = work();
    let mut replaced = Vec::new();
    for before in own {
        let now = SigAction::current(before.signal());
        if !now.is_ok_and(|now| now.is_like(&before)) {
            before.restore();
            replaced.push(signal::name(before.signal()));
        }
    }
    if !replaced.is_empty() {
        trace::warning!(
            "The handlers that the hook {hook} has set for {} will not run: the arbiter takes these signals itself, and \
             hooks such as on_reload, child_exit and on_exit are told of what follows",
            replaced.join(", ")
        );
    }
    done
}
