//! What lists of processes show of an arbiter and its workers, where it was given a name.
//!
//! A program that gave none is left as it is.

use super::{Shell, Title};
use crate::trace::debug;

impl<W> Shell<W> {
    /// Shows that this process is the arbiter, as it is called now.
    pub(super) fn set_title(&mut self) {
        let second = if self.predecessor.is_some() { ".2" } else { "" };
        self.show("master", second);
    }

    /// Shows that this process is a worker. Whose it is does not matter: with the arbiter before its own that
    /// arbiter's number would go.
    pub(super) fn set_worker_title(&mut self) {
        self.show("worker", "");
    }

    fn show(&mut self, role: &str, second: &str) {
        let Some(name) = &self.name else {
            self.title = None;
            return;
        };
        let text = format!("oxicorn: {role} [{name}{second}]");
        let title = self.title.get_or_insert_with(Title::keep);
        if let Err(error) = title.show(&text) {
            debug!("{text} is not shown: {error}");
        }
    }
}
