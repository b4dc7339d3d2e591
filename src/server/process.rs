//! [`Server::prepare_process`]: the steps of Gunicorn between its settings and its arbiter, for a program's `main`.

use std::env;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

use super::{Server, ServerBuilder};
use crate::arbiter::{ReexecCommand, is_successor};
use crate::config::Settings;
use crate::error::{Error, Result};
#[cfg(feature = "tracing")]
use crate::log::ErrorLog;
use crate::sys::daemon::daemonize;
#[cfg(feature = "tracing")]
use crate::trace;

impl Server {
    /// Reads settings, has this process follow them as Gunicorn's does, and gives a builder that follows them. To be
    /// called once, early in `main`: a [`Command`](crate::cli::Command) does it in its `server` method.
    ///
    /// The process changes to the folder `chdir`, becomes a daemon if `daemon` says so, and takes `umask`. Its soft limit
    /// of descriptors (`RLIMIT_NOFILE`) is raised to what `worker_connections` may need, as far as the hard limit allows.
    /// With the feature `tracing` an [`ErrorLog`] for `errorlog` and `loglevel` is installed, unless the process has a
    /// subscriber. With the feature `systemd` the server [reports](ServerBuilder::systemd) to it.
    ///
    /// A reload calls `read` again. An upgrade executes the program again as it was called, from the folder of its
    /// start.
    ///
    /// # Errors
    ///
    /// - Those of `read`.
    /// - A folder or a log that cannot be opened.
    /// - A process with threads that is to become a daemon.
    /// - An inherited socket that cannot be used.
    pub fn prepare_process(
        mut read: impl FnMut() -> Result<Settings> + Send + 'static,
    ) -> Result<ServerBuilder> {
        // From the folder of the start, in an environment that no configuration file has changed.
        let exec = ReexecCommand::current();
        let settings = read()?;
        if let Some(folder) = &settings.chdir {
            env::set_current_dir(folder).map_err(|error| {
                let folder = folder.display();
                let error = Error::io(format_args!("cannot change to the folder {folder}"), error);
                settings.blame(&["chdir"], error)
            })?;
        }
        if settings.daemon && !is_successor() {
            if env::var_os("NOTIFY_SOCKET").is_some() {
                crate::trace::warning!(
                    "a service manager waits for this process (NOTIFY_SOCKET), which now goes into the background: \
                     leave --daemon out"
                );
            }
            daemonize(settings.enable_stdio_inheritance)?;
        }
        if let Some(mask) = settings.umask {
            umask(Mode::from_bits_truncate(mask));
        }
        raise_descriptor_limit(settings.worker_connections);
        #[cfg(feature = "tracing")]
        if !trace::is_heard() {
            ErrorLog::from_settings(&settings)?.install()?;
        }
        let builder = Self::from_settings(&settings)?.exec(exec).reload_from(read);
        #[cfg(feature = "systemd")]
        let builder = builder.systemd(true);
        Ok(builder)
    }
}

/// Raises the soft limit of descriptors to what a worker's connections and their files may need. The usual soft limit of
/// 1024 is for programs that use `select(2)`.
fn raise_descriptor_limit(connections: usize) {
    let wanted = (connections as u64).saturating_mul(2).saturating_add(256);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        if soft < wanted.min(hard) {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
        }
    }
}
