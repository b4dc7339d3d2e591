//! Workers that come and go: the arbiter keeps their number, and no client notices.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oxicorn::time::MonoTime;

use crate::Size;
use crate::site::{CLIENTS, House, PYTHON, REQUESTS, SITES, Site};
use crate::support::load::{Load, ask_once};
use crate::support::{children, eventually, send};
use crate::watch::{descriptors, resident, workers};

/// More and fewer workers, over and over, faster than they boot.
pub(crate) fn scale(size: Size) {
    let requests = size.of(REQUESTS, 1000);
    let waves = size.of(100, 3);
    for site in SITES.into_iter().filter(|site| site.is_shared()) {
        let house = site.serve(2, &[]);
        let arbiter = house.server.pid();
        let load = Load::start(house.server.address(), CLIENTS, CLIENTS);
        for wave in 1..=waves {
            let storm = if wave % 2 == 1 {
                [Signal::SIGTTIN, Signal::SIGTTIN, Signal::SIGTTOU]
            } else {
                [Signal::SIGTTOU, Signal::SIGTTIN, Signal::SIGTTOU]
            };
            for signal in storm {
                send(arbiter, signal);
            }
            load.wait_for(requests * wave / waves);
        }
        let report = load.stop();
        println!("scale, {site}, {waves} waves: {report}");
        report.assert_flawless("scale");
        house.server.stop();
    }
}

/// Kept connections that never rest: new ones get their turn beside them.
pub(crate) fn crowd(size: Size) {
    let requests = size.of(REQUESTS / 100, 50);
    for site in SITES {
        let house = site.serve(1, &[]);
        let address = house.server.address();
        let crowd = Load::start(address, 2 * CLIENTS, 0);
        crowd.wait_for(1000);
        let newcomers = Load::start(address, 0, 2);
        newcomers.wait_for(requests);
        let (crowd, newcomers) = (crowd.stop(), newcomers.stop());
        println!("crowd, {site}: {crowd}\n  newcomers: {newcomers}");
        crowd.assert_flawless("crowd");
        newcomers.assert_flawless("newcomers");
        let longest = newcomers.longest();
        // However slow the machine is, they do not wait for the crowd to rest.
        assert!(longest < Duration::from_secs(5), "one waited {longest:?}");
        house.server.stop();
    }
}

/// Workers that are killed, each as soon as the one before it is replaced.
pub(crate) fn kill_storm(size: Size) {
    // The allocator may want some pages more; a leak of 100 bytes a worker is a megabyte in the whole.
    let house = Site::new(1, false).serve_without_python(64, &[]);
    storm(&house, 64, size.of(10_000, 100), 256);
    house.server.stop();
    // With hooks, a thread that logs, and Python's logging for the messages of all processes.
    if PYTHON {
        let house = Site::new(1, false).with_hooks().serve(16, &[]);
        storm(&house, 16, size.of(2000, 60), 2048);
        house.server.stop();
    }
}

/// Kills workers, and looks for `slack` KiB that the arbiter has more than after the first ones.
fn storm(house: &House, workers: usize, kills: u64, slack: u64) {
    let arbiter = house.server.pid();
    let mut herd = Herd::new(arbiter, workers);
    // What is allocated once is there after the first few.
    let warm = kills.min(100) / 2;
    let mut before = (0, 0);
    for kill in 0..kills {
        if kill == warm {
            before = (resident(arbiter), descriptors(arbiter));
        }
        send(herd.pick(), Signal::SIGKILL);
        herd.wait_until_whole();
    }
    eventually("a zombie is left", || {
        (!children(arbiter).iter().any(|(_, is_zombie)| *is_zombie)).then_some(())
    });
    let (memory, open) = before;
    // Those of a worker are closed soon after it, and then as well as before.
    let open_now = eventually("descriptors have leaked", || {
        Some(descriptors(arbiter)).filter(|now| *now <= open)
    });
    let memory_now = resident(arbiter);
    println!(
        "kill_storm, {kills} kills: {memory} KiB and {open} descriptors, then {memory_now} KiB and {open_now}"
    );
    assert!(memory_now <= memory + slack, "memory has leaked");
    ask_once(house.server.address()).expect("it serves as before");
}

/// An arbiter's workers, with when each was first seen.
struct Herd {
    arbiter: Pid,
    count: usize,
    since: BTreeMap<Pid, MonoTime>,
    dice: u64,
}

impl Herd {
    /// A worker that has lived for so long is no early death, which the arbiter would be slow to replace.
    const GROWN: Duration = Duration::from_millis(1500);

    #[track_caller]
    fn new(arbiter: Pid, count: usize) -> Self {
        let mut herd = Self {
            arbiter,
            count,
            since: BTreeMap::new(),
            dice: 1,
        };
        herd.wait_until_whole();
        herd
    }

    /// Waits until the arbiter has as many living children as it should have.
    #[track_caller]
    fn wait_until_whole(&mut self) {
        let living = eventually("a killed worker is not replaced", || {
            // It lives on until the signal is delivered, and a zombie until it is waited for.
            let living = workers(self.arbiter);
            let replaced = living.iter().any(|pid| !self.since.contains_key(pid));
            (living.len() == self.count && replaced).then_some(living)
        });
        self.since.retain(|pid, _| living.contains(pid));
        for pid in living {
            self.since.entry(pid).or_insert_with(MonoTime::now);
        }
    }

    /// A grown worker, at random, but the same one each time that the scenario is run alike.
    #[track_caller]
    fn pick(&mut self) -> Pid {
        // The constants are Knuth's, for MMIX.
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        eventually("no worker grows up", || {
            let now = MonoTime::now();
            let grown = self.since.iter();
            let grown = grown.filter(|(_, since)| now.since(**since) >= Self::GROWN);
            let grown: Vec<Pid> = grown.map(|(pid, _)| *pid).collect();
            let at = (self.dice >> 33) as usize % grown.len().max(1);
            grown.get(at).copied()
        })
    }
}
