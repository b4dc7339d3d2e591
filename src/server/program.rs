//! [`Program`]: the part of a server that no setting can say: callbacks, hooks and switches of its host.

use std::fmt;

use crate::arbiter::{ArbiterBuilder, ArbiterEvent, Attachment, ReexecCommand};
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

/// Attaches something to the arbiter that is being described.
type Attach = Box<dyn FnOnce(ArbiterBuilder) -> ArbiterBuilder + Send>;

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
    pub(super) attach: Vec<Attach>,
}

impl Program {
    pub(super) fn attach(&mut self, attachment: impl Attachment + Send + 'static) {
        let attach: Attach = Box::new(|arbiter| arbiter.attach(attachment));
        self.attach.push(attach);
    }
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
            attach: Vec::new(),
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
