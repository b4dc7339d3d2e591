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
}

impl PidFile {
    /// Writes the file. One whose process is dead, or that holds no number, is replaced.
    ///
    /// # Errors
    ///
    /// Where the process it names is alive (`kill(2)` with signal 0 succeeds or says EPERM), or where it
    /// cannot be written.
    pub(crate) fn claim(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let alive = |pid: &i32| *pid != own_pid() && signal::exists(*pid);
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
        Ok(Self { path })
    }
}

impl PidFile {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
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
