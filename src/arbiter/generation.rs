//! [`Generation`]: the workers of a group as one reading of the settings describes them; [`Generations`], all of
//! which a worker may still be forked.
//!
//! A generation never changes. The newest one of a group is in force: it is the only one, or it is on trial while the
//! one before it is kept. The supervisor says which one is dropped, by its number.
//!
//! The arbiter never reads from its listeners. It answers for their socket files: its workers only close.
//!
//! ```text
//!   a Unix socket is closed: at a stop, or where new settings lack it
//!     no other process has it ───────▶ its file is removed
//!     a service manager opened it ───▶ its file stays
//!     another arbiter got it as well ▶ DeferredUnlinks ── that one goes first ──▶ its file is removed
//!                                        └──── this one goes first ──▶ its file is the other's
//! ```
//!
//! The other arbiter either has the socket still, or has it in its own [`DeferredUnlinks`]: so the one that goes last
//! removes the file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::mem::take;
use std::rc::Rc;
use std::sync::Arc;

use super::policy::{GroupId, Policy, Supervised};
use crate::net::{Listeners, SocketFile};
use crate::worker::WorkerTemplate;

/// What workers are forked of. A generation that was made by a reload without new settings shares that of the one
/// before.
pub(super) type Template = Rc<RefCell<Box<dyn WorkerTemplate>>>;

/// What all workers of one number have in common. Its socket files are removed when it is dropped, unless it was emptied.
pub(super) struct Generation {
    pub(super) group: GroupId,
    pub(super) name: Arc<str>,
    pub(super) template: Template,
    pub(super) listeners: Listeners,
    pub(super) policy: Policy,
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.listeners.unlink();
    }
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

    /// The number of the newest one.
    pub(super) fn newest(&self) -> u64 {
        self.all.keys().next_back().copied().unwrap_or_default()
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
            listeners: it.listeners.clone(),
            policy: it.policy,
        };
        self.in_force().map(again).collect()
    }

    /// Closes what these have and no generation has.
    pub(super) fn discard(&mut self, generations: Vec<Generation>) {
        let open = self.all_listeners();
        for mut generation in generations {
            self.unlinks
                .close(&take(&mut generation.listeners).without(&open));
        }
    }

    /// Drops one, and closes what no other one listens on.
    pub(super) fn drop(&mut self, number: u64) {
        if let Some(mut generation) = self.all.remove(&number) {
            let open = self.all_listeners();
            self.unlinks
                .close(&take(&mut generation.listeners).without(&open));
        }
    }

    /// Closes all listeners: no worker is forked any more.
    pub(super) fn close(&mut self) {
        for generation in self.all.values_mut() {
            self.unlinks.close(&take(&mut generation.listeners));
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
        self.listeners().iter().all(|it| !it.is_shared())
    }

    /// Another arbiter has got the listeners in force as well.
    pub(super) fn share(&self) {
        self.listeners().iter().for_each(|it| it.set_shared(true));
    }

    /// No other arbiter has any of the listeners, which may have been opened `elsewhere`.
    pub(super) fn become_sole(&mut self) {
        self.all_listeners()
            .iter()
            .for_each(|it| it.set_shared(false));
        self.unlinks.remove(&self.listeners());
    }

    /// Answers for socket files that another arbiter has closed.
    pub(super) fn adopt(&mut self, files: Vec<Arc<SocketFile>>) {
        self.unlinks.0.extend(files);
    }

    /// Keeps the queues of a worker that has gone without being asked to, for the one of its group that is forked in
    /// its place.
    pub(super) fn take_back(&self, group: GroupId, queues: &Listeners) {
        let generations = self.in_force().filter(|it| it.group == group);
        for listener in generations.flat_map(|it| it.listeners.iter()) {
            queues.iter().for_each(|queue| listener.take_back(queue));
        }
    }

    /// Closes the queues that no worker has.
    pub(super) fn close_free_queues(&self) {
        self.listeners()
            .iter()
            .for_each(|it| it.close_free_queues());
    }

    /// In a child the sockets' files are not its to remove.
    pub(super) fn hand_over(&mut self) {
        for generation in self.all.values_mut() {
            drop(take(&mut generation.listeners));
        }
    }
}

fn union<'a>(generations: impl Iterator<Item = &'a Generation>) -> Listeners {
    generations.fold(Listeners::default(), |all, it| all.with(&it.listeners))
}

/// The files of Unix sockets that were closed here while another arbiter had them, or knew of them, too.
#[derive(Debug, Default)]
struct DeferredUnlinks(Vec<Arc<SocketFile>>);

impl DeferredUnlinks {
    /// The other arbiter has gone: only this one answers for these. A name that is in use again stays.
    fn remove(&mut self, in_use: &Listeners) {
        let names: Vec<_> = in_use.iter().filter_map(|one| one.file()).collect();
        for file in self.0.drain(..) {
            if !names.iter().any(|name| name.has_the_name_of(&file)) {
                file.remove();
            }
        }
    }

    fn close(&mut self, listeners: &Listeners) {
        self.0.extend(listeners.shared_files());
        listeners.unlink();
    }
}
