//! [`Answers`]: what commands wait for, and when they are answered.
//!
//! It follows what the supervisor wants done, and decides nothing.

use std::collections::BTreeSet;

use crate::arbiter::command::Command;
use crate::arbiter::completion::Ticket;
use crate::arbiter::policy::GroupId;
use crate::arbiter::supervisor::Supervisor;

/// A command, with a ticket if a thread waits for its end: a signal has none.
pub(super) type Commanded = (Command, Option<Ticket>);

/// What a command waits for.
#[derive(Debug)]
enum Awaited {
    Stop,
    /// New settings, which are about to be read.
    Load,
    /// The first ready worker of each of these generations.
    Trial(BTreeSet<u64>),
    /// That number of workers in that group.
    Scale(GroupId, usize),
    /// The first ready worker of the next arbiter.
    Upgrade,
}

/// The commands that have not ended, in order. A ticket is missing where a signal has asked for an upgrade: of those the
/// last one is refused.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<(Awaited, Option<Ticket>)>);

impl Answers {
    /// A command was given, to an arbiter that stops or does not.
    pub(super) fn expect(&mut self, command: Command, ticket: Option<Ticket>, stops: bool) {
        match command {
            Command::Grow | Command::Shrink => self.supersede_scales(|of| of == GroupId::FIRST),
            Command::Scale(group, _) => self.supersede_scales(|of| of == group),
            Command::Quiesce => self.supersede_scales(|_| true),
            _ => {}
        }
        let awaited = match command {
            Command::Stop | Command::StopNow => Awaited::Stop,
            Command::ReopenLogs => return ticket.into_iter().for_each(Ticket::finish),
            _ if stops => return fail(ticket, "the arbiter stops"),
            Command::Upgrade => Awaited::Upgrade,
            Command::Reload => Awaited::Load,
            Command::Scale(group, workers) => Awaited::Scale(group, workers.max(1)),
            Command::Grow | Command::Shrink | Command::Quiesce => return,
        };
        if matches!(awaited, Awaited::Stop | Awaited::Scale(..)) {
            ticket.iter().for_each(Ticket::take);
        }
        if ticket.is_some() || matches!(awaited, Awaited::Upgrade) {
            self.0.push((awaited, ticket));
        }
    }

    fn supersede_scales(&mut self, which: impl Fn(GroupId) -> bool) {
        let reason = "another number of workers was asked for";
        self.fail(
            |it| matches!(it, Awaited::Scale(of, _) if which(*of)),
            reason,
        );
    }

    /// The settings that were asked for are tried, as these generations. They say how many workers there are to be.
    pub(super) fn loaded(&mut self, generations: &[u64]) {
        self.supersede_scales(|_| true);
        for (awaited, ticket) in &mut self.0 {
            if matches!(awaited, Awaited::Load) {
                ticket.iter().for_each(Ticket::take);
                *awaited = Awaited::Trial(generations.iter().copied().collect());
            }
        }
    }

    pub(super) fn load_failed(&mut self, reason: &str) {
        self.fail(|it| matches!(it, Awaited::Load), reason);
    }

    pub(super) fn committed(&mut self, generation: u64) {
        for (awaited, _) in &mut self.0 {
            if let Awaited::Trial(tried) = awaited {
                tried.remove(&generation);
            }
        }
        self.finish(|it| matches!(it, Awaited::Trial(tried) if tried.is_empty()));
    }

    pub(super) fn given_up(&mut self, generation: u64, reason: &str) {
        self.fail(
            |it| matches!(it, Awaited::Trial(tried) if tried.contains(&generation)),
            reason,
        );
    }

    pub(super) fn reexecuted(&mut self) {
        let upgrades = self.0.iter().filter(|(it, _)| is_upgrade(it));
        upgrades
            .filter_map(|(_, ticket)| ticket.as_ref())
            .for_each(Ticket::take);
    }

    pub(super) fn upgraded(&mut self) {
        self.finish(is_upgrade);
    }

    pub(super) fn upgrade_failed(&mut self, reason: &str) {
        self.fail(is_upgrade, reason);
    }

    /// The last command that asked for an upgrade is refused.
    pub(super) fn upgrade_refused(&mut self, reason: &str) {
        if let Some(last) = self.0.iter().rposition(|(it, _)| is_upgrade(it)) {
            fail(self.0.remove(last).1, reason);
        }
    }

    /// The arbiter begins to stop: nothing else comes to its end.
    pub(super) fn stopping(&mut self) {
        self.fail(|it| !matches!(it, Awaited::Stop), "the arbiter stops");
    }

    /// Answers the commands that have come to their end by now, and those that cannot any more.
    pub(super) fn look(&mut self, supervisor: &Supervisor) {
        if supervisor.target() == 0 {
            let reason = "there are to be no workers that could serve";
            self.fail(|it| matches!(it, Awaited::Trial(_)), reason);
        }
        for (group, target) in supervisor.targets().enumerate() {
            let group = GroupId(group);
            let reason = format!("there is room for {target} workers of the group only");
            self.fail(
                |it| matches!(it, Awaited::Scale(of, to) if *of == group && *to != target),
                &reason,
            );
            if supervisor.is_settled(group) {
                self.finish(|it| matches!(it, Awaited::Scale(of, _) if *of == group));
            }
        }
    }

    pub(super) fn ended(mut self) {
        self.finish(|it| matches!(it, Awaited::Stop));
    }

    fn finish(&mut self, which: impl Fn(&Awaited) -> bool) {
        self.take(which).for_each(Ticket::finish);
    }

    fn fail(&mut self, which: impl Fn(&Awaited) -> bool, reason: &str) {
        self.take(which).for_each(|ticket| ticket.fail(reason));
    }

    fn take(&mut self, which: impl Fn(&Awaited) -> bool) -> impl Iterator<Item = Ticket> {
        let all = std::mem::take(&mut self.0).into_iter();
        let (taken, rest): (Vec<_>, _) = all.partition(|(awaited, _)| which(awaited));
        self.0 = rest;
        taken.into_iter().filter_map(|(_, ticket)| ticket)
    }
}

fn is_upgrade(awaited: &Awaited) -> bool {
    matches!(awaited, Awaited::Upgrade)
}

fn fail(ticket: Option<Ticket>, reason: &str) {
    if let Some(ticket) = ticket {
        ticket.fail(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::action::Input;
    use crate::arbiter::completion::{self, Completion, Progress};
    use crate::arbiter::policy::{Policy, Supervised};
    use crate::config::Settings;
    use crate::time::MonoTime;

    /// A supervisor whose only worker serves, and with it what commands wait for.
    struct Scene {
        supervisor: Supervisor,
        answers: Answers,
        policy: Policy,
    }

    impl Scene {
        fn new() -> Self {
            let workers = 1;
            let policy = Policy {
                workers,
                ..Policy::of(&Settings::default(), 1)
            };
            let first = Supervised {
                generation: 1,
                policy,
            };
            let mut scene = Self {
                supervisor: Supervisor::new([first], 8),
                answers: Answers::default(),
                policy,
            };
            scene.step(Input::Wake);
            scene.step(Input::Forked { id: 1, pid: 101 });
            scene.step(Input::Ready { id: 1 });
            scene
        }

        fn step(&mut self, input: Input) {
            let now = MonoTime::ZERO;
            self.supervisor.step(now, input, &mut Vec::new());
        }

        fn command(&mut self, command: Command) -> Completion {
            let (ticket, completion) = completion::pair(&std::sync::Arc::default());
            self.answers.expect(command, Some(ticket), false);
            self.step(Input::Command(command));
            completion
        }

        fn reload(&mut self) -> Completion {
            let completion = self.command(Command::Reload);
            let new = Supervised {
                generation: 2,
                policy: self.policy,
            };
            self.answers.loaded(&[2]);
            self.step(Input::Loaded(vec![new]));
            self.answers.look(&self.supervisor);
            completion
        }
    }

    fn reason(completion: &Completion) -> String {
        match completion.progress() {
            Progress::Failed { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reload_without_any_worker_to_prove_it_has_failed() {
        let mut scene = Scene::new();
        let reload = scene.reload();
        assert_eq!(reload.progress(), Progress::Taken);
        scene.step(Input::Command(Command::Quiesce));
        scene.answers.look(&scene.supervisor);
        assert!(reason(&reload).contains("no workers"));
    }

    #[test]
    fn a_reload_that_sets_another_number_is_no_want_of_room() {
        let mut scene = Scene::new();
        let scale = scene.command(Command::Scale(GroupId::FIRST, 3));
        scene.answers.look(&scene.supervisor);
        assert_eq!(scale.progress(), Progress::Taken);
        scene.reload();
        assert_eq!(reason(&scale), "another number of workers was asked for");
    }
}
