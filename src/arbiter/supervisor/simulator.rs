//! A world of processes that boot, serve, hang, crash and refuse to die, in which the supervisor is run for
//! many steps; its invariants are asserted after each.
//!
//! Every run is the same. A failure prints the episode's seed; `OXICORN_SIMULATOR_SEED` runs that episode
//! alone.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

const EPISODES: u64 = 600;
const TURNS: usize = 150;
const SLOTS: usize = 8;

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
}

/// A process as the world knows it.
struct Process {
    id: u64,
    slot: usize,
    /// When it will say that it is ready.
    boots: Option<Tick>,
    ready: bool,
    /// From when on it makes no progress.
    hangs: Option<Tick>,
    dies: Option<(Tick, Exit)>,
    /// The last signal that it was sent.
    told: Option<Order>,
    unkillable: bool,
}

/// How often each thing happened, so that nobody believes a world in which nothing does.
type Tally = BTreeMap<String, u32>;

struct World<'a> {
    dice: Dice,
    limits: Limits,
    supervisor: Supervisor,
    now: Tick,
    planned: Option<Tick>,
    processes: BTreeMap<i32, Process>,
    /// The process ids that the supervisor was told of.
    known: BTreeSet<i32>,
    last_pid: i32,
    /// No faults any more.
    calm: bool,
    /// No worker can ever boot.
    broken: bool,
    proven: bool,
    /// By when a stop must have ended.
    stops: Option<Tick>,
    end: Option<Result<(), Failure>>,
    tally: &'a mut Tally,
    steps: &'a mut u64,
}

impl World<'_> {
    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }

    /// One turn of the shell's loop: time passes, everything known is said, everything wanted is done.
    fn turn(&mut self, command: Option<Command>) {
        let late = self.let_time_pass();
        let mut inputs: Vec<Input> = command.map(Input::Command).into_iter().collect();
        self.what_has_happened(late.is_some(), &mut inputs);
        inputs.push(Input::Wake);
        if let Some(command) = command {
            self.expect_stop(command);
        }
        while !inputs.is_empty() {
            let mut actions = Vec::new();
            for input in inputs.drain(..) {
                self.step(input, &mut actions);
            }
            for action in actions {
                assert!(self.end.is_none(), "{action:?} after the end");
                self.perform(action, late.is_some(), &mut inputs);
            }
            self.assert_invariants();
        }
    }

    fn step(&mut self, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Forked { pid, .. } => assert!(self.known.insert(pid)),
            Input::Ready { .. } => self.proven = true,
            Input::Exited { pid, ready, .. } => {
                assert!(self.known.remove(&pid));
                self.proven |= ready;
            }
            _ => {}
        }
        let before = actions.len();
        self.planned = self.supervisor.step(self.now, input, actions);
        for action in &actions[before..] {
            if let Action::Signal { pid, .. } = action {
                assert!(self.known.contains(pid), "{action:?} to a stranger");
            }
        }
        *self.steps += 1;
    }

    /// To the next thing that happens. Sometimes the arbiter is stopped meanwhile.
    fn let_time_pass(&mut self) -> Option<Duration> {
        let own = self.now + self.dice.up_to(Duration::from_secs(2));
        let events = self.processes.values().flat_map(|process| {
            let dies = process.dies.map(|(at, _)| at);
            [process.boots, dies]
        });
        let first = events.flatten().chain(self.planned).min();
        self.now = self.now.max(first.map_or(own, |first| first.min(own)));
        if self.calm || !self.dice.percent(2) {
            return None;
        }
        let pause = Duration::from_secs(3) + self.dice.up_to(Duration::from_secs(500));
        self.now = self.now + pause;
        // What the supervisor can know of it.
        let late = self.planned.map(|planned| self.now.since(planned));
        let late = late.filter(|late| *late > LATE)?;
        self.stops = self.stops.map(|stops| stops + late + LATE);
        self.count("late");
        Some(late)
    }

    fn what_has_happened(&mut self, late: bool, inputs: &mut Vec<Input>) {
        let now = self.now;
        let mut gone = Vec::new();
        for (&pid, process) in &mut self.processes {
            let says_ready = process.boots.is_some_and(|boots| boots <= now);
            if let Some((_, exit)) = process.dies.filter(|(dies, _)| *dies <= now) {
                gone.push(Input::Exited {
                    pid,
                    exit,
                    ready: process.ready || says_ready,
                    words: None,
                });
                continue;
            }
            if says_ready {
                process.boots = None;
                process.ready = true;
                inputs.push(Input::Ready { id: process.id });
            }
            // All were stopped together: nobody has beaten yet.
            if process.ready && process.hangs.is_none_or(|hangs| hangs > now) && !late {
                inputs.push(Input::Beat {
                    id: process.id,
                    at: now - self.dice.up_to(Duration::from_millis(500)),
                });
            }
        }
        for input in gone {
            if let Input::Exited { pid, .. } = input {
                self.processes.remove(&pid);
            }
            inputs.push(input);
        }
    }

    fn perform(&mut self, action: Action, late: bool, inputs: &mut Vec<Input>) {
        match action {
            Action::Ready | Action::Resized { .. } | Action::ReopenLogs => {}
            Action::Recycle { .. }
            | Action::LoadConfig
            | Action::Reexec
            | Action::RefuseUpgrade { .. }
            | Action::Upgraded { .. }
            | Action::Dismiss { .. }
            | Action::UpgradeFailed { .. }
            | Action::SuccessorGone { .. }
            | Action::Announce
            | Action::Promote
            | Action::Settle
            | Action::Revert { .. } => {
                panic!("{action:?} of nothing")
            }
            Action::Spawn { id, slot } => {
                assert!(self.stops.is_none(), "a fork during a stop");
                let twin = |other: &Process| other.id == id || other.slot == slot;
                assert!(!self.processes.values().any(twin), "id or slot taken");
                inputs.push(self.fork(id, slot));
            }
            Action::Signal { pid, order, .. } => {
                // Without any grace a stop kills at once, whenever it is asked for.
                let lethal = matches!(order, Order::Stacks | Order::Abort)
                    || order == Order::Kill && !self.limits.graceful_timeout.is_zero();
                assert!(!(late && lethal), "{order} in a late step");
                self.count(&order.to_string());
                self.signal(pid, order);
            }
            Action::Bury(obituary) => {
                self.count("bury");
                assert!(!self.processes.contains_key(&obituary.pid));
            }
            Action::Regret { retry, .. } => {
                self.count("regret");
                assert!(!retry.is_zero());
            }
            Action::StopListening => {
                self.count("close");
                if self.stops.is_none() {
                    // Not told to: a start has failed, which ends quickly.
                    assert!(!self.proven, "a failure though workers can boot");
                    self.stops = Some(self.now + QUICK_GRACE + LAST_GRACE);
                }
            }
            Action::Exit(end) => {
                self.count(if end.is_ok() { "end" } else { "failure" });
                let killed = self
                    .processes
                    .values()
                    .all(|process| process.told == Some(Order::Kill));
                assert!(killed, "a worker is left that was never killed");
                self.end = Some(end);
            }
        }
    }

    fn fork(&mut self, id: u64, slot: usize) -> Input {
        self.count("spawn");
        let now = self.now;
        let dice = &mut self.dice;
        if !self.calm && dice.percent(5) {
            let reason = "no more processes".into();
            return Input::ForkFailed { id, reason };
        }
        // Process ids come again.
        loop {
            self.last_pid = self.last_pid % 50 + 1;
            if !self.processes.contains_key(&self.last_pid) {
                break;
            }
        }
        let mut process = Process {
            id,
            slot,
            boots: Some(now + dice.up_to(Duration::from_secs(1))),
            ready: false,
            hangs: None,
            dies: None,
            told: None,
            unkillable: false,
        };
        if !self.calm {
            let exit = dice.pick(&[
                Exit::Code(0),
                Exit::Code(3),
                Exit::Code(4),
                Exit::Signal(Signal::SIGKILL),
                Exit::Signal(Signal::SIGSEGV),
                Exit::Unknown,
            ]);
            match if self.broken { 0 } else { dice.roll() % 10 } {
                // Fails to boot, or soon after.
                0 | 1 => process.dies = Some((now + dice.up_to(Duration::from_secs(2)), exit)),
                // Boots slowly, or never.
                2 => process.boots = Some(now + dice.up_to(Duration::from_secs(300))),
                3 => process.hangs = Some(now + dice.up_to(Duration::from_secs(60))),
                4..7 => process.dies = Some((now + dice.up_to(Duration::from_secs(100)), exit)),
                _ => {}
            }
            process.unkillable = dice.roll() % 300 == 0;
            process.boots = process.boots.filter(|_| !self.broken);
        }
        self.processes.insert(self.last_pid, process);
        Input::Forked {
            id,
            pid: self.last_pid,
        }
    }

    fn signal(&mut self, pid: i32, order: Order) {
        let now = self.now;
        let boot_timeout = self.limits.boot_timeout;
        // It may have gone before it could be told, as in the shell.
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        let (within, obeys) = match order {
            Order::Kill => {
                assert!(process.told.is_some(), "killed without a warning");
                (Duration::from_millis(50), !process.unkillable)
            }
            Order::Expire | Order::Reopen => return,
            Order::Stacks => {
                process.told = Some(order);
                return;
            }
            Order::Abort => {
                let hangs = process.hangs.is_some_and(|hangs| hangs <= now);
                let boots = process.boots.is_some() && boot_timeout.is_some();
                assert!(hangs || boots, "a healthy worker was aborted");
                (Duration::from_millis(50), self.dice.percent(80))
            }
            _ => {
                let within = self.limits.graceful_timeout + Duration::from_secs(1);
                (within, self.calm || self.dice.percent(80))
            }
        };
        process.told = Some(order);
        if obeys && process.dies.is_none_or(|(dies, _)| dies > now) {
            let exit = match order {
                Order::Abort => Exit::Signal(Signal::SIGABRT),
                Order::Kill => Exit::Signal(Signal::SIGKILL),
                _ => Exit::Code(0),
            };
            process.dies = Some((now + self.dice.up_to(within), exit));
        }
    }

    /// What a stop that is asked for now may take.
    fn expect_stop(&mut self, command: Command) {
        let grace = match command {
            Command::Stop => self.limits.graceful_timeout,
            Command::StopNow => QUICK_GRACE,
            _ => return,
        };
        let by = self.now + grace + LAST_GRACE;
        self.stops = Some(self.stops.map_or(by, |before| before.min(by)));
    }

    fn assert_invariants(&self) {
        let target = self.supervisor.target();
        assert!((1..SLOTS).contains(&target));
        let staying = self
            .processes
            .values()
            .filter(|process| process.told.is_none());
        assert!(staying.count() <= target);
        for row in self.supervisor.table.iter() {
            if let (Some(pid), None) = (row.pid, &self.end) {
                assert!(self.processes.contains_key(&pid), "a row without a process");
                assert!(row.deadline.is_none_or(|deadline| deadline > self.now));
            }
        }
        if let Some(stops) = self.stops {
            assert!(
                self.end.is_some() || self.now <= stops,
                "a stop takes too long"
            );
        }
    }

    /// Without faults, all workers are there after a while.
    fn assert_recovery(&mut self) {
        self.calm = true;
        for process in self.processes.values_mut() {
            process.boots = process.boots.map(|boots| boots.min(self.now));
        }
        let deadline = self.now + Duration::from_secs(400);
        while self.now < deadline && self.end.is_none() {
            self.turn(None);
        }
        let unkillable = self.processes.values().any(|process| process.unkillable);
        if self.end.is_some() || self.stops.is_some() || unkillable {
            return;
        }
        let hung = |process: &&Process| process.hangs.is_some();
        if self.processes.values().filter(hung).count() > 0 && self.limits.timeout.is_none() {
            return;
        }
        let serving = self.processes.values().filter(|process| process.ready);
        assert_eq!(serving.count(), self.supervisor.target(), "no recovery");
    }
}

fn episode(seed: u64, tally: &mut Tally, steps: &mut u64) {
    let mut dice = Dice(seed);
    let limits = Limits {
        workers: 1 + dice.roll() as usize % (SLOTS - 1),
        request_timeout: None,
        max_requests: None,
        max_requests_jitter: 0,
        max_worker_age: None,
        max_worker_memory: None,
        calls: 1,
        timeout: dice
            .pick(&[None, Some(2), Some(30)])
            .map(Duration::from_secs),
        boot_timeout: dice
            .pick(&[None, Some(5), Some(120)])
            .map(Duration::from_secs),
        graceful_timeout: Duration::from_secs(dice.pick(&[0, 1, 30])),
        upgrade_retire: false,
    };
    let mut world = World {
        dice,
        limits,
        supervisor: Supervisor::new(limits, SLOTS),
        now: Tick::ZERO + Duration::from_secs(1000),
        planned: None,
        processes: BTreeMap::new(),
        known: BTreeSet::new(),
        last_pid: 0,
        calm: false,
        broken: seed % 4 == 0,
        proven: false,
        stops: None,
        end: None,
        tally,
        steps,
    };
    for _ in 0..TURNS {
        let command = match world.dice.roll() % 100 {
            0..4 => Some(Command::Grow),
            4..8 => Some(Command::Shrink),
            8 if world.dice.percent(10) => Some(Command::Stop),
            9 if world.dice.percent(5) => Some(Command::StopNow),
            _ => None,
        };
        world.turn(command);
    }
    if world.dice.percent(50) {
        world.assert_recovery();
    }
    let stop = world.dice.pick(&[Command::Stop, Command::StopNow]);
    world.turn(Some(stop));
    if world.dice.percent(50) {
        world.turn(Some(Command::StopNow));
    }
    while world.end.is_none() {
        world.turn(None);
    }
}

#[test]
fn no_invariant_breaks_in_a_hundred_thousand_steps() {
    let alone = env::var("OXICORN_SIMULATOR_SEED").ok();
    let alone = alone.and_then(|seed| seed.parse::<u64>().ok());
    let mut tally = Tally::new();
    let mut steps = 0;
    for seed in alone.map_or(0..EPISODES, |seed| seed..seed + 1) {
        let run = catch_unwind(AssertUnwindSafe(|| episode(seed, &mut tally, &mut steps)));
        assert!(run.is_ok(), "failed with OXICORN_SIMULATOR_SEED={seed}");
    }
    if alone.is_none() {
        assert!(steps >= 100_000, "only {steps} steps");
        let kinds = [
            "spawn", "bury", "regret", "close", "end", "failure", "late", "SIGTERM", "SIGQUIT",
            "SIGABRT", "SIGKILL",
        ];
        for kind in kinds {
            let times = tally.get(kind).copied().unwrap_or(0);
            assert!(times >= 100, "only {times} times {kind}: {tally:?}");
        }
    }
}

#[test]
fn a_program_that_always_fails_is_not_forked_in_a_storm() {
    let limits = Limits {
        workers: 4,
        timeout: None,
        request_timeout: None,
        max_requests: None,
        max_requests_jitter: 0,
        max_worker_age: None,
        max_worker_memory: None,
        calls: 1,
        boot_timeout: None,
        graceful_timeout: Duration::ZERO,
        upgrade_retire: false,
    };
    let mut supervisor = Supervisor::new(limits, SLOTS);
    let start = Tick::ZERO + Duration::from_secs(1);
    let mut now = start;
    let mut inputs = vec![Input::Wake];
    let mut forks = 0;
    // One worker could boot, the others never do.
    while now.since(start) < Duration::from_secs(3600) {
        let mut actions = Vec::new();
        let mut next = None;
        for input in inputs.drain(..) {
            next = supervisor.step(now, input, &mut actions);
        }
        for action in actions {
            if let Action::Spawn { id, .. } = action {
                forks += 1;
                let pid = forks;
                inputs.push(Input::Forked { id, pid });
                if id == 1 {
                    inputs.push(Input::Ready { id });
                } else {
                    inputs.push(Input::Exited {
                        pid,
                        exit: Exit::Code(3),
                        ready: false,
                        words: None,
                    });
                }
            }
        }
        if inputs.is_empty() {
            now = next.expect("it is tried again");
            inputs.push(Input::Wake);
        }
    }
    assert!((100..150).contains(&forks), "{forks} forks in an hour");
}
