//! [`Program`]: the part of a server that no setting can say: callbacks, hooks and switches of its host.

use std::fmt;

use super::sinks::Sinks;
use crate::arbiter::ArbiterBuilder;
use crate::config::Settings;
use crate::error::Result;
use crate::hooks::Installed;
#[cfg(feature = "systemd")]
use crate::notify::Notifier;
use crate::reactor::ErrorPage;

pub(super) type ReloadSource = Box<dyn FnMut() -> Result<Settings> + Send>;

/// Says something of the arbiter that is being described.
type Configure = Box<dyn FnOnce(ArbiterBuilder) -> ArbiterBuilder + Send>;

#[derive(Default)]
pub(super) struct Program {
    pub(super) error_page: ErrorPage,
    pub(super) sinks: Sinks,
    pub(super) hooks: Option<Installed>,
    pub(super) reload: Option<ReloadSource>,
    #[cfg(feature = "systemd")]
    pub(super) notifier: Option<Notifier>,
    /// What the arbiter alone is told, in the order of the calls.
    pub(super) arbiter: Vec<Configure>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}
