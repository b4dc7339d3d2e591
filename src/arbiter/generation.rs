//! [`Generation`]: the workers of a group as one reading of the settings describes them; [`Generations`], all of
//! which a worker may still be forked.
//!
//! A generation never changes. The newest one of a group is in force: it is the only one, or it is on trial while the
//! one before it is kept. The supervisor says which one is dropped, by its number.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::listeners::{ArbiterListeners, DeferredUnlinks};
use super::policy::{GroupId, Policy, Supervised};
use crate::net::{Listeners, SocketFile};
use crate::worker::WorkerTemplate;

/// What workers are forked of. A generation that was made by a reload without new settings shares that of the one
/// before.
pub(super) type Template = Rc<RefCell<Box<dyn WorkerTemplate>>>;

/// What all workers of one number have in common.
pub(super) struct Generation {
    pub(super) group: GroupId,
    /// The group's name.
    pub(super) name: Arc<str>,
    pub(super) template: Template,
    pub(super) listeners: ArbiterListeners,
    pub(super) policy: Policy,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("group", &self.group)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// The generations that are in force, and those that may come back.
#[derive(Debug, Default)]
pub(super) struct Generations {
    /// By their numbers: no other one of the arbiter has one's number.
    all: BTreeMap<u64, Generation>,
    last: u64,
    /// What is left of listeners that are closed.
    unlinks: DeferredUnlinks,
}

impl Generations {
    /// One new generation for each group, in the order of the groups: they are in force from now on.
    pub(super) fn add(&mut self, groups: Vec<Generation>) -> Vec<Supervised> {
        let added = groups.into_iter().map(|generation| {
            let policy = generation.policy;
            self.last += 1;
            self.all.insert(self.last, generation);
            Supervised {
                generation: self.last,
                policy,
            }
        });
        added.collect()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Generation> {
        self.all.get(&number)
    }

    /// The newest generation of each group, in the order of the groups.
    pub(super) fn in_force(&self) -> impl Iterator<Item = &Generation> {
        let newest: BTreeMap<GroupId, &Generation> =
            self.all.values().map(|it| (it.group, it)).collect();
        newest.into_values()
    }

    /// The same ones as they are, for a reload that reads nothing new.
    pub(super) fn describe_again(&self) -> Vec<Generation> {
        let again = |it: &Generation| Generation {
            group: it.group,
            name: Arc::clone(&it.name),
            template: Rc::clone(&it.template),
            listeners: ArbiterListeners::new(it.listeners.listeners()),
            policy: it.policy,
        };
        self.in_force().map(again).collect()
    }

    /// Closes what these have and no generation has.
    pub(super) fn discard(&mut self, generations: Vec<Generation>) {
        let open = self.all_listeners();
        for mut generation in generations {
            generation.listeners.close_but(&open, &mut self.unlinks);
        }
    }

    /// Drops one, and closes what no other one listens on.
    pub(super) fn drop(&mut self, number: u64) {
        if let Some(mut generation) = self.all.remove(&number) {
            let open = self.all_listeners();
            generation.listeners.close_but(&open, &mut self.unlinks);
        }
    }

    /// Closes all listeners: no worker is forked any more.
    pub(super) fn close(&mut self) {
        for generation in self.all.values_mut() {
            generation.listeners.close(&mut self.unlinks);
        }
    }

    /// What is listened on by the generations in force.
    pub(super) fn listeners(&self) -> Listeners {
        union(self.in_force())
    }

    /// The same with the generations that may come back.
    pub(super) fn all_listeners(&self) -> Listeners {
        union(self.all.values())
    }

    /// Whether no other arbiter has the listeners: then workers that leave may close them for all.
    pub(super) fn are_ours_alone(&self) -> bool {
        self.in_force().all(|it| it.listeners.are_ours_alone())
    }

    /// Another arbiter has got the listeners in force as well.
    pub(super) fn share(&self) {
        self.in_force().for_each(|it| it.listeners.set_shared(true));
    }

    /// No other arbiter has any of the listeners, which may have been opened `elsewhere`.
    pub(super) fn become_sole(&mut self) {
        for generation in self.all.values() {
            generation.listeners.set_shared(false);
        }
        self.unlinks.remove(&self.listeners());
    }

    /// Answers for socket files that another arbiter has closed.
    pub(super) fn adopt(&mut self, files: Vec<Arc<SocketFile>>) {
        self.unlinks.0.extend(files);
    }

    /// Keeps the queues of a worker that has gone without being asked to, for the one of its group that is forked in
    /// its place.
    pub(super) fn take_back(&self, group: GroupId, queues: &Listeners) {
        for generation in self.in_force().filter(|it| it.group == group) {
            generation.listeners.take_back(queues);
        }
    }

    /// Closes the queues that no worker has.
    pub(super) fn close_free_queues(&self) {
        self.in_force()
            .for_each(|it| it.listeners.close_free_queues());
    }

    /// In a child the sockets' files are not its to remove.
    pub(super) fn hand_over(&mut self) {
        for generation in self.all.values_mut() {
            drop(generation.listeners.hand_over());
        }
    }
}

fn union<'a>(generations: impl Iterator<Item = &'a Generation>) -> Listeners {
    generations.fold(Listeners::default(), |all, it| {
        all.with(&it.listeners.listeners())
    })
}
