//! [`FileVersion`]: by what a changed file is known.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file's device, number, size and time of its last change; `None` where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileVersion(Option<[i128; 4]>);

impl FileVersion {
    /// That of no file.
    pub(super) const NONE: Self = Self(None);

    /// That of the file which has the name now.
    pub(super) fn of(path: &Path) -> Self {
        let file = fs::metadata(path).ok();
        Self(file.map(|file| {
            let nanos = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
            [
                file.dev().into(),
                file.ino().into(),
                file.size().into(),
                nanos,
            ]
        }))
    }

    /// As text without blanks.
    #[cfg(feature = "wsgi")]
    pub(super) fn encode(self) -> String {
        let numbers = self.0.iter().flatten().map(ToString::to_string);
        numbers.collect::<Vec<_>>().join(",")
    }

    pub(super) fn decode(text: &str) -> Self {
        let numbers: Option<Vec<_>> = text.split(',').map(|number| number.parse().ok()).collect();
        Self(numbers.and_then(|numbers| numbers.try_into().ok()))
    }
}
