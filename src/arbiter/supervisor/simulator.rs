//! A world of processes that boot, serve, hang, crash and refuse to die, and of arbiters that follow each other, in
//! which the supervisor is run for a million steps; its invariants are asserted after each. That this finds faults
//! is shown with supervisors that have some: see [`bugs`].
//!
//! Every run is the same. A failure prints the episode's seed; `OXICORN_SIMULATOR_SEED` runs that episode
//! alone.

mod bugs;
mod law;
mod process;
mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;
use bugs::Bug;
use world::World;

const EPISODES: u64 = 10_000;
const TURNS: usize = 60;
const SLOTS: usize = 8;
/// How many things are counted: the supervisor's actions, and the world's faults.
const EVENTS: usize = 54;

/// splitmix64: small, and good enough to be unkind.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap();
        Duration::from_nanos(self.roll() % nanos.max(1))
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll() as usize % from.len()]
    }

    /// A policy for each group, with as many workers as there is room for at the most.
    fn policies(&mut self, groups: usize) -> Vec<Policy> {
        let mut room = SLOTS - groups;
        let mut policies = Vec::new();
        for group in (0..groups).rev() {
            let policy = self.policy(room - group);
            room -= policy.workers;
            policies.push(policy);
        }
        policies
    }

    fn policy(&mut self, most: usize) -> Policy {
        let secs = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        Policy {
            workers: 1 + self.roll() as usize % most,
            timeout: secs(self.pick(&[None, Some(1), Some(2), Some(30)])),
            request_timeout: secs(self.pick(&[None, Some(1), Some(1), Some(5)])),
            max_worker_age: secs(self.pick(&[None, None, Some(3), Some(60)])),
            max_requests: None,
            max_requests_jitter: 0,
            max_worker_memory: None,
            calls: self.pick(&[1, 4]),
            boot_timeout: secs(self.pick(&[None, Some(1), Some(1), Some(2), Some(2), Some(120)])),
            graceful_timeout: Duration::from_secs(self.pick(&[0, 1, 1, 30])),
            upgrade_retire: self.percent(20),
        }
    }
}

/// A new generation for each of these.
pub(super) fn number(policies: &[Policy], last: &mut u64) -> Vec<Supervised> {
    let policies = policies.iter();
    policies
        .map(|&policy| {
            *last += 1;
            let generation = *last;
            Supervised { generation, policy }
        })
        .collect()
}

/// How often each thing happened: a world in which nothing happens proves nothing.
#[derive(Default)]
struct Tally {
    steps: u64,
    events: BTreeMap<&'static str, u32>,
}

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.events.entry(what).or_default() += 1;
    }
}

/// A fault of the supervisor's. Without a word on standard error, since it may have been planted.
fn require(holds: bool, rule: &str) {
    if !holds {
        resume_unwind(Box::new(rule.to_owned()));
    }
}

fn episode(seed: u64, bug: Option<Bug>, tally: &mut Tally) -> Result<(), String> {
    let run = || {
        let mut world = World::new(seed, bug, tally);
        for _ in 0..TURNS {
            let commands = world.think_of_commands();
            world.turn(commands);
        }
        if world.dice.percent(30) {
            world.recover();
        }
        let stop = world.dice.pick(&[Command::Stop, Command::StopNow]);
        world.turn(vec![stop]);
        if world.dice.percent(50) {
            world.turn(vec![Command::StopNow]);
        }
        while world.is_there() {
            world.turn(Vec::new());
        }
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|fault| in_words(&*fault))
}

fn in_words(fault: &(dyn Any + Send)) -> String {
    let rule = fault.downcast_ref::<String>();
    rule.map_or("a panic of its own".into(), Clone::clone)
}

#[test]
fn no_invariant_breaks_in_a_million_steps() {
    let alone = env::var("OXICORN_SIMULATOR_SEED").ok();
    let alone = alone.and_then(|seed| seed.parse::<u64>().ok());
    let mut tally = Tally::default();
    for seed in alone.map_or(0..EPISODES, |seed| seed..seed + 1) {
        if let Err(rule) = episode(seed, None, &mut tally) {
            panic!("{rule}; OXICORN_SIMULATOR_SEED={seed}");
        }
    }
    if alone.is_none() {
        let Tally { steps, events } = &tally;
        assert!(*steps >= 1_000_000, "only {steps} steps");
        let rarest = events.values().min();
        assert!(rarest >= Some(&1000), "{events:?}");
        assert_eq!(events.len(), EVENTS, "{events:?}");
    }
}

#[test]
fn each_planted_bug_is_found() {
    for bug in Bug::ALL {
        let mut tally = Tally::default();
        let found = (0..EPISODES).find_map(|seed| episode(seed, Some(bug), &mut tally).err());
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
