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

/// New settings that are being tried.
#[derive(Debug)]
struct Reload {
    ticket: Ticket,
    /// The generations that have not proven good yet.
    tried: BTreeSet<u64>,
}

/// The commands that have not ended.
#[derive(Debug, Default)]
pub(super) struct Answers {
    stops: Vec<Ticket>,
    /// Settings are about to be read for them.
    loads: Vec<Ticket>,
    reloads: Vec<Reload>,
    /// The number of workers that a group is to have.
    scales: Vec<(GroupId, usize, Ticket)>,
    /// One for each command, in order, also for those without a ticket.
    upgrades: Vec<Option<Ticket>>,
}

impl Answers {
    /// A command was given, to an arbiter that stops or does not.
    pub(super) fn expect(&mut self, command: Command, ticket: Option<Ticket>, stops: bool) {
        match (command, ticket) {
            (Command::Stop | Command::StopNow, Some(ticket)) => {
                ticket.take();
                self.stops.push(ticket);
            }
            (Command::ReopenLogs, Some(ticket)) => ticket.finish(),
            (_, Some(ticket)) if stops => ticket.fail("the arbiter stops"),
            (Command::Upgrade, ticket) => self.upgrades.push(ticket),
            (Command::Reload, Some(ticket)) => self.loads.push(ticket),
            (Command::Scale(group, workers), Some(ticket)) => {
                self.supersede_scale(group);
                ticket.take();
                self.scales.push((group, workers.max(1), ticket));
            }
            (Command::Grow | Command::Shrink, _) => self.supersede_scale(GroupId::FIRST),
            (Command::Quiesce, _) => self.scales.drain(..).for_each(superseded),
            _ => {}
        }
    }

    fn supersede_scale(&mut self, group: GroupId) {
        let same = |(of, ..): &(GroupId, usize, Ticket)| *of == group;
        let (old, rest) = std::mem::take(&mut self.scales).into_iter().partition(same);
        self.scales = rest;
        let old: Vec<_> = old;
        old.into_iter().for_each(superseded);
    }

    /// The settings that were asked for are tried, as these generations. They say how many workers there are to be.
    pub(super) fn loaded(&mut self, generations: &[u64]) {
        self.scales.drain(..).for_each(superseded);
        for ticket in self.loads.drain(..) {
            ticket.take();
            let tried = generations.iter().copied().collect();
            self.reloads.push(Reload { ticket, tried });
        }
    }

    /// They cannot be used.
    pub(super) fn load_failed(&mut self, reason: &str) {
        self.loads.drain(..).for_each(|ticket| ticket.fail(reason));
    }

    /// A generation has proven good.
    pub(super) fn committed(&mut self, generation: u64) {
        for reload in &mut self.reloads {
            reload.tried.remove(&generation);
        }
        for ticket in self.take_reloads(BTreeSet::is_empty) {
            ticket.finish();
        }
    }

    /// A generation is given up.
    pub(super) fn given_up(&mut self, generation: u64, reason: &str) {
        for ticket in self.take_reloads(|tried| tried.contains(&generation)) {
            ticket.fail(reason);
        }
    }

    fn take_reloads(&mut self, which: impl Fn(&BTreeSet<u64>) -> bool) -> Vec<Ticket> {
        let reloads = std::mem::take(&mut self.reloads).into_iter();
        let (ended, rest): (Vec<_>, Vec<_>) = reloads.partition(|it| which(&it.tried));
        self.reloads = rest;
        ended.into_iter().map(|reload| reload.ticket).collect()
    }

    /// The new arbiter's process is there.
    pub(super) fn reexecuted(&mut self) {
        self.upgrades.iter().flatten().for_each(Ticket::take);
    }

    /// The new arbiter serves.
    pub(super) fn upgraded(&mut self) {
        self.upgrades.drain(..).flatten().for_each(Ticket::finish);
    }

    /// There is no new arbiter.
    pub(super) fn upgrade_failed(&mut self, reason: &str) {
        let tickets = self.upgrades.drain(..).flatten();
        tickets.for_each(|ticket| ticket.fail(reason));
    }

    /// The last command that asked for an upgrade is refused.
    pub(super) fn upgrade_refused(&mut self, reason: &str) {
        if let Some(ticket) = self.upgrades.pop().flatten() {
            ticket.fail(reason);
        }
    }

    /// The arbiter begins to stop: nothing else comes to its end.
    pub(super) fn stopping(&mut self) {
        let reason = "the arbiter stops";
        self.load_failed(reason);
        self.upgrade_failed(reason);
        let reloads = self.reloads.drain(..).map(|reload| reload.ticket);
        let scales = self.scales.drain(..).map(|(.., ticket)| ticket);
        reloads.chain(scales).for_each(|ticket| ticket.fail(reason));
    }

    /// Answers what is so by now.
    pub(super) fn look(&mut self, supervisor: &Supervisor) {
        if supervisor.target() == 0 {
            for reload in self.reloads.drain(..) {
                let ticket = reload.ticket;
                ticket.fail("there are to be no workers that could serve");
            }
        }
        if self.scales.is_empty() {
            return;
        }
        for (group, workers, ticket) in std::mem::take(&mut self.scales) {
            let target = supervisor.targets().nth(group.0);
            if let Some(target) = target.filter(|target| *target != workers) {
                ticket.fail(format!(
                    "there is room for {target} workers of the group only"
                ));
            } else if supervisor.is_settled(group) {
                ticket.finish();
            } else {
                self.scales.push((group, workers, ticket));
            }
        }
    }

    /// The arbiter has ended.
    pub(super) fn ended(self) {
        self.stops.into_iter().for_each(Ticket::finish);
    }
}

fn superseded((.., ticket): (GroupId, usize, Ticket)) {
    ticket.fail("another number of workers was asked for");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::action::Input;
    use crate::arbiter::completion::{self, Completion, Progress};
    use crate::arbiter::policy::{Policy, Supervised};
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
                ..Policy::new(1)
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
