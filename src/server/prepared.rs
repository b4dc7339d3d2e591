//! [`Prepared`]: settings in the form that the layers take: looked up, opened and checked.
//!
//! No address is bound here, and nothing is started.

use super::bound::Opening;
use crate::arbiter::ArbiterBuilder;
use crate::config::{Settings, WorkerClass};
use crate::error::Result;
use crate::log::AccessLog;
use crate::net::SocketAccess;
use crate::reactor::{self, ErrorPage};
use crate::sys::user::Credentials;
use crate::worker::WorkerTemplate;

/// Settings, and what was made of those that name a user or a file.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) settings: Settings,
    pub(super) credentials: Option<Credentials>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) reactor: reactor::Config,
}

impl Prepared {
    pub(super) fn new(settings: Settings, error_page: &ErrorPage) -> Result<Self> {
        let mut reactor = reactor::Config::from(&settings);
        reactor.error_page = error_page.clone();
        reactor.check()?;
        let (user, group) = (settings.user.as_deref(), settings.group.as_deref());
        let lowered = user.is_some() || group.is_some() || settings.initgroups;
        let credentials = lowered.then(|| Credentials::resolve(user, group, settings.initgroups));
        let access_log = settings.accesslog.as_ref().map(AccessLog::open);
        Ok(Self {
            credentials: credentials.transpose()?,
            access_log: access_log.transpose()?,
            reactor,
            settings,
        })
    }

    /// How addresses are opened.
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

    /// The arbiter's part.
    pub(super) fn arbiter(&self, template: Box<dyn WorkerTemplate>) -> ArbiterBuilder {
        let settings = &self.settings;
        let mut arbiter = ArbiterBuilder::new(template)
            .workers(settings.workers)
            .timeout(settings.timeout)
            .request_timeout(settings.request_timeout)
            .graceful_timeout(settings.graceful_timeout)
            .boot_timeout(settings.boot_timeout)
            .upgrade_retire(settings.upgrade_retire)
            .max_requests(settings.max_requests, settings.max_requests_jitter)
            .max_worker_age(settings.max_worker_age)
            .max_worker_memory(settings.max_worker_memory);
        if let Some(path) = &settings.pidfile {
            arbiter = arbiter.pidfile(path);
        }
        if let Some(name) = settings.proc_name.as_ref().or(settings.wsgi_app.as_ref()) {
            arbiter = arbiter.name(name);
        }
        arbiter
    }
}
