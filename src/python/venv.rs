//! Finds the virtual environment that the interpreter is to use.
//!
//! Python finds its packages by the place of its executable. That is, in this order: the one of the `venv` setting; the
//! one of `$VIRTUAL_ENV`; `python3` or `python` on `PATH`, if its folder belongs to a virtual environment.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::trace;

/// The version of Python that this crate was built with: `3.11.7`.
pub(super) const BUILT_WITH: &str = env!("OXICORN_PYTHON");

/// `(3, 11)` of `3.11.7` or `3.11.7.final.0`.
pub(super) fn minor_version(version: &str) -> Option<(u16, u16)> {
    let mut parts = version.trim().split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// The executable of the virtual environment to use; `None` where Python is to look for `python3` by itself.
///
/// # Errors
///
/// Where `venv` is no virtual environment, and where the one that was found belongs to another version of Python.
pub(super) fn find_executable(venv: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(folder) = venv {
        if !folder.is_dir() {
            return Err(Error::boot(format!(
                "there is no virtual environment {}: no such folder",
                folder.display()
            )));
        }
        return match read_venv(folder)? {
            Some(executable) => Ok(Some(executable)),
            None => Err(Error::boot(format!(
                "{} is not a virtual environment: it has no pyvenv.cfg",
                folder.display()
            ))),
        };
    }
    if let Some(folder) = env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty()) {
        let folder = Path::new(&folder);
        if let Some(executable) = read_venv(folder)? {
            return Ok(Some(executable));
        }
        trace::warning!(
            "VIRTUAL_ENV is {}, which is not a virtual environment",
            folder.display()
        );
    }
    let folders: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    for name in ["python3", "python"] {
        let found = folders.iter().find(|folder| folder.join(name).is_file());
        let Some(folder) = found.and_then(|bin| bin.parent()) else {
            continue;
        };
        if let Some(executable) = read_venv(folder)? {
            return Ok(Some(executable));
        }
    }
    Ok(None)
}

/// The executable of the virtual environment in `folder`; `None` if the folder is not one (PEP 405).
///
/// # Errors
///
/// Where it belongs to another version of Python: the interpreter would start without its packages, and not report it.
fn read_venv(folder: &Path) -> Result<Option<PathBuf>> {
    let Ok(config) = fs::read_to_string(folder.join("pyvenv.cfg")) else {
        return Ok(None);
    };
    if let Some(version) = version_of_venv(&config) {
        if minor_version(version).is_some_and(|found| Some(found) != minor_version(BUILT_WITH)) {
            return Err(Error::boot(format!(
                "the virtual environment {} is of Python {version}, but this program was built with \
                 Python {BUILT_WITH}: make one with that version, or build with PYO3_PYTHON={}",
                folder.display(),
                folder.join("bin/python").display(),
            )));
        }
    }
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    Ok(Some(absolute.join("bin/python")))
}

/// The version in a `pyvenv.cfg`: `version` of `venv`, `version_info` of `virtualenv` and `uv`.
fn version_of_venv(config: &str) -> Option<&str> {
    config
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| {
            let key = key.trim();
            key.eq_ignore_ascii_case("version") || key.eq_ignore_ascii_case("version_info")
        })
        .map(|(_, version)| version.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn venv(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pyvenv.cfg"), config).unwrap();
        folder
    }

    #[test]
    fn a_venv_of_another_version_is_refused_with_both_versions() {
        for config in [
            "home = /usr/bin\nversion = 3.2.1\n",
            "home = /usr\nversion_info = 3.2.1.final.0\n",
        ] {
            let folder = venv(config);
            let error = find_executable(Some(folder.path())).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("3.2.1") && text.contains(BUILT_WITH),
                "{text}"
            );
            assert_eq!(error.exit_code(), 3);
        }
    }

    #[test]
    fn a_venv_of_this_version_gives_its_executable() {
        let folder = venv(&format!("home = /usr/bin\nversion = {BUILT_WITH}\n"));
        assert_eq!(
            find_executable(Some(folder.path())).unwrap(),
            Some(folder.path().join("bin/python"))
        );
    }

    #[test]
    fn a_missing_venv_is_named() {
        let error = find_executable(Some(Path::new("/no/such/venv"))).unwrap_err();
        assert!(error.to_string().contains("/no/such/venv"));
        let folder = tempfile::tempdir().unwrap();
        let error = find_executable(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("pyvenv.cfg"));
    }
}
