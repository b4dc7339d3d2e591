//! The pid file: where others find the arbiter's process id.
//!
//! It never claims a file that a living process holds, and never removes one that is not ours any more.
//!
//! *Invariants*: a reader sees a whole file or none (it is renamed into place); the file is gone when its
//! [`PidFile`] is dropped, unless somebody else has written his number into it meanwhile.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::sys::signal;

/// A pid file that holds this process's number.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// The name that it is to have, where another process still has that: this one.
    wanted: Option<(PathBuf, i32)>,
}

impl PidFile {
    /// Writes the file. One whose process is dead, or that holds no number, is replaced.
    ///
    /// # Errors
    ///
    /// Where the process it names is alive (`kill(2)` with signal 0 succeeds or says EPERM), or where it
    /// cannot be written.
    pub(crate) fn claim(path: impl Into<PathBuf>) -> Result<Self> {
        Self::claim_after(path.into(), own_pid())
    }

    /// The same, where it is known that process `gone` has ended: nobody may have waited for it yet.
    fn claim_after(path: PathBuf, gone: i32) -> Result<Self> {
        let alive = |pid: &i32| ![own_pid(), gone].contains(pid) && signal::exists(*pid);
        if let Some(pid) = read(&path).filter(alive) {
            return Err(Error::config(format!(
                "Already running on PID {pid} (pid file {})",
                path.display()
            )));
        }
        write(&path).map_err(|error| {
            Error::io(
                format_args!("cannot write the pid file {}", path.display()),
                error,
            )
        })?;
        Ok(Self { path, wanted: None })
    }

    /// Writes the file as `NAME.2`, beside that of process `before`, which this one is to follow.
    ///
    /// # Errors
    ///
    /// Those of [`claim`](Self::claim).
    pub(crate) fn claim_beside(path: impl Into<PathBuf>, before: i32) -> Result<Self> {
        let path = path.into();
        let mut beside = path.clone().into_os_string();
        beside.push(".2");
        let mut file = Self::claim(beside)?;
        file.wanted = Some((path, before));
        Ok(file)
    }

    /// Takes the name that it was to have: whoever had it has ended.
    ///
    /// # Errors
    ///
    /// Those of [`claim`](Self::claim): the file then stays where it is.
    pub(crate) fn promote(&mut self) -> Result<()> {
        if let Some((wanted, before)) = self.wanted.clone() {
            // The former file goes with its value, after the new one is there.
            *self = Self::claim_after(wanted, before)?;
        }
        Ok(())
    }
}

impl PidFile {
    /// The name that it has, or is to have.
    pub(crate) fn path(&self) -> &Path {
        match &self.wanted {
            Some((wanted, _)) => wanted,
            None => &self.path,
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if read(&self.path) == Some(own_pid()) {
            // If it cannot be removed, the next start finds a dead number in it, and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn own_pid() -> i32 {
    Pid::this().as_raw()
}

fn read(path: &Path) -> Option<i32> {
    let pid = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

fn write(path: &Path) -> io::Result<()> {
    // rename(2) needs the same file system: hence the same directory.
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".pid-")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)?;
    writeln!(file, "{}", own_pid())?;
    // The umask has had its say; readers are promised 0644.
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_holds_our_number_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        let file = PidFile::claim(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", own_pid())
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_successor_stands_beside_and_takes_the_name_when_it_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        let beside = directory.path().join("server.pid.2");
        fs::write(&path, "1\n").unwrap();
        let mut file = PidFile::claim_beside(&path, 2).unwrap();
        assert_eq!(file.path(), path);
        assert_eq!(read(&beside), Some(own_pid()));
        assert!(file.promote().is_err());
        assert_eq!(read(&path), Some(1));
        // Who was there before counts as gone, though its process id may be seen for a while.
        file.wanted = Some((path.clone(), 1));
        file.promote().unwrap();
        assert_eq!(read(&path), Some(own_pid()));
        assert!(!beside.exists());
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_living_process_keeps_its_pid_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        fs::write(&path, "1\n").unwrap();
        let error = PidFile::claim(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Already running on PID 1 (pid file {})", path.display())
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn a_stale_or_meaningless_pid_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        for content in ["", "nonsense", "-1\n", "0\n", "2147483647\n"] {
            fs::write(&path, content).unwrap();
            let file = PidFile::claim(&path).unwrap();
            assert_eq!(read(&path), Some(own_pid()), "{content:?}");
            drop(file);
        }
    }

    #[test]
    fn a_pid_file_that_somebody_else_has_taken_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        let file = PidFile::claim(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_missing_directory_is_one_clear_error() {
        let error = PidFile::claim("/nowhere/at/all/server.pid").unwrap_err();
        let sentence = error.to_string();
        assert!(
            sentence
                .starts_with("cannot write the pid file /nowhere/at/all/server.pid: No such file"),
            "{sentence}"
        );
    }
}
