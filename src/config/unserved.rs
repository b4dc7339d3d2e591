//! [`UNSERVED`]: Gunicorn's settings that this server has not, and what becomes of each.
//!
//! A value that asks for nothing (none, false, empty, or Gunicorn's default) is taken in silence. Another value is
//! refused where the server would be a different one without it, and otherwise taken with a line in the log.

use super::error::SettingError;
use super::file_value::FileValue;
use super::origin::Origin;

/// A setting of Gunicorn's that this server has not.
#[derive(Debug)]
pub(crate) struct Unserved {
    pub(crate) name: &'static str,
    pub(crate) flags: &'static [&'static str],
    /// Whether the flag takes a value.
    #[cfg_attr(
        not(feature = "cli"),
        expect(dead_code, reason = "only the command line has flags")
    )]
    pub(crate) takes_value: bool,
    /// Values besides the empty ones that ask for nothing, in lower case.
    neutral: &'static [&'static str],
    pub(super) fate: Fate,
}

/// What becomes of a value that asks for something.
#[derive(Debug)]
pub(super) enum Fate {
    /// It ends the start.
    Refused {
        why: &'static str,
        instead: &'static [(&'static str, &'static str)],
    },
    /// It has no effect, which one line says.
    Unused(&'static str),
}

impl Unserved {
    /// The row of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        UNSERVED.iter().find(|row| row.name == name)
    }

    /// What a value comes to: nothing, a line for the log, or an error.
    pub(super) fn take(
        &self,
        value: &FileValue,
        origin: &Origin,
    ) -> Result<Option<String>, SettingError> {
        let text = value.to_string();
        let quiet = text.trim().to_ascii_lowercase();
        if value.is_neutral() || quiet == "false" || self.neutral.contains(&quiet.as_str()) {
            return Ok(None);
        }
        let (name, origin) = (self.name, origin.clone());
        match self.fate {
            Fate::Refused { why, instead } => Err(SettingError::Refused {
                setting: name,
                origin,
                text,
                why,
                instead,
            }),
            Fate::Unused(why) => Ok(Some(format!(
                "{name} = {text} ({origin}) has no effect: {why}"
            ))),
        }
    }
}

const fn refused(
    name: &'static str,
    flags: &'static [&'static str],
    why: &'static str,
    instead: &'static [(&'static str, &'static str)],
) -> Unserved {
    Unserved {
        name,
        flags,
        takes_value: true,
        neutral: &[],
        fate: Fate::Refused { why, instead },
    }
}

const fn unused(
    name: &'static str,
    flags: &'static [&'static str],
    neutral: &'static [&'static str],
    why: &'static str,
) -> Unserved {
    Unserved {
        name,
        flags,
        takes_value: true,
        neutral,
        fate: Fate::Unused(why),
    }
}

const fn switch(row: Unserved) -> Unserved {
    Unserved {
        takes_value: false,
        ..row
    }
}

const fn unless(row: Unserved, neutral: &'static [&'static str]) -> Unserved {
    Unserved { neutral, ..row }
}

const PASTE: &str = "PasteDeploy is not read";
const ASGI: &str = "it is for ASGI, which is not served";
const HTTP2: &str = "HTTP/2 is not served: let the proxy in front of the server speak it";
const HTTP2_DETAIL: &str = "it is for HTTP/2, which is not served";
const DIRTY: &str = "dirty arbiters are not served: keep such work in a job queue";
const DIRTY_DETAIL: &str = "it is for dirty arbiters, which are not served";

/// The settings of Gunicorn that this server has not.
pub(crate) static UNSERVED: &[Unserved] = &[
    unused(
        "logconfig_dict",
        &[],
        &[],
        "only a Python file can have it: logconfig_json names a file with the same",
    ),
    unused(
        "check_config",
        &[],
        &[],
        "it is a flag of the command line: --check-config",
    ),
    unused(
        "print_config",
        &[],
        &[],
        "it is a flag of the command line: --print-config",
    ),
    unused(
        "default_proc_name",
        &[],
        &["gunicorn"],
        "the default is the application's name, and proc_name another one",
    ),
    switch(unused(
        "enable_backlog_metric",
        &["--enable-backlog-metric"],
        &[],
        "the backlog is not measured",
    )),
    unused(
        "worker_tmp_dir",
        &["--worker-tmp-dir"],
        &[],
        "workers beat in shared memory, not in a file",
    ),
    unused(
        "http_parser",
        &["--http-parser"],
        &["auto"],
        "there is one parser, and it is fast",
    ),
    unused(
        "ssl_version",
        &["--ssl-version"],
        &["2", "sslv23", "tls"],
        "Gunicorn ignores it as well: tls_min_version is the lowest version of TLS that is spoken",
    ),
    switch(refused(
        "spew",
        &["--spew"],
        "lines are not traced: `python -m trace --trace` does it for one script",
        &[("spew", "False")],
    )),
    refused(
        "paste",
        &["--paste", "--paster"],
        "PasteDeploy is not read: a module that calls `paste.deploy.loadapp` makes a WSGI application",
        &[("wsgi_app", "MODULE:APP")],
    ),
    unused("raw_paste_global_conf", &["--paste-global"], &[], PASTE),
    unless(
        refused(
            "protocol",
            &["--protocol"],
            "the uwsgi protocol is not served: let nginx speak HTTP (proxy_pass, not uwsgi_pass)",
            &[("protocol", "http")],
        ),
        &["http"],
    ),
    unused(
        "uwsgi_allow_ips",
        &["--uwsgi-allow-from"],
        &["127.0.0.1,::1"],
        "the uwsgi protocol is not served",
    ),
    unused("asgi_loop", &["--asgi-loop"], &["auto"], ASGI),
    unused("asgi_lifespan", &["--asgi-lifespan"], &["auto"], ASGI),
    unused(
        "asgi_disconnect_grace_period",
        &["--asgi-disconnect-grace-period"],
        &["3"],
        ASGI,
    ),
    unused(
        "websocket_max_message_size",
        &["--websocket-max-message-size"],
        &["16777216"],
        ASGI,
    ),
    unused("root_path", &["--root-path"], &[], ASGI),
    unless(
        refused(
            "http_protocols",
            &["--http-protocols"],
            HTTP2,
            &[("http_protocols", "h1")],
        ),
        &["h1", "[h1]"],
    ),
    unless(
        refused(
            "http2_cleartext",
            &["--http2-cleartext"],
            HTTP2,
            &[("http2_cleartext", "off")],
        ),
        &["off"],
    ),
    unused(
        "http2_max_concurrent_streams",
        &["--http2-max-concurrent-streams"],
        &["100"],
        HTTP2_DETAIL,
    ),
    unused(
        "http2_initial_window_size",
        &["--http2-initial-window-size"],
        &["65535"],
        HTTP2_DETAIL,
    ),
    unused(
        "http2_max_frame_size",
        &["--http2-max-frame-size"],
        &["16384"],
        HTTP2_DETAIL,
    ),
    unused(
        "http2_max_header_list_size",
        &["--http2-max-header-list-size"],
        &["65536"],
        HTTP2_DETAIL,
    ),
    refused(
        "dirty_apps",
        &["--dirty-app"],
        DIRTY,
        &[("dirty_apps", "[]")],
    ),
    unless(
        refused(
            "dirty_workers",
            &["--dirty-workers"],
            DIRTY,
            &[("dirty_workers", "0")],
        ),
        &["0"],
    ),
    unused(
        "dirty_timeout",
        &["--dirty-timeout"],
        &["300"],
        DIRTY_DETAIL,
    ),
    unused("dirty_threads", &["--dirty-threads"], &["1"], DIRTY_DETAIL),
    unused(
        "dirty_graceful_timeout",
        &["--dirty-graceful-timeout"],
        &["30"],
        DIRTY_DETAIL,
    ),
    unused("on_dirty_starting", &[], &[], DIRTY_DETAIL),
    unused("dirty_post_fork", &[], &[], DIRTY_DETAIL),
    unused("dirty_worker_init", &[], &[], DIRTY_DETAIL),
    unused("dirty_worker_exit", &[], &[], DIRTY_DETAIL),
    refused(
        "ssl_context",
        &[],
        "a context of Python's ssl cannot be used: certfile, keyfile, ca_certs, cert_reqs, ciphers and tls_min_version \
         say what it would",
        &[("certfile", "PATH")],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SETTINGS, Settings, SettingsSource};

    fn load(name: &str, value: &FileValue) -> Result<Settings, SettingError> {
        let origin = Origin::File {
            path: "a.py".into(),
            line: Some(3),
        };
        Settings::load([&SettingsSource::new().file_value(name, value, origin)])
    }

    fn text(text: &str) -> FileValue {
        FileValue::Text(text.into())
    }

    #[test]
    fn a_value_that_asks_for_nothing_is_taken_in_silence() {
        for row in UNSERVED {
            let empty = [
                FileValue::Absent,
                FileValue::Bool(false),
                text(""),
                text("False"),
            ];
            let neutral = row.neutral.iter().map(|value| text(value));
            for value in empty.into_iter().chain(neutral) {
                let settings = load(row.name, &value).unwrap();
                assert!(settings.notices().is_empty(), "{} = {value}", row.name);
            }
        }
    }

    #[test]
    fn another_value_is_refused_with_the_lines_to_write_or_noticed() {
        for row in UNSERVED {
            assert!(SETTINGS.iter().all(|served| served.name != row.name));
            let value = text("2000");
            match (load(row.name, &value), &row.fate) {
                (Err(error), Fate::Refused { instead, .. }) => {
                    let error = error.to_string();
                    assert!(
                        error.starts_with(&format!("{} = 2000 (a.py:3) is refused: ", row.name))
                    );
                    for (name, value) in *instead {
                        assert!(error.contains(&format!("{name} = ")), "{error}");
                        assert!(error.contains(value), "{error}");
                    }
                }
                (Ok(settings), Fate::Unused(_)) => {
                    let [notice] = settings.notices() else {
                        panic!("no notice of {}", row.name);
                    };
                    assert!(
                        notice
                            .starts_with(&format!("{} = 2000 (a.py:3) has no effect: ", row.name))
                    );
                }
                (other, _) => panic!("{}: {other:?}", row.name),
            }
        }
    }

    #[test]
    fn each_protocol_is_refused_by_its_name() {
        for (name, value, wanted) in [
            ("protocol", text("uwsgi"), "protocol = \"http\""),
            ("http_protocols", text("h2,h1"), "http_protocols = \"h1\""),
            ("spew", FileValue::Bool(true), "spew = False"),
            ("ssl_context", text("x"), "certfile = \"PATH\""),
            (
                "dirty_workers",
                FileValue::Number("2".into()),
                "dirty_workers = 0",
            ),
        ] {
            let error = load(name, &value).unwrap_err().to_string();
            assert!(
                error.ends_with(&format!(". Write instead: {wanted}")),
                "{error}"
            );
        }
        for value in [text("h1"), FileValue::List(vec![text("h1")])] {
            assert!(load("http_protocols", &value).is_ok());
        }
    }
}
