//! What a server must bear for a long time: reloads, kills and stops, under clients that forgive nothing.
//!
//! No scenario passes with a failed request, and none retries. `cargo test --test endurance` runs them all,
//! small; `cargo test --release --test endurance -- SCENARIO PERCENT` runs those whose name begins so, whole
//! with 100. There is no test harness, since it would fork from threads.

#[path = "../support/load.rs"]
mod load;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "most of the support is for the tests in tests/it"
)]
mod support;

mod endings;
mod renewal;
mod role;
mod site;
mod succession;
mod supply;
mod watch;

use std::panic::catch_unwind;
use std::process::ExitCode;

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
    let mut words = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    let filter = words.next().map_or("", String::as_str);
    let size = words.next().and_then(|word| word.parse().ok());
    let chosen = SCENARIOS
        .iter()
        .filter(|(name, _)| name.starts_with(filter));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, scenario) in chosen {
        let passed = catch_unwind(|| scenario(Size(size.unwrap_or(SMALL)))).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    println!("{} failed {failed:?}", failed.len());
    ExitCode::from(u8::from(!failed.is_empty()))
}
