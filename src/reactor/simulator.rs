//! A network without a system, with clients that come in pieces, drip, stall, hurry, break off and do not read, in
//! which a reactor is run for a million steps under a clock of its own; its invariants are asserted after each. That
//! this finds faults is shown with reactors that have some: see [`bugs`].
//!
//! Every run is the same. A failure prints the episode's seed; `OXICORN_REACTOR_SEED` runs that episode alone.

mod backlog;
mod bugs;
mod client;
mod corks;
mod dice;
#[cfg(feature = "_tls")]
mod encrypted;
mod end;
mod law;
mod network;
mod response;
mod system;
mod world;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::host::Host;
use super::{Config, Reactor};
use crate::time::MonoTime;
use bugs::Bug;
use network::Network;
pub(super) use system::{Poller, RawSocket, Stream};
use world::World;

const EPISODES: u64 = 8_000;
const TURNS: usize = 60;
/// How many things are counted: phases, faults, deadlines, and what became of requests.
const EVENTS: usize = 37;
/// How often each thing happened, so that no world is believed in which nothing does.
#[derive(Default)]
struct Tally {
    steps: u64,
    events: BTreeMap<&'static str, u32>,
}

impl Tally {
    fn count(&mut self, what: &'static str, times: u32) {
        *self.events.entry(what).or_default() += times;
    }
}

/// A fault of the reactor's. Without a word on standard error: it may have been planted.
fn require(holds: bool, rule: &str) {
    if !holds {
        resume_unwind(Box::new(rule.to_owned()));
    }
}

fn episode(
    seed: u64,
    bug: Option<Bug>,
    with_tls: bool,
    tally: &RefCell<Tally>,
) -> Result<(), String> {
    let run = || {
        let world = World::new(seed, bug, with_tls, tally);
        for _ in 0..TURNS {
            world.turn();
        }
        world.end();
        for (what, times) in &world.network.state().counts {
            tally.borrow_mut().count(what, *times);
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| unheard(run)));
    outcome.map_err(|fault| in_words(&*fault))
}

/// Runs `run` without the lines of the log.
#[cfg(feature = "tracing")]
fn unheard(run: impl FnOnce()) {
    tracing::subscriber::with_default(tracing_subscriber::registry(), run);
}

#[cfg(not(feature = "tracing"))]
fn unheard(run: impl FnOnce()) {
    run();
}

fn in_words(fault: &(dyn Any + Send)) -> String {
    let rule = fault.downcast_ref::<String>();
    rule.map_or("a panic of its own".into(), Clone::clone)
}

#[test]
fn no_invariant_breaks_in_a_million_steps() {
    let alone = env::var("OXICORN_REACTOR_SEED").ok();
    let alone = alone.and_then(|seed| seed.parse::<u64>().ok());
    let tally = RefCell::default();
    for seed in alone.map_or(0..EPISODES, |seed| seed..seed + 1) {
        if let Err(rule) = episode(seed, None, false, &tally) {
            panic!("{rule}; OXICORN_REACTOR_SEED={seed}");
        }
    }
    if alone.is_none() {
        let Tally { steps, events } = tally.into_inner();
        assert!(steps >= 1_000_000, "only {steps} steps");
        for (what, times) in &events {
            assert!(*times >= 1000, "{what}: {events:?}");
        }
        assert_eq!(events.len(), EVENTS, "{events:?}");
    }
}

/// The same with clients and servers that speak TLS: records are cut anywhere.
#[cfg(feature = "_tls")]
#[test]
fn no_invariant_breaks_over_tls() {
    const EPISODES: u64 = 400;
    let alone = env::var("OXICORN_REACTOR_SEED").ok();
    let alone = alone.and_then(|seed| seed.parse::<u64>().ok());
    let tally = RefCell::default();
    for seed in alone.map_or(0..EPISODES, |seed| seed..seed + 1) {
        if let Err(rule) = episode(seed, None, true, &tally) {
            panic!("{rule}; OXICORN_REACTOR_SEED={seed}");
        }
    }
    let answered = tally.into_inner().events.get("answered").copied();
    assert!(alone.is_some() || answered > Some(500), "{answered:?}");
}

/// A host that has the network's clock, and nothing else.
struct Clock(Network);

impl Host for Clock {
    fn now(&self) -> MonoTime {
        self.0.now()
    }
}

#[test]
fn a_head_that_takes_more_reads_than_a_poll_has_is_timed() {
    let network = Network::new(1);
    let poller = Poller::Simulated(network.epoll());
    let acceptor = network.acceptor();
    let mut reactor = Reactor::over(poller, acceptor, Config::default());
    let host = Clock(network.clone());
    network.state().horizon = host.now() + Duration::from_secs(60);
    let id = network.connect(1000, true);
    network.send(id, &[b"GET / HTTP/1.1\r\na: ", &[b'b'; 700][..]].concat());
    for _ in 0..5 {
        reactor.poll(&host, None).unwrap();
    }
    let mut answer = Vec::new();
    network.receive(id, 1000, &mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
}

#[test]
fn each_planted_bug_is_found() {
    for bug in Bug::ALL {
        let tally = RefCell::default();
        let found = (0..EPISODES).find_map(|seed| episode(seed, Some(bug), false, &tally).err());
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
