//! [`Imports`]: the files that an application was loaded from, for a server that is reloaded when they change, and the page
//! that stands for an application which cannot be loaded.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use crate::error::Error;
use crate::python::{embedded, errors};

/// Takes the files of an application.
pub(super) type Report = dyn Fn(&[PathBuf]) + Send + Sync;

/// Reports files, each once.
pub(super) struct Imports {
    report: Arc<Report>,
    /// Gives the files of modules that were loaded since its last call.
    news: Py<PyAny>,
}

impl Imports {
    pub(super) fn new(py: Python<'_>, report: &Arc<Report>) -> PyResult<Self> {
        let news = embedded::function(py, include_str!("imports.py"), "new_files")?;
        Ok(Self {
            report: Arc::clone(report),
            news: news.unbind(),
        })
    }

    /// Reports what was loaded since the last time.
    pub(super) fn tell(&self, py: Python<'_>) {
        let news = self
            .news
            .call0(py)
            .and_then(|news| news.extract::<Vec<PathBuf>>(py));
        match news {
            Ok(news) if news.is_empty() => {}
            Ok(news) => py.detach(|| (self.report)(&news)),
            Err(error) => errors::log_exception(py, "The files to watch are not known", &error),
        }
    }

    /// An application in the place of one that failed to load: its page is the traceback, and the files in that are
    /// reported. The error, where there is no traceback.
    pub(super) fn stand_in<'py>(
        &self,
        py: Python<'py>,
        error: Error,
    ) -> Result<Bound<'py, PyAny>, Error> {
        let Some(traceback) = error.source().map(ToString::to_string) else {
            return Err(error);
        };
        errors::log(
            py,
            &format!("{error}: this is shown to clients until a file changes"),
        );
        let files: Vec<_> = files_of(&traceback).collect();
        py.detach(|| (self.report)(&files));
        let page =
            move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<_> {
                let fields = vec![
                    ("Content-Type", "text/plain; charset=utf-8"),
                    ("Cache-Control", "no-store"),
                ];
                arguments
                    .get_item(1)?
                    .call1(("500 Internal Server Error", fields))?;
                Ok(vec![format!("{traceback}\n").into_bytes()])
            };
        let made = PyCFunction::new_closure(py, None, None, page).map(Bound::into_any);
        made.map_err(|_| error)
    }
}

/// The files that a traceback names: `  File "/srv/shop/wsgi.py", line 3, in <module>`.
fn files_of(traceback: &str) -> impl Iterator<Item = PathBuf> {
    traceback.lines().filter_map(|line| {
        let (path, _) = line
            .trim_start()
            .strip_prefix("File \"")?
            .rsplit_once("\", line ")?;
        Some(path.into())
    })
}

impl fmt::Debug for Imports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imports").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_traceback_are_found() {
        let text = "Traceback (most recent call last):\n  File \"/a b/x.py\", line 1, in <module>\n    import y\n  \
                    File \"/y.py\", line 3\n    def\n       ^\nSyntaxError: invalid syntax";
        let files: Vec<_> = files_of(text).collect();
        assert_eq!(files, [PathBuf::from("/a b/x.py"), PathBuf::from("/y.py")]);
    }
}
