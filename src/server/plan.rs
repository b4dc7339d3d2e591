//! [`Plan`]: what the layers are told, as settings and a builder say it.
//!
//! Nothing is built here, and no address is bound.

use std::path::PathBuf;
use std::time::Duration;

use super::bound::Opening;
use crate::arbiter::{ArbiterEvent, ReexecCommand};
use crate::config::{HeaderMap, Settings, WorkerClass};
use crate::error::Result;
use crate::h1;
use crate::hooks::Installed;
use crate::log::AccessLog;
use crate::net::SocketAccess;
#[cfg(feature = "systemd")]
use crate::notify::Notifier;
use crate::reactor::{self, ErrorPage};
use crate::sys::user::Credentials;

/// What the layers are told.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, as in the settings"
)]
pub(super) struct Plan {
    pub(super) workers: usize,
    pub(super) threads: usize,
    pub(super) class: WorkerClass,
    pub(super) backlog: u32,
    pub(super) reuse_port: bool,
    pub(super) timeout: Duration,
    pub(super) graceful_timeout: Duration,
    pub(super) boot_timeout: Duration,
    pub(super) upgrade_retire: bool,
    /// The same as the program itself has said it, and no settings.
    pub(super) retires: Option<bool>,
    pub(super) max_requests: usize,
    pub(super) max_requests_jitter: usize,
    pub(super) max_worker_age: Duration,
    pub(super) max_worker_memory: usize,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) name: Option<String>,
    pub(super) credentials: Option<Credentials>,
    pub(super) umask: u32,
    pub(super) access_log: Option<AccessLog>,
    pub(super) keepalive_busy: Duration,
    pub(super) reactor: reactor::Config,
    pub(super) allow_threads: bool,
    pub(super) signals: bool,
    pub(super) hooks: Option<Installed>,
    pub(super) observe: Option<EventListener>,
    pub(super) reload: Option<Source>,
    #[cfg(feature = "systemd")]
    pub(super) notifier: Option<Notifier>,
    pub(super) exec: Option<ReexecCommand>,
}

/// Where new settings come from.
pub(super) struct Source(pub(super) Box<dyn FnMut() -> Result<Settings>>);

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// A callback, which has no text of its own.
pub(super) struct EventListener(pub(super) Box<dyn FnMut(&ArbiterEvent)>);

impl std::fmt::Debug for EventListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventListener")
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl Plan {
    /// What `settings` say and nothing need be opened or looked up for.
    fn of(settings: &Settings) -> Self {
        Self {
            workers: settings.workers,
            threads: settings.threads,
            class: settings.worker_class,
            backlog: settings.backlog,
            reuse_port: settings.reuse_port,
            timeout: settings.timeout,
            graceful_timeout: settings.graceful_timeout,
            boot_timeout: settings.boot_timeout,
            upgrade_retire: settings.upgrade_retire,
            retires: None,
            max_requests: settings.max_requests,
            max_requests_jitter: settings.max_requests_jitter,
            max_worker_age: settings.max_worker_age,
            max_worker_memory: settings.max_worker_memory,
            pidfile: settings.pidfile.clone(),
            name: settings
                .proc_name
                .clone()
                .or_else(|| settings.wsgi_app.clone()),
            credentials: None,
            umask: settings.umask.unwrap_or(0),
            access_log: None,
            keepalive_busy: settings.keepalive_busy,
            reactor: reactor_config(settings),
            allow_threads: false,
            signals: true,
            hooks: None,
            observe: None,
            reload: None,
            #[cfg(feature = "systemd")]
            notifier: None,
            exec: None,
        }
    }

    /// Everything that `settings` say but the addresses.
    pub(super) fn following(settings: &Settings) -> Result<Self> {
        let mut plan = Self::of(settings);
        if settings.user.is_some() || settings.group.is_some() || settings.initgroups {
            let (user, group) = (settings.user.as_deref(), settings.group.as_deref());
            plan.credentials = Some(Credentials::resolve(user, group, settings.initgroups)?);
        }
        if let Some(destination) = &settings.accesslog {
            plan.access_log = Some(AccessLog::open(destination)?);
        }
        Ok(plan)
    }

    /// How addresses are opened.
    pub(super) fn opening(&self) -> Opening {
        Opening {
            backlog: self.backlog,
            access: self.access(),
            reuse_port: self.reuse_port,
        }
    }

    /// Who may connect to Unix sockets.
    fn access(&self) -> SocketAccess {
        let credentials = self.credentials.as_ref();
        SocketAccess {
            mode: 0o777 & !self.umask,
            owner: credentials.map(|who| (who.uid(), who.gid())),
        }
    }
}

/// What the settings say of a worker's reactor: all that it is told.
fn reactor_config(settings: &Settings) -> reactor::Config {
    reactor::Config {
        http: http(settings),
        worker_connections: settings.worker_connections,
        keepalive: settings.keepalive,
        head_timeout: settings.head_timeout,
        body_timeout: settings.body_timeout,
        body_rate: settings.body_rate,
        body_grace: settings.body_grace,
        send_timeout: settings.send_timeout,
        send_rate: settings.send_rate,
        send_grace: settings.send_grace,
        request_timeout: Some(settings.request_timeout).filter(|limit| !limit.is_zero()),
        linger: settings.linger,
        linger_limit: settings.linger_limit,
        drain_idle: settings.drain_idle,
        body_buffer: settings.body_buffer,
        limit_request_body: settings.limit_request_body,
        spool_total: settings.spool_total,
        stream_request_body: settings.stream_request_body,
        response_buffer: settings.response_buffer,
        response_spool: settings.response_spool,
        tmp_upload_dir: settings
            .tmp_upload_dir
            .clone()
            .unwrap_or_else(std::env::temp_dir),
        server: settings.server_header.clone(),
        early_hints: settings.early_hints,
        error_page: ErrorPage::default(),
        proxy_protocol: settings.proxy_protocol,
        proxy_allow_ips: settings.proxy_allow_ips.clone(),
        forwarded_allow_ips: settings.forwarded_allow_ips.clone(),
        secure_scheme_headers: settings.secure_scheme_headers.clone(),
        client_address: settings.client_address,
    }
}

/// The protocol's part of the settings, with Gunicorn's bounds of the bounds.
fn http(settings: &Settings) -> h1::Config {
    /// The longest request line that a setting allows, and the size of a field where it is 0.
    const LONGEST: usize = 8190;
    /// The most fields that a setting allows.
    const MOST: usize = 32768;
    let nonzero = |n: usize| Some(n).filter(|&n| n > 0);
    h1::Config {
        limits: h1::Limits {
            request_line: nonzero(settings.limit_request_line)
                .map_or(usize::MAX, |n| n.min(LONGEST)),
            fields: nonzero(settings.limit_request_fields).map_or(MOST, |n| n.min(MOST)),
            field_size: nonzero(settings.limit_request_field_size).unwrap_or(LONGEST),
        },
        leniency: h1::Leniency {
            obsolete_folding: settings.permit_obsolete_folding,
            header_spaces: settings.strip_header_spaces,
            unconventional_method: settings.permit_unconventional_http_method,
            unconventional_version: settings.permit_unconventional_http_version,
            casefold_method: settings.casefold_http_method,
            underscores: match settings.header_map {
                HeaderMap::Drop => h1::Underscores::Drop,
                HeaderMap::Refuse => h1::Underscores::Refuse,
                HeaderMap::Dangerous => h1::Underscores::Dangerous,
            },
            forwarder_headers: h1::Names::new(settings.forwarder_headers.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_reactor() {
        let config = reactor_config(&Settings::default());
        let usual = reactor::Config::default();
        assert_eq!(format!("{config:#?}"), format!("{usual:#?}"));
    }

    #[test]
    fn limits_of_a_head_are_clipped_as_gunicorn_does() {
        for (set, clipped) in [
            ([0, 0, 0], [usize::MAX, 32768, 8190]),
            ([1, 1, 1], [1, 1, 1]),
            ([8191, 32769, 8210], [8190, 32768, 8210]),
        ] {
            let settings = Settings {
                limit_request_line: set[0],
                limit_request_fields: set[1],
                limit_request_field_size: set[2],
                ..Settings::default()
            };
            let limits = http(&settings).limits;
            let found = [limits.request_line, limits.fields, limits.field_size];
            assert_eq!(found, clipped, "{set:?}");
        }
    }
}
