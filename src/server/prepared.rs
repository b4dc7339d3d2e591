//! [`Prepared`]: settings in the form that the layers take: looked up, opened and checked.
//!
//! No address is bound here, and nothing is started.

use std::path::PathBuf;

use super::bound::Opening;
use super::logs::AccessLogs;
use super::sinks::Sinks;
#[cfg(all(feature = "cli", feature = "wsgi"))]
use super::{bound, logs};
use crate::config::{Settings, WorkerClass};
use crate::error::Result;
use crate::net::SocketAccess;
use crate::reactor::{self, ErrorPage};
use crate::sys::user::Credentials;
use crate::trace;

/// Settings, and what was made of those that name a user or a file.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) settings: Settings,
    pub(super) credentials: Option<Credentials>,
    pub(super) access_logs: AccessLogs,
    pub(super) reactor: reactor::Config,
}

impl Prepared {
    pub(super) fn new(settings: Settings, error_page: &ErrorPage, sinks: &Sinks) -> Result<Self> {
        let (mut reactor, credentials) = look_up(&settings, error_page)?;
        let mut access_logs = AccessLogs::open(&settings)?;
        access_logs.sinks.extend(sinks.make());
        reactor.recorded_fields = std::mem::take(&mut access_logs.fields);
        Ok(Self {
            settings,
            credentials,
            access_logs,
            reactor,
        })
    }

    pub(super) fn opening(&self) -> Opening {
        let credentials = self.credentials.as_ref();
        Opening {
            backlog: self.settings.backlog,
            access: SocketAccess {
                mode: 0o777 & !self.settings.umask.unwrap_or(0),
                owner: credentials.map(|workers| (workers.uid(), workers.gid())),
            },
            reuse_port: self.settings.reuse_port,
        }
    }

    /// The kind of worker, once `threads` is taken into account.
    pub(super) fn class(&self) -> WorkerClass {
        if self.settings.threads > 1 {
            WorkerClass::Gthread
        } else {
            self.settings.worker_class
        }
    }

    /// The folder to which workers write what their applications count, if they do: `prometheus_client` has no other way
    /// to be told of it than this variable.
    pub(super) fn metrics_folder(&self) -> Option<PathBuf> {
        let mut told = self.settings.raw_env.iter().rev();
        let told = told.find(|(name, _)| name == METRICS_FOLDER);
        let inherited = || std::env::var_os(METRICS_FOLDER);
        let folder = told.map(|(_, value)| value.clone()).or_else(inherited)?;
        // An empty path has no absolute form.
        std::path::absolute(folder).ok()
    }
}

/// Where `prometheus_client` has the files of its mode for several processes.
const METRICS_FOLDER: &str = "PROMETHEUS_MULTIPROC_DIR";

/// What is made of settings without opening anything but certificates. Their notices are logged.
fn look_up(
    settings: &Settings,
    error_page: &ErrorPage,
) -> Result<(reactor::Config, Option<Credentials>)> {
    for notice in settings.notices() {
        trace::warning!("{notice}");
    }
    let mut reactor = reactor::Config {
        settings: settings.clone(),
        error_page: error_page.clone(),
        ..reactor::Config::default()
    };
    reactor.check()?;
    reactor.load_tls()?;
    let (user, group) = (settings.user.as_deref(), settings.group.as_deref());
    let lowered = user.is_some() || group.is_some() || settings.initgroups;
    let credentials = lowered.then(|| Credentials::resolve(user, group, settings.initgroups));
    let blame_user = |error| settings.blame(&["user", "group", "initgroups"], error);
    let credentials = credentials.transpose().map_err(blame_user)?;
    Ok((reactor, credentials))
}

/// Checks what a start would find wrong with settings before it opens a log or a socket. Their notices are logged.
///
/// # Errors
///
/// Those of a start.
#[cfg(all(feature = "cli", feature = "wsgi"))]
pub(crate) fn check(settings: &Settings) -> Result<()> {
    look_up(settings, &ErrorPage::default())?;
    bound::addresses(settings)?;
    logs::check(settings)
}

#[cfg(test)]
mod tests {
    use super::super::bound::Bound;
    use super::*;
    use crate::config::{Origin, Setting, SettingsSource};
    use crate::net::Listeners;

    /// The sentence of a start with this value from that origin.
    fn refusal(name: &str, value: &str, origin: Origin) -> String {
        let setting = Setting::named(name).unwrap();
        let source = SettingsSource::new().text(setting, [value], origin);
        let settings = Settings::load([&source]).unwrap();
        #[cfg(feature = "tracing")]
        if let Err(error) = crate::log::ErrorLog::from_settings(&settings) {
            return error.to_string();
        }
        let prepared = Prepared::new(settings, &ErrorPage::default(), &Sinks::default());
        let opened = prepared.and_then(|it| {
            Bound::open(&Listeners::default(), &it.settings, it.opening()).map(drop)
        });
        opened.unwrap_err().to_string()
    }

    #[test]
    fn an_error_of_the_start_names_the_origin_of_the_value() {
        let flag = |flag: &str| Origin::Flag(flag.to_owned());
        let file = Origin::File {
            path: "shop.conf".into(),
            line: Some(3),
        };
        let variable = Origin::Environment("OXICORN_GROUP".to_owned());
        assert_eq!(
            refusal("user", "nobody2", flag("-u/--user")),
            "user (-u/--user): there is no user \"nobody2\""
        );
        assert_eq!(
            refusal("group", "nogroup2", variable),
            "group (OXICORN_GROUP): there is no group \"nogroup2\""
        );
        let address = refusal("bind", "host:x", file);
        assert!(
            address.starts_with("bind (shop.conf:3): invalid bind address"),
            "{address}"
        );
        let access = refusal("accesslog", "/nowhere/a.log", Origin::Program);
        assert!(
            access.starts_with("accesslog (program): cannot open the access log"),
            "{access}"
        );
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn an_error_log_that_cannot_be_had_names_the_origin() {
        let flag = Origin::Flag("--error-logfile".to_owned());
        let path = refusal("errorlog", "/nowhere/e.log", flag);
        assert!(
            path.starts_with("errorlog (--error-logfile): cannot open"),
            "{path}"
        );
    }
}
