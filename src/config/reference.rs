//! `docs/SETTINGS.md`, made from the table.
//!
//! Nothing is written by hand there: the test shows what it should be, and `OXICORN_BLESS=1` writes it.

use std::fmt::Write;
use std::{env, fs};

use super::setting::SETTINGS;
use super::unserved::{Fate, Unserved};

const HEAD: &str = "\
# Settings

<!-- Made from `oxicorn::config::SETTINGS`; `OXICORN_BLESS=1 cargo test --lib reference` writes it anew. -->

A setting's value comes from its built-in default, its environment variable, the configuration file, the flags \
in `GUNICORN_CMD_ARGS` (of the program `oxicorn`) or the command line. Each of these replaces the value of the ones before it, also if the value is a list. `--print-config` shows each \
value with its origin.

A flag takes its value as `--flag VALUE` or `--flag=VALUE`. A flag that is listed without a value means `true`, and \
takes another value only as `--flag=VALUE`. Whole numbers can be written as in Python (`0x10`, `1_000`). Times are in \
seconds, can have a fraction, and can have a unit (`500ms`, `30s`, `5m`, `1h`, `1d`); sizes are in bytes, and can have \
one too (`8k`, `64KiB`, `1g`).

A configuration file is a Python program (`gunicorn.conf.py`) or, where a program with the feature `toml` has it so, a \
file in TOML (`workers = 4`); its keys are the names of the settings. Lists and numbers are written in TOML's own way, and \
pairs as a table (`raw_env = { NAME = 'value' }`).

`--help` lists the settings in **bold**. `--help-all` lists them all. A program sets each one by the method of its name \
on `ServerBuilder`.
";

const GUNICORN_HEAD: &str = "
## Gunicorn's settings

All settings of Gunicorn 27. `docs/GUNICORN.md` has under the same id the tests that show what is the same or \
better. What is refused is refused only with a value that asks for it: `None`, `False` and Gunicorn's default are taken.

| id | setting | here | how |
|---|---|---|---|
";

/// Gunicorn's settings, with the ids of their rows in `docs/GUNICORN.md`.
const GUNICORNS: &[(&str, &str)] = &[
    ("S1", "config"),
    ("S2", "wsgi_app"),
    ("S3", "bind"),
    ("S4", "backlog"),
    ("S5", "workers"),
    ("S6", "worker_class"),
    ("S7", "threads"),
    ("S8", "worker_connections"),
    ("S9", "max_requests"),
    ("S10", "max_requests_jitter"),
    ("S11", "timeout"),
    ("S12", "graceful_timeout"),
    ("S13", "keepalive"),
    ("S14", "asgi_loop"),
    ("S15", "asgi_lifespan"),
    ("S16", "asgi_disconnect_grace_period"),
    ("S17", "websocket_max_message_size"),
    ("S18", "http_parser"),
    ("S19", "limit_request_line"),
    ("S20", "limit_request_fields"),
    ("S21", "limit_request_field_size"),
    ("S22", "reload"),
    ("S23", "reload_engine"),
    ("S24", "reload_extra_files"),
    ("S25", "spew"),
    ("S26", "check_config"),
    ("S27", "print_config"),
    ("S28", "preload_app"),
    ("S29", "sendfile"),
    ("S30", "reuse_port"),
    ("S31", "chdir"),
    ("S32", "daemon"),
    ("S33", "raw_env"),
    ("S34", "pidfile"),
    ("S35", "worker_tmp_dir"),
    ("S36", "user"),
    ("S37", "group"),
    ("S38", "umask"),
    ("S39", "initgroups"),
    ("S40", "tmp_upload_dir"),
    ("S41", "secure_scheme_headers"),
    ("S42", "forwarded_allow_ips"),
    ("S43", "pythonpath"),
    ("S44", "paste"),
    ("S45", "raw_paste_global_conf"),
    ("S46", "proxy_protocol"),
    ("S47", "proxy_allow_ips"),
    ("S48", "protocol"),
    ("S49", "uwsgi_allow_ips"),
    ("S50", "root_path"),
    ("S51", "accesslog"),
    ("S52", "disable_redirect_access_to_syslog"),
    ("S53", "access_log_format"),
    ("S54", "errorlog"),
    ("S55", "loglevel"),
    ("S56", "capture_output"),
    ("S57", "logger_class"),
    ("S58", "logconfig"),
    ("S59", "logconfig_dict"),
    ("S60", "logconfig_json"),
    ("S61", "syslog_addr"),
    ("S62", "syslog"),
    ("S63", "syslog_prefix"),
    ("S64", "syslog_facility"),
    ("S65", "enable_stdio_inheritance"),
    ("S72", "statsd_host"),
    ("S73", "statsd_prefix"),
    ("S74", "dogstatsd_tags"),
    ("S75", "enable_backlog_metric"),
    ("S76", "proc_name"),
    ("S77", "default_proc_name"),
    ("S78", "permit_obsolete_folding"),
    ("S79", "strip_header_spaces"),
    ("S80", "permit_unconventional_http_method"),
    ("S81", "permit_unconventional_http_version"),
    ("S82", "casefold_http_method"),
    ("S83", "forwarder_headers"),
    ("S84", "header_map"),
    ("S85", "keyfile"),
    ("S86", "certfile"),
    ("S87", "ssl_version"),
    ("S88", "cert_reqs"),
    ("S89", "ca_certs"),
    ("S90", "suppress_ragged_eofs"),
    ("S91", "do_handshake_on_connect"),
    ("S92", "ciphers"),
    ("S93", "http_protocols"),
    ("S94", "http2_cleartext"),
    ("S95", "http2_max_concurrent_streams"),
    ("S96", "http2_initial_window_size"),
    ("S97", "http2_max_frame_size"),
    ("S98", "http2_max_header_list_size"),
    ("S99", "dirty_apps"),
    ("S100", "dirty_workers"),
    ("S101", "dirty_timeout"),
    ("S102", "dirty_threads"),
    ("S103", "dirty_graceful_timeout"),
    ("S104", "on_dirty_starting"),
    ("S105", "dirty_post_fork"),
    ("S106", "dirty_worker_init"),
    ("S107", "dirty_worker_exit"),
    ("S108", "control_socket"),
    ("S109", "control_socket_mode"),
    ("S110", "control_socket_disable"),
    ("H1", "on_starting"),
    ("H2", "on_reload"),
    ("H3", "when_ready"),
    ("H4", "pre_fork"),
    ("H5", "post_fork"),
    ("H6", "post_worker_init"),
    ("H7", "worker_int"),
    ("H8", "worker_abort"),
    ("H9", "pre_exec"),
    ("H10", "pre_request"),
    ("H11", "post_request"),
    ("H12", "child_exit"),
    ("H13", "worker_exit"),
    ("H14", "nworkers_changed"),
    ("H15", "on_exit"),
    ("H16", "ssl_context"),
];

/// The table of Gunicorn's settings: what `docs/GUNICORN.md` says of a setting, or what becomes of one that is not
/// served.
fn gunicorns(rows: &str) -> String {
    let mut table = GUNICORN_HEAD.to_owned();
    for (id, name) in GUNICORNS {
        let start = format!("| {id} | ");
        let row = rows.lines().find_map(|line| line.strip_prefix(&start));
        let cells: Vec<_> = row.unwrap_or_default().split(" | ").collect();
        let (verdict, how) = match (&cells[..], Unserved::named(name).map(|row| &row.fate)) {
            ([verdict @ ("same" | "better"), how, tests], _) => {
                assert!(tests.contains('`'), "{id} names no test");
                (*verdict, *how)
            }
            (_, Some(Fate::Refused { why, .. })) => ("refused", *why),
            (_, Some(Fate::Unused(why))) => ("no effect", *why),
            _ => panic!("{name} has neither a row {id} in docs/GUNICORN.md nor one of UNSERVED"),
        };
        let _ = writeln!(table, "| {id} | `{name}` | {verdict} | {how} |");
    }
    table
}

fn reference() -> String {
    let mut page = HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            let _ = write!(
                page,
                "\n## {section}\n\n| setting | flag | environment | default | meaning |\n|---|---|---|---|---|\n"
            );
        }
        let flags = if setting.flags.is_empty() {
            format!("`{}`", setting.metavar)
        } else {
            let flags: Vec<_> = setting
                .flags
                .iter()
                .map(|flag| format!("`{flag}`"))
                .collect();
            let flags = flags.join(" ");
            match setting.bare {
                Some(_) if setting.is_switch() => flags,
                Some(_) => format!("{flags} `[{}]`", setting.metavar),
                None => format!("{flags} `{}`", setting.metavar),
            }
        };
        let variable = setting
            .variable
            .map(|variable| format!("`{}${}`", variable.prefix, variable.name))
            .unwrap_or_default();
        let default = setting
            .default()
            .map(|text| format!("`{text}`"))
            .unwrap_or_default();
        let _ = writeln!(
            page,
            "| {} | {flags} | {variable} | {default} | {} |",
            if setting.common {
                format!("**`{}`**", setting.name)
            } else {
                format!("`{}`", setting.name)
            },
            setting.help
        );
    }
    let rows = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/GUNICORN.md");
    page + &gunicorns(&fs::read_to_string(rows).unwrap())
}

#[test]
fn every_setting_of_gunicorns_is_there_once() {
    let mut names: Vec<_> = GUNICORNS.iter().map(|(_, name)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 120);
}

#[test]
fn the_settings_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SETTINGS.md");
    let wanted = reference();
    if env::var_os("OXICORN_BLESS").is_some_and(|bless| bless == "1") {
        fs::write(path, &wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/SETTINGS.md should be (OXICORN_BLESS=1 writes it):\n\n{wanted}"
    );
}
