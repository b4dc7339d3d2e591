//! What the templates load in the arbiter's process, before it forks, and the end of that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::rc::Rc;

use super::Shell;
use crate::arbiter::event::ArbiterEvent;
use crate::arbiter::generation::Template;
use crate::error::{Error, Result};
use crate::sys::foreign_fork;
use crate::sys::signal::{self, Signals};
use crate::trace::info;
use crate::worker;

impl Shell {
    /// Has the templates load what is to be shared. A command to stop breaks that off, and the stop follows.
    pub(in crate::arbiter) fn start(&mut self) -> Result<()> {
        // The companion accepts nothing before it is known which arbiter answers.
        self.show_status(false);
        self.tell(&ArbiterEvent::Starting);
        self.close_in_foreign_forks();
        for template in self.templates() {
            match preload(&template, &self.inbox.signals) {
                Err(error) if signal::was_asked_to_leave() => {
                    info!("Loading was broken off: {error}");
                }
                Err(error) => {
                    self.lineage.tell_failure(&error);
                    self.unload();
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    pub(super) fn templates(&self) -> Vec<Template> {
        let generations = self.generations.in_force();
        generations.map(|it| Rc::clone(&it.template)).collect()
    }

    pub(super) fn unload(&self) {
        for template in self.templates() {
            template.borrow_mut().unload();
        }
        foreign_fork::admit();
    }
}

/// Has a template load what is to be shared. What is loaded may take signals for itself: they are the arbiter's again.
pub(super) fn preload(template: &Template, signals: &Signals) -> Result<()> {
    let arbiter = process::id();
    let mut template = template.borrow_mut();
    let loaded = catch_unwind(AssertUnwindSafe(|| template.preload()))
        .unwrap_or_else(|panic| Err(Error::panicked("the worker's preloading", &*panic)));
    if process::id() != arbiter {
        // It would be a second arbiter.
        worker::exit_forked_child(
            &format!("the loading of arbiter {arbiter}"),
            loaded.as_ref().err(),
        );
    }
    signals.reinstall()?;
    loaded
}
