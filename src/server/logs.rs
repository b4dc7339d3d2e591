//! The logs as the settings describe them.

use crate::access::AccessSink;
use crate::config::Settings;
#[cfg(feature = "wsgi")]
use crate::error::Error;
use crate::error::Result;
#[cfg(feature = "wsgi")]
use crate::gunicorn::AccessLogger;
#[cfg(feature = "tracing")]
use crate::log::ErrorLog;
use crate::log::{AccessFilter, AccessFormat, AccessLog, Statsd, Syslog};
#[cfg(feature = "wsgi")]
use crate::python::gunicorn_names::{LoggerRecipe, LoggerSettings, SharedObject};

/// What keeps the record of each request, and what it wants of the response for that.
#[derive(Debug, Default)]
pub(super) struct AccessLogs {
    pub(super) sinks: Vec<Box<dyn AccessSink>>,
    /// Names of fields of the response.
    pub(super) fields: Vec<String>,
}

impl AccessLogs {
    /// Opens what the settings name.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`](crate::Error::is_config), naming the origin of the value that cannot be used.
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        let mut logs = Vec::new();
        let mut sinks: Vec<Box<dyn AccessSink>> = Vec::new();
        #[cfg(feature = "wsgi")]
        let python = logger_recipe(settings).is_some();
        #[cfg(not(feature = "wsgi"))]
        let python = false;
        #[cfg(feature = "wsgi")]
        if python {
            sinks.push(Box::new(AccessLogger::new(filter(settings)?)));
        }
        if let Some(path) = settings.accesslog.as_ref().filter(|_| !python) {
            let log = AccessLog::open(path);
            logs.push(log.map_err(|error| settings.blame(&["accesslog"], error))?);
        }
        if settings.syslog && !settings.disable_redirect_access_to_syslog {
            logs.push(AccessLog::syslog(syslog(settings, "access")?));
        }
        let mut fields = Vec::new();
        if !logs.is_empty() {
            let (format, filter) = (format(settings)?, filter(settings)?);
            fields = format.response_fields();
            for log in logs {
                let log = log.utc(settings.log_utc).filter(filter.clone());
                sinks.push(Box::new(if settings.log_json {
                    log.json()
                } else {
                    log.format(format.clone())
                }));
            }
        }
        if python {
            fields.push("*".to_owned());
        }
        if let Some(statsd) = statsd(settings)? {
            sinks.push(Box::new(statsd));
        }
        Ok(Self { sinks, fields })
    }

    /// All of them as one; `None` where there is none.
    pub(super) fn sink(self) -> Option<Box<dyn AccessSink>> {
        (!self.sinks.is_empty()).then(|| Box::new(self.sinks) as _)
    }
}

/// Checks what settings say of the logs. Nothing is opened.
///
/// # Errors
///
/// Those of a start, and a file for Python's `logging` that is not there.
#[cfg(all(feature = "cli", feature = "wsgi"))]
pub(super) fn check(settings: &Settings) -> Result<()> {
    let is_written = settings.accesslog.is_some() && logger_recipe(settings).is_none();
    let is_sent = settings.syslog && !settings.disable_redirect_access_to_syslog;
    if is_written || is_sent {
        format(settings)?;
    }
    if settings.syslog {
        syslog(settings, "error")?;
    }
    filter(settings)?;
    statsd(settings)?;
    has_logconfig(settings)
}

/// Whether the files for Python's `logging` are there.
///
/// # Errors
///
/// The one that is not, with the origin of its name.
#[cfg(feature = "wsgi")]
pub(super) fn has_logconfig(settings: &Settings) -> Result<()> {
    let files = [
        ("logconfig", &settings.logconfig),
        ("logconfig_json", &settings.logconfig_json),
    ];
    for (name, path) in files {
        if let Some(path) = path.as_ref().filter(|path| !path.exists()) {
            let error = Error::config(format!("there is no file {}", path.display()));
            return Err(settings.blame(&[name], error));
        }
    }
    Ok(())
}

/// The sender of one log's lines to syslog.
fn syslog(settings: &Settings, log: &str) -> Result<Syslog> {
    let address = settings.syslog_addr.parse();
    let address = address.map_err(|error| settings.blame(&["syslog_addr"], error))?;
    let names = [
        &settings.syslog_prefix,
        &settings.proc_name,
        &settings.wsgi_app,
    ];
    let prefix = names.into_iter().flatten().next();
    let prefix = prefix.map_or("oxicorn", String::as_str);
    Syslog::new(&address, &settings.syslog_facility, prefix, log)
        .map_err(|error| settings.blame(&["syslog_facility"], error))
}

/// The sender of metrics, if one is set.
pub(super) fn statsd(settings: &Settings) -> Result<Option<Statsd>> {
    let Some(host) = &settings.statsd_host else {
        return Ok(None);
    };
    let address = host.parse();
    let address = address.map_err(|error| settings.blame(&["statsd_host"], error))?;
    let (prefix, tags) = (&settings.statsd_prefix, &settings.dogstatsd_tags);
    Ok(Some(Statsd::new(&address, prefix, tags)))
}

#[cfg(feature = "tracing")]
impl ErrorLog {
    /// The error log that the settings describe: `errorlog`, `loglevel`, and those of its form, of syslog and of statsd.
    /// With `capture_output` the standard output and the standard error of this process go to its file from now on.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`](crate::Error::is_config) where the file cannot be opened or a value cannot be used, naming
    /// the origin of the value.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let blame = |error| settings.blame(&["errorlog"], error);
        let mut log = Self::open(&settings.errorlog)
            .map_err(blame)?
            .level(&settings.loglevel)?
            .json(settings.log_json)
            .utc(settings.log_utc);
        if settings.capture_output {
            log = log.capture_output().map_err(blame)?;
        }
        if settings.syslog {
            log = log.syslog(syslog(settings, "error")?);
        }
        #[cfg(feature = "wsgi")]
        if logger_recipe(settings).is_some() {
            log = log.relayed();
        }
        match statsd(settings)? {
            Some(statsd) => Ok(log.statsd(statsd)),
            None => Ok(log),
        }
    }
}

/// The format of the access log. JSON has fields of its own.
fn format(settings: &Settings) -> Result<AccessFormat> {
    let text = if settings.log_json {
        "%(request_id)s"
    } else {
        &settings.access_log_format
    };
    let format = text.parse();
    format.map_err(|error| settings.blame(&["access_log_format"], error))
}

fn filter(settings: &Settings) -> Result<AccessFilter> {
    let paths = settings.access_log_skip_paths.iter();
    let filter = paths.fold(AccessFilter::default(), AccessFilter::path);
    let mut statuses = settings.access_log_skip_statuses.split(',').map(str::trim);
    statuses
        .by_ref()
        .filter(|text| !text.is_empty())
        .try_fold(filter, AccessFilter::status)
        .map_err(|error| settings.blame(&["access_log_skip_statuses"], error))
}

/// The logger of Python's that writes the logs, if the settings name one.
#[cfg(feature = "wsgi")]
fn logger_recipe(settings: &Settings) -> Option<LoggerRecipe> {
    let class = settings.logger_class.as_str();
    let usual = matches!(
        class,
        "gunicorn.glogging.Logger" | "simple" | "gunicorn.instrument.statsd.Statsd"
    );
    let object = |name| settings.object::<SharedObject>(name).cloned();
    let recipe = LoggerRecipe {
        class: class.to_owned(),
        class_object: object("logger_class").filter(|_| !usual),
        logconfig: settings.logconfig.clone().map(Into::into),
        logconfig_json: settings.logconfig_json.clone().map(Into::into),
        logconfig_dict: object("logconfig_dict"),
        access_log_format: settings.access_log_format.clone(),
    };
    let configured = recipe.logconfig.is_some()
        || recipe.logconfig_json.is_some()
        || recipe.logconfig_dict.is_some();
    (configured || !usual).then_some(recipe)
}

/// What the loggers of Python's `logging` write to, and which logger writes the logs.
#[cfg(feature = "wsgi")]
pub(super) fn loggers(settings: &Settings) -> LoggerSettings {
    LoggerSettings {
        errorlog: settings.errorlog.clone().into(),
        accesslog: settings.accesslog.clone().map(Into::into),
        level: settings.loglevel.clone(),
        logger: logger_recipe(settings),
    }
}

/// The keys of the environ that the access log has. A format that is wrong has none: the server does not start with it.
#[cfg(feature = "wsgi")]
pub(super) fn recorded_variables(settings: &Settings) -> Vec<String> {
    let format = settings
        .accesslog
        .as_ref()
        .and_then(|_| format(settings).ok());
    let variables = format.map(|format| format.variables());
    let mut variables = variables.unwrap_or_default();
    if logger_recipe(settings).is_some() {
        variables.push("PATH_INFO".to_owned());
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Setting, SettingsSource};

    #[test]
    fn the_default_format_is_that_of_the_log() {
        let default = Settings::default().access_log_format;
        assert_eq!(default, AccessFormat::DEFAULT);
    }

    #[test]
    fn a_log_setting_that_cannot_be_used_is_named_with_its_origin() {
        for (name, value, wanted) in [
            ("access_log_format", "%(h", "at character 1"),
            ("access_log_format", "a %(h)x", "at character 3"),
            (
                "access_log_skip_statuses",
                "200,many",
                "'many' is no status",
            ),
        ] {
            let row = |name| Setting::named(name).unwrap();
            let source = SettingsSource::new()
                .text(row("accesslog"), ["-"], Origin::Program)
                .text(row(name), [value], Origin::Flag("--flag".into()));
            let error = AccessLogs::open(&Settings::load([&source]).unwrap()).unwrap_err();
            let text = error.to_string();
            assert!(error.is_config(), "{text}");
            assert!(text.contains(wanted), "{text}");
            assert!(text.contains(&format!("{name} (--flag)")), "{text}");
        }
    }
}
