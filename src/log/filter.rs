//! [`AccessFilter`]: which requests have no line in the access log.

use crate::access::Access;
use crate::error::{Error, Result};

/// Which requests have no line in an access log: successful ones for some paths, and all with some statuses.
#[derive(Clone, Debug, Default)]
pub struct AccessFilter {
    paths: Vec<String>,
    /// The first and the last status of each range.
    statuses: Vec<(u16, u16)>,
}

impl AccessFilter {
    /// Leaves out requests for this path, or for all paths that begin with it if it ends with `*`, that were answered
    /// with a status below 400. Failures have their line.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Leaves out requests that were answered with one of these statuses: `304`, `2xx`, or `200-299`.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`] for another text.
    pub fn status(mut self, text: &str) -> Result<Self> {
        let range = range(text.trim()).ok_or_else(|| {
            Error::config(format!(
                "'{text}' is no status: expected one such as 304, 2xx or 200-299"
            ))
        })?;
        self.statuses.push(range);
        Ok(self)
    }

    /// Whether this one has no line.
    pub(crate) fn leaves_out(&self, access: &Access<'_>) -> bool {
        let status = access.status;
        let mut statuses = self.statuses.iter();
        if statuses.any(|(first, last)| (*first..=*last).contains(&status)) {
            return true;
        }
        if self.paths.is_empty() || !(100..400).contains(&status) {
            return false;
        }
        let path = access.head.map_or("", |head| head.path());
        let mut paths = self.paths.iter();
        paths.any(|known| match known.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == known,
        })
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let status = |text: &str| {
        text.parse()
            .ok()
            .filter(|status| (100..=999).contains(status))
    };
    if let Some(class) = text.strip_suffix("xx") {
        let first = status(&format!("{class}00"))?;
        return Some((first, first + 99));
    }
    match text.split_once('-') {
        Some((first, last)) => Some((status(first)?, status(last)?)),
        None => status(text).map(|status| (status, status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_ranges() {
        assert_eq!(range("304"), Some((304, 304)));
        assert_eq!(range("2xx"), Some((200, 299)));
        assert_eq!(range("200-206"), Some((200, 206)));
        for text in ["", "x", "20", "20xx", "200-", "0xx", "200-abc"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
