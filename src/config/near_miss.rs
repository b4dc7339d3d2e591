//! [`near_miss`]: the setting that a misspelt or invented name probably means.

#[cfg(any(feature = "cli", feature = "toml"))]
use super::error::SettingError;
#[cfg(any(feature = "cli", feature = "toml"))]
use super::origin::Origin;
use super::setting::SETTINGS;
use super::unserved::UNSERVED;

/// Names that files use for a setting of another name.
const ALIASES: &[(&str, &str)] = &[
    ("access_log", "accesslog"),
    ("error_log", "errorlog"),
    ("log_file", "errorlog"),
    ("wsgi_module", "wsgi_app"),
    ("working_directory", "chdir"),
    ("keep_alive_timeout", "keepalive"),
    ("shutdown_timeout", "graceful_timeout"),
];

/// Flags whose names are usual ones for variables of a file's own.
const COMMON_WORDS: &[&str] = &["name", "env", "config"];

/// Gunicorn's hooks, which configuration files define as functions.
const HOOKS: &[&str] = &[
    "on_starting",
    "on_reload",
    "when_ready",
    "pre_fork",
    "post_fork",
    "post_worker_init",
    "worker_int",
    "worker_abort",
    "pre_exec",
    "pre_request",
    "post_request",
    "child_exit",
    "worker_exit",
    "nworkers_changed",
    "on_exit",
];

/// The setting that a name which is none is probably meant for: `keepalive` for `keep_alive`, `preload_app` for
/// `preload`, `loglevel` for `log_level`, `workers` for `WORKERS`. A server hook of Gunicorn's counts as a
/// setting. `None` for a name that resembles no setting, and for the name of a setting itself.
///
/// A name resembles a setting if they differ in case and underscores only, if it is that of the setting's flag, or if
/// one slip of the hand (a letter too many, too few, wrong, or two exchanged) makes one of the other.
#[must_use]
pub fn near_miss(name: &str) -> Option<&'static str> {
    let served = SETTINGS.iter().map(|row| (row.name, row.flags));
    let unserved = UNSERVED.iter().map(|row| (row.name, row.flags));
    let hooks = HOOKS.iter().map(|name| (*name, &[][..]));
    let rows: Vec<_> = served.chain(unserved).chain(hooks).collect();
    if rows.iter().any(|(known, _)| *known == name) {
        return None;
    }
    let bare = plain(name);
    let alias = ALIASES.iter().find(|(alias, _)| plain(alias) == bare);
    if let Some((_, known)) = alias {
        return Some(known);
    }
    let mut by_flag = None;
    let mut by_slip = None;
    for (known, flags) in rows {
        let wanted = plain(known);
        if wanted == bare {
            return Some(known);
        }
        let long = flags.iter().filter_map(|flag| flag.strip_prefix("--"));
        if !COMMON_WORDS.contains(&bare.as_str()) && long.clone().any(|flag| plain(flag) == bare) {
            by_flag = by_flag.or(Some(known));
        }
        if wanted.len().min(bare.len()) > 5 && is_one_slip(bare.as_bytes(), wanted.as_bytes()) {
            by_slip = by_slip.or(Some(known));
        }
    }
    by_flag.or(by_slip)
}

#[cfg(any(feature = "cli", feature = "toml"))]
impl SettingError {
    /// A value for a setting that there is not, with the setting that its name resembles.
    pub(crate) fn unknown(name: &str, origin: Origin) -> Self {
        Self::Unknown {
            name: name.to_owned(),
            origin,
            nearest: near_miss(name),
        }
    }
}

/// A name without the marks in which spellings differ.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-'));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// Tells whether one insertion, removal, replacement or exchange of neighbours makes one of the other.
fn is_one_slip(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same..], &b[same..]);
    if a.len() < b.len() {
        return a == &b[1..];
    }
    match (a, b) {
        ([_, rest @ ..], [_, other @ ..]) if rest == other => true,
        ([_, _, rest @ ..], [_, _, other @ ..]) => a[0] == b[1] && a[1] == b[0] && rest == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_real_files_lead_to_the_right_ones() {
        for (name, wanted) in [
            ("keep_alive", "keepalive"),
            ("preload", "preload_app"),
            ("log_level", "loglevel"),
            ("pid", "pidfile"),
            ("WORKERS", "workers"),
            ("worker_class_", "worker_class"),
            ("workerclass", "worker_class"),
            ("wsgi_module", "wsgi_app"),
            ("access_logfile", "accesslog"),
            ("accesslogs", "accesslog"),
            ("tiemout", "timeout"),
            ("max_request", "max_requests"),
            ("threds", "threads"),
            ("bimd", ""),
            ("timeout", ""),
            ("certfle", "certfile"),
            ("post_forks", "post_fork"),
            ("on_exit", ""),
        ] {
            assert_eq!(near_miss(name).unwrap_or(""), wanted, "{name}");
        }
    }

    #[test]
    fn the_helpers_of_real_files_are_left_alone() {
        for name in [
            "host",
            "port",
            "name",
            "env",
            "cores",
            "cpu_count",
            "log_dir",
            "base_dir",
            "use_ssl",
            "max_workers",
            "workers_per_core",
            "web_concurrency",
            "default",
            "os",
            "config",
            "traceback",
            "ssl_session_cache",
            "worker_recycling",
            "_port",
            "app",
            "sys",
        ] {
            assert_eq!(near_miss(name), None, "{name}");
        }
    }
}
