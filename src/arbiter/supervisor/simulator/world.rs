//! The simulated world: time, processes, what they say, and what becomes of what the supervisor wants.
//!
//! It keeps books of its own about what the supervisor knows, in [`Law`], and believes nothing that the
//! supervisor says of itself.

mod processes;
mod upgrade;

use std::collections::BTreeMap;

use super::super::*;
use super::bugs::{Bug, Mind};
use super::law::Law;
use super::process::Settings;
use super::{Dice, SLOTS, Tally, number, require};
use upgrade::OtherArbiters;

/// How often the shell looks at the workers' calls.
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct World<'a> {
    pub(super) dice: Dice,
    law: Law,
    mind: Mind,
    planned: Option<MonoTime>,
    /// What the workers of each generation are forked with, while it is kept.
    generations: BTreeMap<u64, Settings>,
    last_generation: u64,
    upgrade: OtherArbiters,
    last_pid: i32,
    /// No faults any more.
    calm: bool,
    /// Until then no worker can boot, whatever the settings.
    sick: MonoTime,
    tally: &'a mut Tally,
}

impl<'a> World<'a> {
    pub(super) fn new(seed: u64, bug: Option<Bug>, tally: &'a mut Tally) -> Self {
        let mut dice = Dice(seed);
        let groups = dice.pick(&[1, 2]);
        let policies = dice.policies(groups);
        let now = MonoTime::ZERO + Duration::from_secs(1000);
        let upgrade = OtherArbiters::new(now, &mut dice, tally);
        let mut last_generation = 0;
        let supervised = number(&policies, &mut last_generation);
        let generations = supervised.iter().map(|it| {
            let settings = Settings {
                policy: it.policy,
                good: seed % 6 != 0,
            };
            (it.generation, settings)
        });
        let mut supervisor = Supervisor::new(supervised.clone(), SLOTS);
        if upgrade.has_predecessor() {
            supervisor = supervisor.with_predecessor();
        }
        Self {
            law: Law::new(now, &supervised, upgrade.has_predecessor()),
            mind: Mind::new(supervisor, bug),
            planned: None,
            generations: generations.collect(),
            last_generation,
            upgrade,
            last_pid: 0,
            calm: false,
            sick: now,
            dice,
            tally,
        }
    }

    pub(super) fn is_there(&self) -> bool {
        !self.law.over
    }

    pub(super) fn think_of_commands(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.sick > self.law.now {
            return commands;
        }
        loop {
            commands.push(match self.dice.roll() % 200 {
                0..10 => Command::Grow,
                10..20 => Command::Shrink,
                20..25 => {
                    let group = self.dice.roll() as usize % self.law.groups.len();
                    Command::Scale(GroupId(group), self.dice.roll() as usize % (SLOTS + 2))
                }
                25..28 => Command::Quiesce,
                28..44 => Command::Reload,
                44..50 => Command::ReopenLogs,
                50..70 => Command::Upgrade,
                70 if self.dice.percent(20) => Command::Stop,
                71 if self.dice.percent(20) => Command::StopNow,
                _ => return commands,
            });
        }
    }

    /// One turn of the shell's loop: time passes, everything known is said, everything wanted is done.
    pub(super) fn turn(&mut self, commands: Vec<Command>) {
        self.law.commands = commands.len();
        let late = self.let_time_pass();
        let mut inputs: Vec<Input> = commands.into_iter().map(Input::Command).collect();
        if !self.calm && self.dice.percent(2) {
            self.tally.count("a sickness");
            self.sick = self.law.now + self.dice.up_to(Duration::from_secs(20));
            for process in &mut self.law.processes {
                if !process.unkillable && self.dice.percent(30) {
                    process.dies = Some((self.law.now, Exit::Signal(Signal::SIGKILL)));
                }
            }
            self.upgrade.sicken(self.law.now, &mut self.dice);
        }
        self.upgrade.what_has_happened(self.law.now, &mut inputs);
        self.what_has_happened(late, &mut inputs);
        inputs.push(Input::Wake);
        let mut actions = Vec::new();
        while !inputs.is_empty() {
            for input in inputs.drain(..) {
                self.step(input, &mut actions);
            }
            for action in actions.drain(..) {
                self.perform(&action, &mut inputs);
            }
        }
        self.law.after_turn(self.planned);
    }

    fn step(&mut self, input: Input, actions: &mut Vec<Action>) {
        self.tally.steps += 1;
        let before = actions.len();
        let expected = self.law.hears(&input);
        self.planned = self.mind.step(self.law.now, input, actions);
        for action in &actions[before..] {
            self.tally.count(name(action));
            self.law.judges(action);
        }
        self.law.compares(&expected, &actions[before..]);
        let targets = self.law.groups.iter().map(|group| group.target);
        require(
            targets.eq(self.mind.supervisor.targets()),
            "the target is what was asked for",
        );
    }

    /// To the next thing that happens. Sometimes the arbiter and all workers are stopped meanwhile: whether
    /// the supervisor can know of it.
    fn let_time_pass(&mut self) -> bool {
        let now = self.law.now;
        let own = now + self.dice.up_to(Duration::from_secs(2));
        let look = self.looks().then(|| now + LOOK);
        // Not when one shows progress: a write into the scoreboard does not wake the arbiter.
        let events = self.law.processes.iter().flat_map(|process| {
            let dies = process.dies.map(|(at, _)| at);
            [process.boots, dies]
        });
        let first = events
            .flatten()
            .chain(self.upgrade.events())
            .chain(look)
            .chain(self.planned)
            .chain([own]);
        self.law.now = first.min().map_or(own, |first| first.max(now));
        if self.calm || !self.dice.percent(2) {
            return false;
        }
        let most = self.dice.pick(&[2, 500]);
        let pause = LATE + LOOK_UP + self.dice.up_to(Duration::from_secs(most));
        self.law.now = self.law.now + pause;
        if self.dice.percent(50) {
            self.upgrade.stand_still(pause);
        }
        let late = self.planned.map(|planned| self.law.now.since(planned));
        let Some(late) = late.filter(|late| *late > LATE) else {
            return false;
        };
        self.tally.count("a late step");
        self.law.forgives(late);
        for process in &mut self.law.processes {
            let soon = self.law.now + self.dice.up_to(LOOK);
            process.beats = process.beats.map(|_| soon);
        }
        true
    }

    fn what_has_happened(&mut self, late: bool, inputs: &mut Vec<Input>) {
        let now = self.law.now;
        let looks = self.looks();
        let (dice, tally) = (&mut self.dice, &mut *self.tally);
        let mut exits = Vec::new();
        for process in &mut self.law.processes {
            let id = process.id;
            let says_ready = process.boots.is_some_and(|boots| boots <= now);
            if let Some((_, exit)) = process.dies.filter(|(dies, _)| *dies <= now) {
                process.gone = true;
                exits.push(Input::Exited {
                    pid: process.pid,
                    exit,
                    ready: process.booted || says_ready,
                    words: None,
                });
                continue;
            }
            if says_ready {
                process.boots = None;
                process.booted = true;
                process.beats = process.policy.timeout.map(|_| now);
                inputs.push(Input::Ready { id });
            }
            if !process.booted {
                continue;
            }
            let hung = process.is_hung(now);
            if process.beats.is_some_and(|beats| beats <= now) && !late {
                let every = process.policy.timeout.map(|timeout| timeout / 2);
                process.beats = every.map(|every| now + every);
                if !hung {
                    inputs.push(Input::Beat { id, at: now });
                }
            }
            match process.call {
                Some((since, lasts)) if now.since(since) >= lasts && !hung => process.call = None,
                None if !hung && dice.percent(20) => {
                    let lasts = if !self.calm && dice.percent(15) {
                        tally.count("a call without end");
                        Duration::MAX
                    } else {
                        dice.up_to(Duration::from_secs(1))
                    };
                    process.call = Some((now, lasts));
                }
                _ => {}
            }
            if let (Some((since, _)), true) = (process.call, looks) {
                let alone = dice.percent(20);
                inputs.push(Input::InCall { id, since, alone });
            }
            if !self.calm && dice.percent(2) {
                let reason = dice.pick(&[
                    RecycleReason::Requests(1000),
                    RecycleReason::Memory(1 << 30),
                ]);
                inputs.push(Input::RecycleDue { id, reason });
            }
        }
        inputs.append(&mut exits);
    }

    /// Whether the shell looks at the workers' calls.
    fn looks(&self) -> bool {
        let mut all = self.law.processes.iter();
        all.any(|process| process.policy.request_timeout.is_some())
    }

    fn perform(&mut self, action: &Action, inputs: &mut Vec<Input>) {
        match *action {
            Action::Ask(request) => inputs.push(match request {
                Request::Spawn { id, generation, .. } => self.fork(id, generation),
                Request::LoadConfig => self.load(),
                Request::Reexec => self.reexec(),
            }),
            Action::Signal { pid, order, .. } => self.signal(pid, order),
            Action::StopSuccessor { order, .. } => self.stop_successor(order),
            Action::Supersede {
                generation: dropped,
            }
            | Action::CommitReload { dropped, .. }
            | Action::RevertReload { dropped, .. } => {
                let dropped = self.generations.remove(&dropped);
                require(dropped.is_some(), "a generation is dropped once");
            }
            _ => {}
        }
    }

    fn load(&mut self) -> Input {
        if !self.calm && self.dice.percent(15) {
            self.tally.count("settings that cannot be read");
            return Input::LoadFailed;
        }
        let policies = self.dice.policies(self.law.groups.len());
        if !self.law.has_room_for(&policies) {
            self.tally.count("settings for which there is no room");
            return Input::LoadFailed;
        }
        let supervised = number(&policies, &mut self.last_generation);
        for it in &supervised {
            let good = self.calm || self.dice.percent(60);
            if !good {
                self.tally.count("settings that are no good");
            }
            let policy = it.policy;
            self.generations
                .insert(it.generation, Settings { policy, good });
        }
        if self.law.groups.iter().any(|group| group.trial.is_some()) {
            self.tally.count("settings that follow those on trial");
        }
        Input::Loaded(supervised)
    }

    /// Without faults, all workers are there after a while, a reload replaces them all, and a successor serves.
    pub(super) fn recover(&mut self) {
        self.calm = true;
        self.sick = self.law.now;
        // What is to stay in force is mended.
        for group in &self.law.groups {
            if let Some(settings) = self.generations.get_mut(&group.stays()) {
                settings.good = true;
            }
        }
        for process in &mut self.law.processes {
            process.boots = process.boots.map(|boots| boots.min(self.law.now));
            process.hangs = None;
            process.beats = process.beats.map(|_| self.law.now);
            if std::mem::take(&mut process.unkillable) && process.told == Some(WorkerSignal::Kill) {
                process.dies = Some((self.law.now, Exit::Signal(Signal::SIGKILL)));
            }
        }
        self.upgrade.recover(self.law.now);
        // Then it is known that the other arbiters have gone.
        self.turn(Vec::new());
        self.settle_down(
            "without faults all workers are there again",
            Law::is_complete,
        );
        if self.law.is_proven() {
            self.turn(vec![Command::Reload]);
            self.settle_down(
                "a reload with healthy workers comes to its end",
                Law::is_complete,
            );
        }
        self.turn(vec![Command::Upgrade]);
        self.settle_down(
            "without faults an upgrade comes to a good end",
            Law::is_followed,
        );
    }

    fn settle_down(&mut self, rule: &str, is_settled: impl Fn(&Law) -> bool) {
        let deadline = self.law.now + Duration::from_secs(600);
        while self.is_there() && self.law.is_open() && !is_settled(&self.law) {
            require(self.law.now < deadline, rule);
            self.turn(Vec::new());
        }
    }
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Ask(Request::Spawn { .. }) => "Spawn",
        Action::Signal { order, .. } => match order {
            WorkerSignal::Leave => "Leave",
            WorkerSignal::Quit => "Quit",
            WorkerSignal::Stacks => "Stacks",
            WorkerSignal::Expire => "Expire",
            WorkerSignal::Abort => "Abort",
            WorkerSignal::Kill => "Kill",
            WorkerSignal::Reopen => "Reopen",
            WorkerSignal::ParentDeath => "Orphaned",
            WorkerSignal::ExitDeadline | WorkerSignal::Repeat | WorkerSignal::Uncork => "Curfew",
        },
        Action::Recycle { .. } => "Recycle",
        Action::Ask(Request::LoadConfig) => "LoadConfig",
        Action::Supersede { .. } => "Supersede",
        Action::CommitReload { .. } => "CommitReload",
        Action::RevertReload { .. } => "RevertReload",
        Action::ReopenLogs => "ReopenLogs",
        Action::Ready => "Ready",
        Action::Resized { .. } => "Resized",
        Action::Reaped(_) => "Reaped",
        Action::ForkRetry { .. } => "ForkRetry",
        Action::Ask(Request::Reexec) => "Reexec",
        Action::RefuseUpgrade { .. } => "RefuseUpgrade",
        Action::Upgraded { .. } => "Upgraded",
        Action::StopSuccessor { order, .. } => match order {
            WorkerSignal::Kill => "StopSuccessor by force",
            _ => "StopSuccessor",
        },
        Action::UpgradeFailed { .. } => "UpgradeFailed",
        Action::SuccessorGone { .. } => "SuccessorGone",
        Action::NotifyPredecessor => "NotifyPredecessor",
        Action::Promote => "Promote",
        Action::StopListening => "StopListening",
        Action::Exit(Ok(())) => "Exit",
        Action::Exit(Err(_)) => "Exit with a failure",
    }
}
