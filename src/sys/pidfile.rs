//! The pid file: where others find the arbiter's process id, and a lock that says it is alive.
//!
//! It never claims a file that a living arbiter holds, and never removes one that is not ours any more.
//!
//! ```text
//!   lock the file beside it ── it was not free ──▶ "Already running on PID"
//!        │ it was free
//!        ▼
//!   temporary file, written ── rename(2) over the name ──▶ ours
//! ```
//!
//! The number alone would not do: after a crash it may be another program's. The lock ([`LockFile`]) ends with its
//! process, and is of a file that other users cannot open: the pid file itself is for everybody to read.
//!
//! *Invariants*: a reader sees a whole file or none; a process that replaces a file holds the lock, so of two starts one
//! wins; both files are gone when its [`PidFile`] is dropped, unless another process has written its number into the
//! first meanwhile. A forked child shares the lock: it drops its copy, which closes the descriptor and leaves the
//! files, since it is not their owner.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use tempfile::NamedTempFile;

use super::lock_file::{self, LockFile};
use crate::error::{Error, Result};

/// A pid file that holds this process's number.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// The name that it is to have, where another process still has that: this one.
    wanted: Option<(PathBuf, i32)>,
    /// The process that has claimed it: a child that is forked later has not.
    owner: i32,
    /// Until it is dropped.
    lock: Option<LockFile>,
}

impl PidFile {
    /// Writes the file. One that is not held is replaced, whatever is in it.
    ///
    /// # Errors
    ///
    /// Where a living process holds its lock, or where it cannot be written.
    pub(crate) fn claim(path: impl Into<PathBuf>) -> Result<Self> {
        Self::claim_after(path.into(), None)
    }

    /// The same, where it is known that process `gone` has ended: the system may not have closed its files yet.
    fn claim_after(path: PathBuf, gone: Option<i32>) -> Result<Self> {
        match place(&path, gone) {
            Ok(Placed::Ours(lock)) => Ok(Self {
                path,
                wanted: None,
                owner: own_pid(),
                lock: Some(lock),
            }),
            Ok(Placed::HeldBy(pid)) => {
                let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                let path = path.display();
                Err(Error::config(format!(
                    "Already running on PID {pid} (pid file {path})"
                )))
            }
            Err(error) => {
                let path = path.display();
                Err(Error::io(
                    format_args!("cannot write the pid file {path}"),
                    error,
                ))
            }
        }
    }

    /// Writes the file as `NAME.2`, beside that of process `before`, which this one is to follow.
    ///
    /// # Errors
    ///
    /// Those of [`claim`](Self::claim).
    pub(crate) fn claim_beside(path: impl Into<PathBuf>, before: i32) -> Result<Self> {
        let path = path.into();
        let mut file = Self::claim(beside(&path))?;
        file.wanted = Some((path, before));
        Ok(file)
    }

    /// Takes the name that it was to have: its holder has ended.
    ///
    /// # Errors
    ///
    /// Those of [`claim`](Self::claim): the file then stays where it is.
    pub(crate) fn promote(&mut self) -> Result<()> {
        if let Some((wanted, before)) = self.wanted.clone() {
            // The former file goes with its value, after the new one is there.
            *self = Self::claim_after(wanted, Some(before))?;
        }
        Ok(())
    }
}

impl PidFile {
    /// Removes the file beside this one if `pid` has left it there: a process that has been waited for, and that was
    /// killed if it could not do so itself.
    pub(crate) fn clear_beside(&self, pid: i32) {
        let beside = beside(&self.path);
        if read(&beside) == Some(pid) {
            // If they cannot be removed, the next one that is to follow replaces them.
            let _ = fs::remove_file(&beside);
            lock_file::clear(&beside);
        }
    }

    /// The name that it has, or is to have.
    pub(crate) fn path(&self) -> &Path {
        match &self.wanted {
            Some((wanted, _)) => wanted,
            None => &self.path,
        }
    }
}

impl PidFile {
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.lock.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.owner != own_pid() {
            return;
        }
        if read(&self.path) == Some(self.owner) {
            // If it cannot be removed, the next start finds that it is not held, and replaces it.
            let _ = fs::remove_file(&self.path);
        }
        if let Some(lock) = self.lock.take() {
            lock.release();
        }
    }
}

/// The name of the file of an arbiter that is to follow.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".2");
    name.into()
}

fn own_pid() -> i32 {
    Pid::this().as_raw()
}

fn read(path: &Path) -> Option<i32> {
    let pid = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

enum Placed {
    /// The file is there, and no other process can have it.
    Ours(LockFile),
    /// Another process has it; with the number in it, if that is one.
    HeldBy(Option<i32>),
}

/// Puts a file with our number where `path` says, unless a process other than `gone` holds the one that is there.
fn place(path: &Path, gone: Option<i32>) -> io::Result<Placed> {
    let mut lock = LockFile::take(path)?;
    if lock.is_none() {
        let holder = read(path);
        if holder.is_some() && holder == gone {
            lock_file::clear(path);
            lock = LockFile::take(path)?;
        }
    }
    let Some(lock) = lock else {
        return Ok(Placed::HeldBy(read(path)));
    };
    match replace(path) {
        Ok(()) => Ok(Placed::Ours(lock)),
        Err(error) => {
            lock.release();
            Err(error)
        }
    }
}

/// Puts a file with our number in the place of what is there, if that is a file.
fn replace(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        // Root could, and would take a device from the whole system.
        Ok(facts) if !facts.is_file() => {
            return Err(io::Error::other("it is not a regular file"));
        }
        // A link that leads nowhere.
        Err(error) if fs::symlink_metadata(path).is_ok() => return Err(error),
        _ => {}
    }
    prepare(path)?.persist(path)?;
    Ok(())
}

/// A file that is to be renamed, with our number in it.
fn prepare(path: &Path) -> io::Result<NamedTempFile> {
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
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

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

    // Gunicorn: G22
    #[test]
    fn a_successor_stands_beside_and_takes_the_name_when_it_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        let beside = directory.path().join("server.pid.2");
        let before = held(&path, "1\n");
        let mut file = PidFile::claim_beside(&path, 2).unwrap();
        assert_eq!(file.path(), path);
        assert_eq!(read(&beside), Some(own_pid()));
        assert!(file.promote().is_err());
        assert_eq!(read(&path), Some(1));
        // The process that was there before counts as gone, though its lock may be seen for a while.
        file.wanted = Some((path.clone(), 1));
        file.promote().unwrap();
        assert_eq!(read(&path), Some(own_pid()));
        assert!(!beside.exists());
        drop((file, before));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_a_successor_has_left_beside_is_cleared_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        let second = directory.path().join("server.pid.2");
        let file = PidFile::claim(&path).unwrap();
        file.clear_beside(7);
        fs::write(&second, "7\n").unwrap();
        file.clear_beside(8);
        assert!(second.exists());
        file.clear_beside(7);
        assert!(path.exists() && !second.exists());
    }

    /// A file that is held: a lock of flock(2) is that of an open file, not of a process.
    fn held(path: &Path, content: &str) -> LockFile {
        fs::write(path, content).unwrap();
        LockFile::take(path).unwrap().unwrap()
    }

    // Gunicorn: G64
    #[test]
    fn a_lock_on_the_file_that_everybody_can_read_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        fs::write(&path, "1\n").unwrap();
        let strangers = fs::File::open(&path).unwrap();
        // SAFETY: flock(2) takes a descriptor, which is open here, and touches no memory.
        let locked = unsafe { libc::flock(strangers.as_raw_fd(), libc::LOCK_EX) };
        assert_eq!(locked, 0);
        let _file = PidFile::claim(&path).unwrap();
        assert_eq!(read(&path), Some(own_pid()));
    }

    #[test]
    fn a_living_arbiter_keeps_its_pid_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        let _other = held(&path, "1\n");
        let error = PidFile::claim(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Already running on PID 1 (pid file {})", path.display())
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        // It and its lock.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_number_that_another_program_has_by_now_blocks_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        // Process 1 is alive, but holds no lock.
        fs::write(&path, "1\n").unwrap();
        let _file = PidFile::claim(&path).unwrap();
        assert_eq!(read(&path), Some(own_pid()));
    }

    // Gunicorn: G64
    #[test]
    fn of_starts_that_race_one_wins() {
        for content in [None, Some("1\n")] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("server.pid");
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let barrier = std::sync::Barrier::new(8);
            let claim = || {
                barrier.wait();
                PidFile::claim(&path)
            };
            let winners: Vec<PidFile> = std::thread::scope(|scope| {
                let starts: Vec<_> = (0..8).map(|_| scope.spawn(claim)).collect();
                let ends = starts.into_iter().map(|start| start.join().unwrap());
                ends.flatten().collect()
            });
            assert_eq!(winners.len(), 1, "{content:?}");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.pid");
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        let sentence = PidFile::claim(&path).unwrap_err().to_string();
        assert!(sentence.contains("No such file"), "{sentence}");
    }

    #[test]
    fn what_is_no_file_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("server.pid");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [&socket, &pipe, &directory.path().to_path_buf()] {
            let kind = fs::metadata(path).unwrap().file_type();
            assert!(PidFile::claim(path).is_err(), "{}", path.display());
            assert_eq!(fs::metadata(path).unwrap().file_type(), kind);
        }
        let sentence = PidFile::claim(&pipe).unwrap_err().to_string();
        assert!(sentence.ends_with("it is not a regular file"), "{sentence}");
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
