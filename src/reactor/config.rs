//! A reactor's configuration: the settings, and what no setting can say.

use std::path::Path;
use std::time::Duration;

use super::ErrorPage;
use super::rate::MinRate;
#[cfg(feature = "_tls")]
use crate::config::{CertReqs, TlsVersion};
use crate::config::{HeaderMap, RequestIdMode, Settings};
use crate::error::{Error, Result};
use crate::h1;
#[cfg(feature = "_tls")]
use crate::net::tls::{Tls, TlsOptions};
#[cfg(feature = "_tls")]
use crate::trace;

/// The settings of a [`Reactor`](super::Reactor).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The limits, bounds and deadlines. A reactor has no use for the settings of processes, addresses and logs.
    pub settings: Settings,
    /// The pages of the server's own answers.
    pub error_page: ErrorPage,
    /// Names of header fields, in any case, that are kept of a service's response for its record; `*` stands for all.
    pub recorded_fields: Vec<String>,
    /// What TLS sessions are made from, once the files were [read](Self::load_tls).
    #[cfg(feature = "_tls")]
    pub(crate) tls: Option<Tls>,
}

impl Config {
    /// Returns the minimum rate of a request's body.
    pub(super) fn body_min_rate(&self) -> MinRate {
        MinRate {
            rate: self.settings.body_rate,
            grace: self.settings.body_grace,
        }
    }

    /// Returns the minimum rate at which a client takes its response.
    pub(super) fn send_min_rate(&self) -> MinRate {
        MinRate {
            rate: self.settings.send_rate,
            grace: self.settings.send_grace,
        }
    }

    /// The largest request body.
    pub(super) fn limit_request_body(&self) -> u64 {
        unless_zero(self.settings.limit_request_body, u64::MAX)
    }

    /// Tells how much the files of all request bodies and responses may hold together.
    pub(super) fn spool_total(&self) -> u64 {
        unless_zero(self.settings.spool_total, u64::MAX)
    }

    /// Tells how long a client may take to begin a last request, or pause within one, once the reactor drains. A worker
    /// that is killed at the end of its time would lose more.
    pub(super) fn drain_idle(&self) -> Duration {
        let settings = &self.settings;
        settings.drain_idle.min(settings.graceful_timeout / 2)
    }

    /// The folder of those files, which have no name there.
    pub(super) fn tmp_upload_dir(&self) -> &Path {
        let folder = self.settings.tmp_upload_dir.as_deref();
        folder.unwrap_or(Path::new("/tmp"))
    }

    /// Tells whether each response has the id of its request.
    pub(super) fn sends_request_id(&self) -> bool {
        self.settings.request_id == RequestIdMode::Send
    }

    /// Tells whether a field of a service's response is kept for its record.
    pub(super) fn records(&self, name: &[u8]) -> bool {
        let mut names = self.recorded_fields.iter();
        names.any(|known| known == "*" || known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Refuses what could not be sent.
    pub(crate) fn check(&self) -> Result<()> {
        let server = &self.settings.server_header;
        if server.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Ok(());
        }
        let server = server.escape_debug();
        Err(Error::config(format!(
            "the Server line cannot be \"{server}\""
        )))
    }

    /// Reads the certificates and keys that the settings name. To be called before the process gives up its user, who
    /// alone may be allowed to read a key; a reactor that is made without does it itself.
    ///
    /// # Errors
    ///
    /// A file that cannot be used, settings that contradict each other, and a program that was built without TLS.
    #[cfg(feature = "_tls")]
    pub fn load_tls(&mut self) -> Result<()> {
        let settings = &self.settings;
        if self.tls.is_some() || settings.certfile.is_empty() && settings.keyfile.is_empty() {
            return Ok(());
        }
        let options = TlsOptions {
            certificates: settings.certfile.clone(),
            keys: settings.keyfile.clone(),
            authorities: settings.ca_certs.clone(),
            ask_client: settings.cert_reqs != CertReqs::None,
            need_client: settings.cert_reqs == CertReqs::Required,
            only_tls13: settings.tls_min_version == TlsVersion::Tls13,
            ciphers: settings.ciphers.clone().unwrap_or_default(),
        };
        let tls = Tls::load(&options, &mut |text| trace::warning!("{text}"));
        self.tls =
            Some(tls.map_err(|error| {
                settings.blame(error.settings(), Error::config(error.to_string()))
            })?);
        Ok(())
    }

    /// Refuses settings that want TLS, which this program was built without.
    ///
    /// # Errors
    ///
    /// Where they do.
    #[cfg(not(feature = "_tls"))]
    pub fn load_tls(&mut self) -> Result<()> {
        let settings = &self.settings;
        if settings.certfile.is_empty() && settings.keyfile.is_empty() {
            return Ok(());
        }
        let error =
            "this program was built without TLS: build it with the feature `tls`, or `tls-aws-lc`";
        Err(settings.blame(&["certfile", "keyfile"], Error::config(error)))
    }

    /// The protocol's part of the settings, with Gunicorn's bounds of the bounds.
    pub(super) fn http(&self) -> h1::ConnConfig {
        /// The longest request line that a setting allows, and the size of a field where it is 0.
        const LONGEST: usize = 8190;
        /// The most fields that a setting allows.
        const MOST: usize = 32768;
        let settings = &self.settings;
        let line = settings.limit_request_line.min(LONGEST);
        h1::ConnConfig {
            limits: h1::Limits {
                request_line: unless_zero(line, usize::MAX),
                fields: unless_zero(settings.limit_request_fields, MOST).min(MOST),
                field_size: unless_zero(settings.limit_request_field_size, LONGEST),
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
}

/// Returns the setting's value, or `other` where it is 0.
fn unless_zero<T: Default + PartialEq>(value: T, other: T) -> T {
    if value == T::default() { other } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Gunicorn: S19, S20, S21
    #[test]
    fn limits_of_a_head_are_clipped_as_gunicorn_does() {
        for (set, clipped) in [
            ([0, 0, 0], [usize::MAX, 32768, 8190]),
            ([1, 1, 1], [1, 1, 1]),
            ([8191, 32769, 8210], [8190, 32768, 8210]),
        ] {
            let mut config = Config::default();
            config.settings.limit_request_line = set[0];
            config.settings.limit_request_fields = set[1];
            config.settings.limit_request_field_size = set[2];
            let limits = config.http().limits;
            let found = [limits.request_line, limits.fields, limits.field_size];
            assert_eq!(found, clipped, "{set:?}");
        }
    }
}
