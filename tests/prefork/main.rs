//! Real processes: an arbiter and its workers, started, killed, asked and counted from outside.
//!
//! The usual harness is not used, since it would fork from threads. This program runs itself again for each
//! part that it plays (`roles.rs`), and no test sleeps and hopes: it waits for what it expects, with a
//! deadline.

mod contained;
mod facade;
mod groups;
mod host;
#[cfg(feature = "wsgi")]
mod owned;
mod preload;
#[cfg(feature = "wsgi")]
mod python;
mod refused;
#[cfg(feature = "wsgi")]
mod renewed;
mod roles;
mod server;
mod supervision;
#[path = "../support/mod.rs"]
mod support;
mod titles;
mod totals;
mod trial;
mod unheard;
mod upgrade;
mod user;
mod worker_handle;

use std::process::ExitCode;

use libtest_mimic::Trial;

/// A test: its name, as a sentence of behaviour, and what it does.
type Test = (&'static str, fn());

/// Lists functions as tests of their own name.
macro_rules! tests {
    ($($(#[$on:meta])* $name:ident),+ $(,)?) => { &[$($(#[$on])* (stringify!($name), $name as fn())),+] };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--role") {
        return roles::play(&arguments[1..]);
    }
    let all = [
        supervision::TESTS,
        host::TESTS,
        facade::TESTS,
        contained::TESTS,
        upgrade::TESTS,
        groups::TESTS,
        titles::TESTS,
        totals::TESTS,
        trial::TESTS,
        preload::TESTS,
        user::TESTS,
        worker_handle::TESTS,
        refused::TESTS,
        unheard::TESTS,
        #[cfg(feature = "wsgi")]
        python::TESTS,
        #[cfg(feature = "wsgi")]
        renewed::TESTS,
        #[cfg(feature = "wsgi")]
        owned::TESTS,
    ]
    .concat();
    let trial = |(name, test): Test| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    // One at a time, on this thread.
    let arguments = libtest_mimic::Arguments {
        test_threads: Some(1),
        ..libtest_mimic::Arguments::from_args()
    };
    libtest_mimic::run(&arguments, all.into_iter().map(trial).collect()).exit_code()
}
