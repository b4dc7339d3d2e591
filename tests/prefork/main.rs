//! Real processes: an arbiter and its workers, started, killed, asked and counted from outside.
//!
//! There is no test harness, since that would fork from threads. This program runs itself again for each
//! part that it plays (`roles.rs`), and no test sleeps and hopes: it waits for what it expects, with a
//! deadline.

mod facade;
mod host;
#[cfg(feature = "wsgi")]
mod python;
mod roles;
mod server;
mod supervision;
mod titles;
mod upgrade;
mod user;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A test: its name, as a sentence of behaviour, and what it does.
type Test = (&'static str, fn());

/// Lists functions as tests of their own name.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => { &[$((stringify!($name), $name as fn())),+] };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--role") {
        return roles::play(&arguments[1..]);
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let all = [
        supervision::TESTS,
        host::TESTS,
        facade::TESTS,
        upgrade::TESTS,
        titles::TESTS,
        user::TESTS,
        #[cfg(feature = "wsgi")]
        python::TESTS,
    ]
    .concat();
    let chosen = all
        .iter()
        .filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, test) in chosen {
        let passed = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    println!("{} failed {failed:?}", failed.len());
    ExitCode::from(u8::from(!failed.is_empty()))
}
