//! [`Program`]: the part of a server that no setting can say: callbacks, hooks and switches of its host.

use std::fmt;

use crate::arbiter::{ArbiterEvent, ReexecCommand};
use crate::config::Settings;
use crate::error::Result;
use crate::hooks::Installed;
#[cfg(feature = "systemd")]
use crate::notify::Notifier;
use crate::reactor::ErrorPage;

/// The source of new settings.
pub(super) type ReloadSource = Box<dyn FnMut() -> Result<Settings> + Send>;

/// A listener for the arbiter's events.
type EventListener = Box<dyn FnMut(&ArbiterEvent) + Send>;

/// The part of a server that no setting can say.
pub(super) struct Program {
    pub(super) error_page: ErrorPage,
    pub(super) allow_threads: bool,
    pub(super) signals: bool,
    pub(super) worker_commands: bool,
    pub(super) hooks: Option<Installed>,
    pub(super) observe: Option<EventListener>,
    pub(super) reload: Option<ReloadSource>,
    #[cfg(feature = "systemd")]
    pub(super) notifier: Option<Notifier>,
    pub(super) exec: Option<ReexecCommand>,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            error_page: ErrorPage::default(),
            allow_threads: false,
            signals: true,
            worker_commands: false,
            hooks: None,
            observe: None,
            reload: None,
            #[cfg(feature = "systemd")]
            notifier: None,
            exec: None,
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("allow_threads", &self.allow_threads)
            .field("signals", &self.signals)
            .finish_non_exhaustive()
    }
}
