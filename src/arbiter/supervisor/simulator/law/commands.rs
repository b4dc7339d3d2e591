//! What commands and new settings change in the books of [`Law`].

use super::super::super::*;
use super::super::process::Process;
use super::super::{SLOTS, require};
use super::group::{Before, Books};
use super::{Expected, Law, Revert};

impl Law {
    /// How many workers a group can have, so that each has a slot for a replacement.
    fn room(&self, id: usize) -> usize {
        let others = self.groups.iter().filter(|group| group.id != id);
        let others: usize = others.map(Books::needed).sum();
        SLOTS - self.groups.len() - others
    }

    /// Whether there are slots for the workers of these policies, and for those that may come back.
    pub(in super::super) fn has_room_for(&self, policies: &[Policy]) -> bool {
        let groups = self.groups.iter().zip(policies);
        let needed = groups.map(|(group, policy)| group.keeps().max(policy.workers));
        needed.sum::<usize>() <= SLOTS - self.groups.len()
    }

    pub(super) fn are_loaded(&mut self, generations: &[Supervised], expected: &mut Expected) {
        for (group, new) in self.groups.iter_mut().zip(generations) {
            let tried = group.current;
            if group.trial.is_some() {
                self.given_up.push(tried.generation);
                expected.supersede.push(tried.generation);
            } else {
                group.trial = Some(Before {
                    supervised: tried,
                    target: group.target,
                });
            }
            self.generations.insert(new.generation, group.id);
            group.current = *new;
            group.target = new.policy.workers;
            group.is_asked_for_more(self.now, SLOTS);
        }
    }

    pub(super) fn is_commanded(&mut self, command: Command, expected: &mut Expected) {
        let now = self.now;
        match command {
            Command::ReopenLogs => {
                let lives = |process: &&Process| {
                    !matches!(process.told, Some(WorkerSignal::Abort | WorkerSignal::Kill))
                };
                let living = self.processes.iter().filter(lives);
                expected.reopen = living.map(|process| process.pid).collect();
            }
            Command::Stop | Command::StopNow => {
                let quickly = command == Command::StopNow;
                let grace = if quickly { QUICK_GRACE } else { self.grace() };
                match self.stop {
                    None => self.stops(now + grace, quickly),
                    Some((until, false)) if quickly => self.stops(until.min(now + grace), true),
                    Some(_) => {}
                }
            }
            _ if self.stop.is_some() => {}
            Command::Reload => expected.load = !std::mem::replace(&mut self.reading, true),
            Command::Quiesce => {
                (0..self.groups.len()).for_each(|group| self.is_scaled(group, |_| 0));
            }
            Command::Grow => self.is_scaled(0, |target| target + 1),
            Command::Shrink => self.is_scaled(0, |target| target - usize::from(target > 1)),
            Command::Scale(group, workers) => self.is_scaled(group.0, |_| workers.max(1)),
            Command::Upgrade => {}
        }
    }

    fn is_scaled(&mut self, group: usize, change: impl Fn(usize) -> usize) {
        let (now, room) = (self.now, self.room(group));
        let group = &mut self.groups[group];
        let before = group.target;
        group.target = change(before).min(room);
        group.is_asked_for_more(now, group.target.saturating_sub(before));
        if let Some(trial) = &mut group.trial {
            trial.target = change(trial.target).min(room);
        }
    }

    pub(super) fn stops(&mut self, until: MonoTime, quickly: bool) {
        self.stop = Some((until, quickly));
        for group in &mut self.groups {
            group.trial = None;
        }
        for process in &mut self.processes {
            if let (Some(WorkerSignal::Leave), Some(due)) = (process.told, &mut process.due) {
                *due = until.min(*due);
            }
        }
    }

    /// Whether settings are read, tried, kept and given up when they had to be.
    pub(super) fn compares_reloads(expected: &Expected, actions: &[Action]) {
        let committed = actions.iter().find_map(|action| match action {
            Action::CommitReload { dropped, .. } => Some(*dropped),
            _ => None,
        });
        require(
            committed == expected.commit,
            "a generation proves good with its first worker",
        );
        let superseded = actions.iter().filter_map(|action| match action {
            Action::Supersede { generation } => Some(*generation),
            _ => None,
        });
        require(
            superseded.eq(expected.supersede.iter().copied()),
            "what is on trial is dropped for newer settings",
        );
        let gives_up = |action: &&Action| matches!(action, Action::RevertReload { .. });
        let gives_up = actions.iter().filter(gives_up).count();
        require(
            gives_up > 0 || expected.revert != Revert::Surely,
            "settings whose workers cannot boot are given up",
        );
        require(
            gives_up <= usize::from(expected.revert != Revert::Never),
            "settings are given up for a worker of theirs that cannot boot, or for newer ones",
        );
        require(
            actions.contains(&Action::Ask(Request::LoadConfig)) == expected.load,
            "settings are read at once when that is asked for, and once until it is done",
        );
    }
}
