//! What the supervisor may do and must do, worked out from what it was told: the other half of each of its
//! invariants.
//!
//! It shares no state with the supervisor; only its words, and its constants.

mod commands;
mod debts;
mod group;
mod orders;
mod upgrade;

use std::collections::BTreeMap;

use super::super::*;
use super::process::Process;
use super::{SLOTS, require};
use group::{Before, Books};
use upgrade::{Answer, UpgradeBooks};

/// What must come of an input, in the same step.
#[derive(Default)]
pub(super) struct Expected {
    /// These process ids are to open their logs.
    reopen: Vec<i32>,
    /// The generation that is dropped since another one has proven good.
    commit: Option<u64>,
    /// The generations on trial that are given up for newer ones.
    supersede: Vec<u64>,
    revert: Revert,
    load: bool,
    buried: Option<i32>,
    /// Its request is to be given up.
    expire: Option<i32>,
    /// So many are to be forked.
    spawns: usize,
    /// It did not stop yet.
    was_open: bool,
    upgrade: Answer,
}

/// Whether settings on trial are given up for what was before.
#[derive(Default, PartialEq, Eq)]
enum Revert {
    #[default]
    Never,
    /// One of their workers has failed, perhaps for another reason.
    Perhaps,
    Surely,
}

pub(super) struct Law {
    pub(super) now: MonoTime,
    /// Until when the arbiter was last not running.
    resumed: MonoTime,
    pub(super) processes: Vec<Process>,
    /// What was asked for and not yet forked.
    asked: Vec<Process>,
    pub(super) groups: Vec<Books>,
    /// Of which group each generation is.
    generations: BTreeMap<u64, usize>,
    /// Generations that were tried, and are in force no more.
    given_up: Vec<u64>,
    /// Settings are being read.
    reading: bool,
    upgrade: UpgradeBooks,
    /// While it stops: by when the workers must have gone, and whether quickly.
    stop: Option<(MonoTime, bool)>,
    /// It stops because it could not start.
    failed: bool,
    pub(super) over: bool,
    /// The worker that has shown in this step that it lives, though it was thought not to.
    spared: Option<u64>,
    /// How many commands came at once.
    pub(super) commands: usize,
}

impl Law {
    /// What is known at the start of an arbiter that is the first one, or follows another.
    pub(super) fn new(now: MonoTime, groups: &[Supervised], has_predecessor: bool) -> Self {
        let generations = groups.iter().enumerate();
        let groups = generations.clone().map(|(id, it)| Books::new(id, now, *it));
        Self {
            now,
            resumed: MonoTime::ZERO,
            processes: Vec::new(),
            asked: Vec::new(),
            groups: groups.collect(),
            generations: generations.map(|(id, it)| (it.generation, id)).collect(),
            given_up: Vec::new(),
            reading: false,
            upgrade: if has_predecessor {
                UpgradeBooks::with_predecessor()
            } else {
                UpgradeBooks::default()
            },
            stop: None,
            failed: false,
            over: false,
            spared: None,
            commands: 0,
        }
    }

    /// The time for which the arbiter did not run counts against no worker.
    pub(super) fn forgives(&mut self, late: Duration) {
        let missed = late + LATE;
        self.resumed = self.now;
        for process in &mut self.processes {
            process.due = process.due.map(|due| due + missed);
            if process.serves() {
                let fresh = process.policy.timeout.map(|it| self.now + it);
                process.due = process.due.max(fresh);
            }
        }
        if let Some((until, _)) = &mut self.stop {
            *until = *until + missed;
        }
        self.upgrade.forgives(missed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.stop.is_none()
    }

    /// All that are to be there serve, by the policies that are in force.
    pub(super) fn is_complete(&self) -> bool {
        let mut groups = self.groups.iter();
        groups.all(|group| group.is_complete(self.processes.iter()))
    }

    /// Workers of each group were ready once.
    pub(super) fn is_proven(&self) -> bool {
        self.groups.iter().all(|group| group.proven)
    }

    /// How long a stop that is not quick may take.
    fn grace(&self) -> Duration {
        let groups = self.groups.iter();
        let graces = groups.map(|group| group.current.policy.graceful_timeout);
        graces.max().unwrap_or_default()
    }

    /// There is an arbiter that follows, and serves.
    pub(super) fn is_followed(&self) -> bool {
        self.upgrade.is_followed()
    }

    /// The fork of what was asked for.
    pub(super) fn born(&mut self, id: u64, pid: i32) -> &mut Process {
        let asked = self.asked.iter().position(|process| process.id == id);
        require(asked.is_some(), "only what was asked for is forked");
        let mut process = self.asked.remove(asked.unwrap_or(0));
        process.pid = pid;
        self.processes.push(process);
        let last = self.processes.len() - 1;
        &mut self.processes[last]
    }

    fn of(&mut self, id: u64) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.id == id)
    }

    /// What an input changes, and what must come of it.
    pub(super) fn hears(&mut self, input: &Input) -> Expected {
        let mut expected = Expected {
            was_open: self.is_open(),
            upgrade: self.hears_upgrade(input),
            ..Expected::default()
        };
        let now = self.now;
        self.spared = match *input {
            Input::Ready { id } | Input::Beat { id, .. } => self
                .of(id)
                .filter(|process| process.told == Some(WorkerSignal::Stacks))
                .map(|process| process.id),
            _ => None,
        };
        match *input {
            Input::Command(command) => self.is_commanded(command, &mut expected),
            Input::Forked { id, .. } => {
                if let Some(process) = self.of(id) {
                    process.due = process.policy.boot_timeout.map(|timeout| now + timeout);
                }
            }
            Input::ForkFailed { id, .. } => self.asked.retain(|process| process.id != id),
            Input::Ready { id } => {
                let process = self.processes.iter_mut().find(|process| process.id == id);
                if let Some(process) = process {
                    let group = &mut self.groups[process.group];
                    group.proven = true;
                    process.ready = true;
                    process.since = now;
                    let stays = matches!(process.told, None | Some(WorkerSignal::Stacks));
                    let proves = stays && process.generation == group.current.generation;
                    let before = group.trial.as_ref().filter(|_| proves);
                    expected.commit = before.map(|before| before.supervised.generation);
                    process.due = process.due.filter(|_| !stays);
                    process.is_alive(now);
                }
            }
            Input::Beat { id, at } => {
                if let Some(process) = self.of(id).filter(|process| process.ready) {
                    process.is_alive(at);
                }
            }
            Input::Loaded(ref generations) => {
                self.reading = false;
                if self.stop.is_none() {
                    self.are_loaded(generations, &mut expected);
                }
            }
            Input::LoadFailed => self.reading = false,
            Input::Exited {
                pid, exit, ready, ..
            } => {
                expected.buried = Some(pid);
                let at = self.processes.iter().position(|process| process.pid == pid);
                require(at.is_some(), "a process ends once");
                let process = self.processes.remove(at.unwrap_or(0));
                let speaks = matches!(exit, Exit::Code(_)) || exit.is_crash();
                let group = &mut self.groups[process.group];
                let tries = group.trial.is_some() && process.generation == group.current.generation;
                expected.revert = match tries && !ready {
                    true if group.proven && process.told.is_none() && speaks => Revert::Surely,
                    true => Revert::Perhaps,
                    false => Revert::Never,
                };
                group.proven |= ready;
                if expected.revert == Revert::Never {
                    expected.spawns = usize::from(self.owes(&process, ready));
                }
            }
            Input::RecycleDue { id, .. } => {
                if let Some(process) = self.of(id) {
                    process.wants_recycling |= process.may_serve();
                }
            }
            Input::InCall { id, since, alone } => {
                let resumed = self.resumed;
                if let Some(process) = self.of(id) {
                    process.hopeless = alone || process.policy.calls == 1;
                    let ends =
                        matches!(process.told, Some(WorkerSignal::Abort | WorkerSignal::Kill));
                    let told = process.expired.is_some_and(|(call, _)| call == since);
                    let timeout = process.policy.request_timeout;
                    let late = timeout.is_some_and(|it| now.since(since.max(resumed)) >= it);
                    expected.expire = (late && !told && !ends).then_some(process.pid);
                }
            }
            _ => {}
        }
        expected
    }

    /// Whether an action is lawful, and what it changes.
    pub(super) fn judges(&mut self, action: &Action) {
        require(!self.over, "nothing comes after the end");
        let now = self.now;
        match *action {
            Action::Ask(Request::Spawn {
                id,
                slot,
                queue_id,
                generation,
            }) => self.spawns(id, (slot, queue_id), generation),
            Action::Signal {
                pid, order, why, ..
            } => self.signals(pid, order, why),
            Action::Recycle { pid, .. } => {
                let process = self.processes.iter_mut().find(|process| process.pid == pid);
                let lawful = process
                    .as_ref()
                    .is_some_and(|p| p.may_serve() && !p.recycle_due);
                require(
                    lawful,
                    "a worker that serves becomes due for recycling once",
                );
                if let Some(process) = process {
                    process.recycle_due = true;
                }
            }
            Action::CommitReload { proven, dropped } => {
                let known = self.groups.iter().any(|it| it.current.generation == proven);
                require(known, "what has proven good is in force");
                let mut groups = self.groups.iter_mut();
                let trial = groups.find_map(|group| {
                    let drops = |before: &mut Before| before.supervised.generation == dropped;
                    group.trial.take_if(drops)
                });
                require(trial.is_some(), "what a trial has replaced is dropped");
            }
            Action::RevertReload { dropped, .. } => {
                let id = self.generations.get(&dropped).copied().unwrap_or(0);
                let group = &mut self.groups[id];
                let tried = group.current.generation;
                require(
                    group.trial.is_some() && tried == dropped,
                    "only what is on trial is given up",
                );
                if let Some(before) = group.trial.take() {
                    self.given_up.push(tried);
                    group.current = before.supervised;
                    group.target = before.target;
                    group.is_asked_for_more(now, SLOTS);
                }
            }
            Action::Ready => require(
                self.is_complete(),
                "an arbiter is ready when all its groups are complete",
            ),
            Action::ForkRetry { retry, .. } => {
                require(!retry.is_zero(), "a failed fork is not tried again at once");
            }
            Action::StopListening if self.stop.is_none() => {
                require(
                    !self.is_proven(),
                    "where workers can boot no failure ends it",
                );
                self.failed = true;
                self.stops(now + QUICK_GRACE, true);
            }
            Action::Exit(ref end) => {
                self.over = true;
                require(
                    end.is_err() == self.failed,
                    "a failure is the cause of an end, and nothing else's",
                );
                let killed = |process: &Process| process.told == Some(WorkerSignal::Kill);
                require(
                    self.processes.iter().all(killed),
                    "an end leaves only workers that were killed",
                );
            }
            _ => {}
        }
    }

    /// Whether what had to come of an input came.
    pub(super) fn compares(&mut self, expected: &Expected, actions: &[Action]) {
        Self::compares_reloads(expected, actions);
        let reopened = actions.iter().filter_map(|action| match action {
            Action::Signal {
                pid,
                order: WorkerSignal::Reopen,
                ..
            } => Some(*pid),
            _ => None,
        });
        require(
            reopened.eq(expected.reopen.iter().copied()),
            "all workers that live open their logs again",
        );
        let buried = actions.iter().find_map(|action| match action {
            Action::Reaped(report) => Some(report.pid),
            _ => None,
        });
        require(
            self.over || buried == expected.buried,
            "a worker that has gone is reported",
        );
        let expires = actions.iter().find_map(|action| match action {
            Action::Signal {
                pid,
                order: WorkerSignal::Expire,
                ..
            } => Some(*pid),
            _ => None,
        });
        require(
            expires == expected.expire,
            "a request past its time is given up once, also in a worker that leaves",
        );
        let is_spawn = |action: &&Action| matches!(action, Action::Ask(Request::Spawn { .. }));
        require(
            actions.iter().filter(is_spawn).count() >= expected.spawns,
            "a worker that had been ready is replaced at once where others serve",
        );
        require(
            actions.contains(&Action::StopListening) == (expected.was_open && !self.is_open()),
            "an arbiter that begins to stop listens no more",
        );
        self.compares_upgrade(&expected.upgrade, actions);
    }

    /// What holds whenever the shell sleeps.
    pub(super) fn after_turn(&mut self, planned: Option<MonoTime>) {
        if self.over {
            return;
        }
        require(self.asked.is_empty(), "what is asked for is forked");
        for process in &self.processes {
            require(
                process.due.is_none_or(|due| due >= self.now),
                "a worker that is overdue is signalled",
            );
            require(
                !process.wants_recycling || !process.serves() || process.recycle_due,
                "a worker that is due for recycling is replaced",
            );
            require(
                process.told.is_some() || !self.given_up.contains(&process.generation),
                "workers of a generation that is given up leave",
            );
        }
        let dues = self.processes.iter().filter_map(|process| process.due);
        let dues = dues.chain(self.upgrade.due().filter(|_| self.is_open()));
        require(
            dues.min()
                .is_none_or(|due| planned.is_some_and(|planned| planned <= due)),
            "it is to be asked again by the next deadline",
        );
        require(
            self.pays_in_time(),
            "a worker that had been ready is replaced within a second",
        );
        require(
            self.processes.iter().all(|process| process.due.is_none())
                || planned.is_some_and(|planned| planned <= self.now + LOOK_UP),
            "while anybody has a deadline the arbiter sees whether it was away",
        );
        if let Some((until, _)) = self.stop {
            require(self.now < until + LAST_GRACE, "a stop ends in time");
        }
        for group in &self.groups {
            let fresh = self
                .processes
                .iter()
                .filter(|process| group.is_fresh(process));
            require(
                fresh.count() <= group.target || self.stop.is_some(),
                "no more workers stay than are to be",
            );
        }
    }
}
