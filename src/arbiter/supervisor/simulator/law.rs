//! What the supervisor may do and must do, worked out from what it was told: the other half of each of its
//! invariants.
//!
//! It shares no state with the supervisor; only its words, and its constants.

mod debts;
mod orders;
mod upgrade;

use super::super::*;
use super::process::Process;
use super::{SLOTS, require};
use debts::Debts;
use orders::CALM;
use upgrade::{Answer, UpgradeBooks};

/// What must come of an input, in the same step.
#[derive(Default)]
pub(super) struct Expected {
    /// These process ids are to open their logs.
    reopen: Vec<i32>,
    settle: bool,
    revert: RevertReload,
    /// All that has happened is known.
    may_load: bool,
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
enum RevertReload {
    #[default]
    Never,
    /// One of their workers has failed, perhaps for another reason.
    Perhaps,
    Surely,
}

/// What was in force before the trial.
struct Before {
    generation: u64,
    limits: Limits,
    target: usize,
}

/// When settings are read.
#[derive(Default)]
struct Reading {
    /// Somebody has asked for it.
    is_wanted: bool,
    /// Of how many forks nothing is known yet.
    forking: usize,
}

pub(super) struct Law {
    pub(super) now: MonoTime,
    /// Until when the arbiter was last not running.
    resumed: MonoTime,
    pub(super) processes: Vec<Process>,
    /// What was asked for and not yet forked.
    asked: Vec<Process>,
    pub(super) target: usize,
    limits: Limits,
    generation: u64,
    newest: u64,
    trial: Option<Before>,
    /// Settings that were tried, and are in force no more.
    given_up: Vec<u64>,
    reading: Reading,
    debts: Debts,
    upgrade: UpgradeBooks,
    /// A worker was ready once.
    pub(super) proven: bool,
    /// While it stops: by when the workers must have gone, and whether quickly.
    stop: Option<(MonoTime, bool)>,
    /// It stops because it could not start.
    failed: bool,
    pub(super) over: bool,
    /// When what it has forked would be due in a calm.
    forks: MonoTime,
    /// Who has shown in this step that it lives, though it was thought not to.
    spared: Option<u64>,
    /// How many commands came at once.
    pub(super) commands: usize,
}

impl Law {
    /// What is known at the start of an arbiter that is the first one, or follows another.
    pub(super) fn new(now: MonoTime, limits: Limits, has_predecessor: bool) -> Self {
        Self {
            now,
            resumed: MonoTime::ZERO,
            processes: Vec::new(),
            asked: Vec::new(),
            target: limits.workers,
            limits,
            generation: 1,
            newest: 1,
            trial: None,
            given_up: Vec::new(),
            reading: Reading::default(),
            debts: Debts::default(),
            upgrade: if has_predecessor {
                UpgradeBooks::with_predecessor()
            } else {
                UpgradeBooks::default()
            },
            proven: false,
            stop: None,
            failed: false,
            over: false,
            forks: now,
            spared: None,
            commands: 0,
        }
    }

    /// Nobody is held to the time for which the arbiter did not run.
    pub(super) fn forgives(&mut self, late: Duration) {
        let missed = late + LATE;
        self.resumed = self.now;
        for process in &mut self.processes {
            process.due = process.due.map(|due| due + missed);
            if process.serves() {
                let fresh = process.limits.timeout.map(|it| self.now + it);
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

    /// All that are to be there serve, with the settings that are in force.
    pub(super) fn is_complete(&self) -> bool {
        let staying = || {
            self.processes
                .iter()
                .filter(|process| process.told.is_none())
        };
        let serving = staying().filter(|process| process.ready);
        self.trial.as_ref().is_none_or(|_| self.target == 0)
            && staying().all(|process| process.generation == self.generation)
            && serving.count() >= self.target
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
        let is_fork = matches!(input, Input::Forked { .. } | Input::ForkFailed { .. });
        self.reading.forking -= usize::from(is_fork);
        expected.may_load = is_fork || matches!(input, Input::Wake);
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
                    process.due = process.limits.boot_timeout.map(|timeout| now + timeout);
                }
            }
            Input::ForkFailed { id, .. } => self.asked.retain(|process| process.id != id),
            Input::Ready { id } => {
                self.proven = true;
                let (trial, generation) = (self.trial.is_some(), self.generation);
                if let Some(process) = self.of(id) {
                    process.ready = true;
                    process.since = now;
                    let stays = matches!(process.told, None | Some(WorkerSignal::Stacks));
                    expected.settle = trial && stays && process.generation == generation;
                    process.due = process.due.filter(|_| !stays);
                    process.is_alive(now);
                }
            }
            Input::Beat { id, at } => {
                if let Some(process) = self.of(id).filter(|process| process.ready) {
                    process.is_alive(at);
                }
            }
            Input::Loaded(limits) if self.stop.is_none() => {
                if self.trial.is_some() {
                    self.given_up.push(self.generation);
                } else {
                    self.trial = Some(Before {
                        generation: self.generation,
                        limits: self.limits,
                        target: self.target,
                    });
                }
                self.newest += 1;
                self.generation = self.newest;
                self.limits = limits;
                self.target = limits.workers;
                self.is_asked_for_more(SLOTS);
            }
            Input::Exited {
                pid, exit, ready, ..
            } => {
                expected.buried = Some(pid);
                let at = self.processes.iter().position(|process| process.pid == pid);
                require(at.is_some(), "a process ends once");
                let process = self.processes.remove(at.unwrap_or(0));
                let speaks = match exit {
                    Exit::Code(_) => true,
                    Exit::Signal(signal) => CRASHES.contains(&signal),
                    Exit::Unknown => false,
                };
                let tries = self.trial.is_some() && process.generation == self.generation;
                expected.revert = match tries && !ready {
                    true if self.proven && process.told.is_none() && speaks => RevertReload::Surely,
                    true => RevertReload::Perhaps,
                    false => RevertReload::Never,
                };
                self.proven |= ready;
                if expected.revert == RevertReload::Never {
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
                    process.hopeless = alone || process.limits.calls == 1;
                    let ends =
                        matches!(process.told, Some(WorkerSignal::Abort | WorkerSignal::Kill));
                    let told = process.expired.is_some_and(|(call, _)| call == since);
                    let timeout = process.limits.request_timeout;
                    let late = timeout.is_some_and(|it| now.since(since.max(resumed)) >= it);
                    expected.expire = (late && !told && !ends).then_some(process.pid);
                }
            }
            _ => {}
        }
        expected
    }

    fn is_commanded(&mut self, command: Command, expected: &mut Expected) {
        let change = |target: usize| match command {
            Command::Grow => target + 1,
            Command::Shrink if target > 1 => target - 1,
            Command::Scale(workers) => workers.max(1),
            Command::Quiesce => 0,
            _ => target,
        };
        let (limits, now) = (self.limits, self.now);
        match command {
            Command::Reopen => {
                let lives = |process: &&Process| {
                    !matches!(process.told, Some(WorkerSignal::Abort | WorkerSignal::Kill))
                };
                let living = self.processes.iter().filter(lives);
                expected.reopen = living.map(|process| process.pid).collect();
            }
            Command::Stop | Command::StopNow => {
                let quickly = command == Command::StopNow;
                let grace = if quickly {
                    QUICK_GRACE
                } else {
                    limits.graceful_timeout
                };
                match self.stop {
                    None => self.stops(now + grace, quickly),
                    Some((until, false)) if quickly => self.stops(until.min(now + grace), true),
                    Some(_) => {}
                }
            }
            _ if self.stop.is_some() => {}
            Command::Reload => self.reading.is_wanted = true,
            _ => {
                let before = self.target;
                self.target = change(before).min(SLOTS - 1);
                self.is_asked_for_more(self.target.saturating_sub(before));
                if let Some(trial) = &mut self.trial {
                    trial.target = change(trial.target).min(SLOTS - 1);
                }
            }
        }
    }

    /// Forks that follow from what somebody asked for are not held against it.
    fn is_asked_for_more(&mut self, workers: usize) {
        let forgiven = (0..workers).map(|_| CALM).sum();
        self.forks = self.now.max(self.forks - forgiven);
    }

    fn stops(&mut self, until: MonoTime, quickly: bool) {
        self.stop = Some((until, quickly));
        self.trial = None;
        for process in &mut self.processes {
            if let (Some(WorkerSignal::Leave), Some(due)) = (process.told, &mut process.due) {
                *due = until.min(*due);
            }
        }
    }

    /// Whether an action is lawful, and what it changes.
    pub(super) fn judges(&mut self, action: &Action) {
        require(!self.over, "nothing comes after the end");
        let now = self.now;
        match *action {
            Action::Spawn { id, slot, queue_id } => self.spawns(id, slot, queue_id),
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
            Action::CommitReload => {
                require(self.trial.take().is_some(), "only what is on trial settles");
            }
            Action::RevertReload { .. } => {
                require(self.trial.is_some(), "only what is on trial is given up");
                if let Some(before) = self.trial.take() {
                    self.given_up.push(self.generation);
                    self.generation = before.generation;
                    self.limits = before.limits;
                    self.target = before.target;
                    self.is_asked_for_more(SLOTS);
                }
            }
            Action::Ready => require(self.is_complete(), "ready is who is complete"),
            Action::ForkRetry { retry, .. } => {
                require(!retry.is_zero(), "a failed fork is not tried again at once");
            }
            Action::StopListening if self.stop.is_none() => {
                require(!self.proven, "where workers can boot no failure ends it");
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
                    "nobody is left who was not killed",
                );
            }
            _ => {}
        }
    }

    /// Whether what had to come of an input came.
    pub(super) fn compares(&mut self, expected: &Expected, actions: &[Action]) {
        let settles = actions.contains(&Action::CommitReload);
        require(
            settles == expected.settle,
            "settings settle with their first worker",
        );
        let gives_up = |action: &Action| matches!(action, Action::RevertReload { .. });
        let gives_up = actions.iter().any(gives_up);
        require(
            gives_up || expected.revert != RevertReload::Surely,
            "settings whose workers cannot boot are given up",
        );
        require(
            !gives_up || expected.revert != RevertReload::Never,
            "settings are given up for a worker that cannot boot, or for newer ones",
        );
        let reading = &self.reading;
        let can_load = expected.may_load && self.is_open() && reading.forking == 0;
        let loads = reading.is_wanted && can_load;
        require(
            actions.contains(&Action::LoadConfig) == loads,
            "settings are read if somebody asked for it, when all is known and nobody is being forked",
        );
        self.reading.is_wanted &= !loads;
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
            "all who live open their logs again",
        );
        let buried = actions.iter().find_map(|action| match action {
            Action::Reaped(report) => Some(report.pid),
            _ => None,
        });
        require(
            self.over || buried == expected.buried,
            "who has gone is buried",
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
            "a request past its time is given up once, also of who leaves",
        );
        let is_spawn = |action: &&Action| matches!(action, Action::Spawn { .. });
        require(
            actions.iter().filter(is_spawn).count() >= expected.spawns,
            "who had been ready is replaced at once where others serve",
        );
        require(
            actions.contains(&Action::StopListening) == (expected.was_open && !self.is_open()),
            "who begins to stop listens no more",
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
                "who is overdue is told so",
            );
            require(
                !process.wants_recycling || !process.serves() || process.recycle_due,
                "who has served for long enough is replaced",
            );
            require(
                process.told.is_some() || !self.given_up.contains(&process.generation),
                "who was to try what is given up leaves",
            );
        }
        let dues = self.processes.iter().filter_map(|process| process.due);
        let dues = dues.chain(self.upgrade.due().filter(|_| self.is_open()));
        require(
            dues.min()
                .is_none_or(|due| planned.is_some_and(|planned| planned <= due)),
            "it is to be asked again by the time that somebody is overdue",
        );
        require(
            self.pays_in_time(),
            "who had been ready is replaced within a second",
        );
        require(
            self.processes.iter().all(|process| process.due.is_none())
                || planned.is_some_and(|planned| planned <= self.now + LOOK_UP),
            "while anybody has a deadline the arbiter sees whether it was away",
        );
        if let Some((until, _)) = self.stop {
            require(self.now < until + LAST_GRACE, "a stop ends in time");
        }
        let fresh =
            |p: &&Process| p.told.is_none() && !p.recycle_due && p.generation == self.generation;
        let fresh = self.processes.iter().filter(fresh).count();
        require(
            fresh <= self.target || self.stop.is_some(),
            "no more workers stay than are to be",
        );
    }
}
