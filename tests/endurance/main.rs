//! What a server must bear for a long time: reloads, kills and stops, under clients that forgive nothing.
//!
//! No scenario passes with a failed request. `cargo test --test endurance` runs them all,
//! small; `cargo test --release --test endurance -- SCENARIO PERCENT` runs those that are called so, whole with
//! 100. The usual harness is not used, since it would fork from threads.

#[path = "../support/mod.rs"]
mod support;

mod endings;
mod renewal;
mod role;
mod site;
mod succession;
mod supply;
mod watch;

use std::process::ExitCode;

use libtest_mimic::Trial;

/// The part of the whole, in percent, that a scenario runs in unless it is told.
const SMALL: u64 = 1;

/// How much of a scenario is to be run.
#[derive(Clone, Copy)]
pub(crate) struct Size(u64);

impl Size {
    /// That part of what the whole has, but not less than `least`.
    pub(crate) fn of(self, whole: u64, least: u64) -> u64 {
        (whole * self.0 / 100).max(least)
    }
}

/// A scenario: its name, and what it does.
type Scenario = (&'static str, fn(Size));

const SCENARIOS: &[Scenario] = &[
    ("reload", renewal::reload),
    ("recycle", renewal::recycle),
    ("slow_import", renewal::slow_import),
    ("bad_reload", renewal::bad_reload),
    ("upgrade", succession::upgrade),
    ("broken_upgrade", succession::broken_upgrade),
    ("scale", supply::scale),
    ("crowd", supply::crowd),
    ("kill_storm", supply::kill_storm),
    ("stop_under_load", endings::stop_under_load),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--role") {
        return role::play(&arguments[1..]);
    }
    let mut words = arguments;
    let is_size = |pair: &[String]| !pair[0].starts_with('-') && pair[1].parse::<u64>().is_ok();
    let size = words.windows(2).position(is_size);
    let size = size.and_then(|at| words.remove(at + 1).parse().ok());
    let trial = |(name, scenario): &Scenario| {
        let scenario = *scenario;
        Trial::test(*name, move || {
            scenario(Size(size.unwrap_or(SMALL)));
            Ok(())
        })
    };
    // One at a time, on this thread, with the program's name before what it was told.
    let words = std::iter::once(String::new()).chain(words);
    let arguments = libtest_mimic::Arguments {
        test_threads: Some(1),
        ..libtest_mimic::Arguments::from_iter(words)
    };
    libtest_mimic::run(&arguments, SCENARIOS.iter().map(trial).collect()).exit_code()
}
