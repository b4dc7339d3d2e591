//! New settings: read, tried, and kept or given up.
//!
//! The supervisor says when, and which generation is dropped. Settings that cannot be used change nothing, those on
//! trial included.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::loading::preload;
use super::{Generation, Identity, Input, Shell};
use crate::arbiter::builder::check;
use crate::arbiter::event::ArbiterEvent;
use crate::error::{Error, Result};
use crate::trace::{error, info, warning};

impl Shell {
    /// Reads the settings again. What is in force stays where that fails.
    pub(super) fn load(&mut self) -> Input {
        self.tell(&ArbiterEvent::Reloading);
        self.show_status(true);
        match self.read_settings() {
            Ok((groups, identity)) => {
                let templates = groups.iter().map(|group| &group.template);
                if templates.into_iter().any(|it| it.borrow().is_preloaded()) {
                    warning!(
                        "The application was loaded before the workers were forked, and is not loaded again"
                    );
                }
                let supervised = self.generations.add(groups);
                self.identities.add(supervised[0].generation, identity);
                self.show_title();
                let numbers: Vec<u64> = supervised.iter().map(|it| it.generation).collect();
                self.answers.loaded(&numbers);
                let listeners = self.generations.listeners();
                self.tell(&ArbiterEvent::Reloaded { listeners });
                Input::Loaded(supervised)
            }
            Err(error) => {
                self.show_status(false);
                let reason = error.to_string();
                self.answers.load_failed(&reason);
                self.log_reload_failure(reason);
                Input::LoadFailed
            }
        }
    }

    /// What the settings say now, if it can be used.
    fn read_settings(&mut self) -> Result<(Vec<Generation>, Identity)> {
        let Some(source) = &mut self.options.reload else {
            return Ok((self.generations.describe_again(), self.identities.current()));
        };
        let builder = catch_unwind(AssertUnwindSafe(source))
            .unwrap_or_else(|panic| Err(Error::panicked("the source of the settings", &*panic)))?;
        let before: Vec<_> = self.generations.in_force().collect();
        let (groups, identity) = builder.describe(Some(&before));
        let usable = self
            .check(&groups)
            .and_then(|()| {
                let mut templates = groups.iter().map(|group| &group.template);
                templates.try_for_each(|it| preload(it, &self.inbox.signals))
            })
            .and_then(|()| {
                let predecessor = self.lineage.predecessor.as_ref();
                self.identities
                    .claim(identity.pidfile.as_deref(), predecessor)
            });
        match usable {
            Ok(()) => Ok((groups, identity)),
            Err(error) => {
                self.generations.discard(groups);
                Err(error)
            }
        }
    }

    /// Whether there can be such groups, the same ones as before, with slots for old and new workers at the same time.
    fn check(&self, groups: &[Generation]) -> Result<()> {
        check(groups, self.options.slots)?;
        let before = self.generations.in_force().map(|it| &it.name);
        if !before.eq(groups.iter().map(|group| &group.name)) {
            return Err(Error::config(
                "groups: a reload can neither add, remove nor rename a group of workers; an upgrade can",
            ));
        }
        let workers = groups.iter().map(|group| group.policy.workers);
        if self.supervisor.has_room_for(workers) {
            return Ok(());
        }
        Err(Error::config(format!(
            "workers: there is no room for the old and the new workers of all groups in {} slots",
            self.options.slots
        )))
    }

    fn show_title(&mut self) {
        self.identities
            .show_arbiter(self.lineage.predecessor.is_some());
    }

    fn drop_generation(&mut self, number: u64) {
        self.generations.drop(number);
        self.identities.drop(number);
    }

    pub(super) fn supersede(&mut self, generation: u64) {
        info!("What was being tried is given up for still newer settings");
        self.drop_generation(generation);
        self.answers
            .given_up(generation, "still newer settings have taken their place");
    }

    pub(super) fn commit_reload(&mut self, proven: u64, dropped: u64) {
        self.drop_generation(dropped);
        self.answers.committed(proven);
        self.children.scoreboard.counters().count_reload(true);
        info!("The new workers can serve: the old ones leave");
    }

    pub(super) fn revert_reload(&mut self, dropped: u64, reason: String) {
        self.drop_generation(dropped);
        self.show_title();
        self.answers.given_up(dropped, &reason);
        self.log_reload_failure(reason);
    }

    fn log_reload_failure(&mut self, reason: String) {
        self.children.scoreboard.counters().count_reload(false);
        error!("Reload failed, and the workers that there are go on: {reason}");
        self.tell(&ArbiterEvent::ReloadFailed { reason });
    }
}
