//! [`Origin`]: where a setting's value comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a setting's value comes from. Its text is what an error message names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The built-in default.
    Default,
    /// The environment variable of this name.
    Environment(String),
    /// A configuration file.
    File {
        /// The file's path.
        path: PathBuf,
        /// The line, counted from 1, if it is known.
        line: Option<u32>,
    },
    /// A flag of the command line, as the help lists it: `-w/--workers`.
    Flag(String),
    /// The program that runs the server.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(text) | Self::Flag(text) => f.write_str(text),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::Program => f.write_str("program"),
        }
    }
}

/// The origins of the values that a source has set, and what there is to say of the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    entries: BTreeMap<&'static str, Entry>,
    notices: Vec<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    origin: Origin,
    /// The value as it was shown then: a field that shows another one was written to since.
    shown: Option<String>,
}

impl Origins {
    pub(super) fn record(&mut self, name: &'static str, origin: Origin, shown: Option<String>) {
        self.entries.insert(name, Entry { origin, shown });
    }

    pub(super) fn notice(&mut self, notice: String) {
        self.notices.push(notice);
    }

    pub(super) fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The origin of a setting that shows this value now, if a source has set it to that.
    pub(super) fn of(&self, name: &str, shown: Option<&str>) -> Option<&Origin> {
        let entry = self.entries.get(name)?;
        (entry.shown.as_deref() == shown).then_some(&entry.origin)
    }
}

/// Settings with equal values are equal, wherever the values come from.
impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
