//! The pid file: where others find the arbiter's process id, and a lock that says it is alive.
//!
//! It never claims a file that a living arbiter holds, and never removes one that is not ours any more.
//!
//! ```text
//!   temporary file: locked, written ──▶ link(2) to the name ───────────────▶ ours
//!                                           │ EEXIST                            ▲
//!                                           ▼                                   │
//!                                       lock that file ── it was free ── rename(2) over it
//!                                           │ it was not
//!                                           ▼
//!                                       "Already running on PID"
//! ```
//!
//! The number alone would not do: after a crash it may be another program's. The lock is one of flock(2), which
//! ends with its process.
//!
//! *Invariants*: a reader sees a whole file or none; who replaces a file holds its lock, so of two starts one
//! wins; the file is gone when its [`PidFile`] is dropped, unless somebody else has written his number into it
//! meanwhile. A forked child shares the lock: it drops its copy, which closes the descriptor and leaves the file,
//! since the number is not its own.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Pid;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// How often a file may change hands while it is being claimed: more is a name that nobody can have, such as a
/// link which leads nowhere.
const ATTEMPTS: usize = 16;

/// A pid file that holds this process's number.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// The name that it is to have, where another process still has that: this one.
    wanted: Option<(PathBuf, i32)>,
    /// Locked while it is open, here or in a child.
    _lock: File,
}

impl PidFile {
    /// Writes the file. One that nobody holds is replaced, whatever is in it.
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
            Ok(Claim::Ours(lock)) => Ok(Self {
                path,
                wanted: None,
                _lock: lock,
            }),
            Ok(Claim::HeldBy(pid)) => {
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

    /// Takes the name that it was to have: whoever had it has ended.
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
            // If it cannot be removed, the next one that is to follow replaces it.
            let _ = fs::remove_file(beside);
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

impl Drop for PidFile {
    fn drop(&mut self) {
        if read(&self.path) == Some(own_pid()) {
            // If it cannot be removed, the next start finds a dead number in it, and replaces it.
            let _ = fs::remove_file(&self.path);
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

/// What became of a claim.
enum Claim {
    /// The file is there, and locked.
    Ours(File),
    /// Somebody else has it; with the number in it, if that is one.
    HeldBy(Option<i32>),
}

/// Puts a locked file with our number where `path` says, unless a process other than `gone` holds the one that
/// is there.
fn place(path: &Path, gone: Option<i32>) -> io::Result<Claim> {
    let mut ours = prepare(path)?;
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for _ in 0..ATTEMPTS {
        ours = match ours.persist_noclobber(path) {
            Ok(file) => return Ok(Claim::Ours(file)),
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => refused.file,
            Err(refused) => return Err(refused.error),
        };
        // Without waiting for a writer, should it be a pipe.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let theirs = match options.open(path) {
            Ok(theirs) => theirs,
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                outcome = Err(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        if !theirs.metadata()?.is_file() {
            // Root could, and would take a device from the whole system.
            return Err(io::Error::other("it is not a regular file"));
        }
        if !lock(&theirs)? {
            let holder = read(path);
            if holder.is_none() || holder != gone {
                return Ok(Claim::HeldBy(holder));
            }
        }
        // Locked or not, it may have been replaced before it was locked: then look at the new one.
        if is_at(&theirs, path) {
            return Ok(Claim::Ours(ours.persist(path)?));
        }
    }
    outcome
}

/// A file that is to be renamed: locked, and with our number in it.
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
    lock(file.as_file())?;
    writeln!(file, "{}", own_pid())?;
    // The umask has had its say; readers are promised 0644.
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// Whether the lock could be had; it is kept until the file is closed.
fn lock(file: &File) -> io::Result<bool> {
    // SAFETY: flock(2) takes a descriptor, which is open here, and touches no memory.
    let outcome = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    match Errno::result(outcome) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether this is the file that `path` leads to.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |facts: fs::Metadata| (facts.dev(), facts.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
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
        let before = held(&path, "1\n");
        let mut file = PidFile::claim_beside(&path, 2).unwrap();
        assert_eq!(file.path(), path);
        assert_eq!(read(&beside), Some(own_pid()));
        assert!(file.promote().is_err());
        assert_eq!(read(&path), Some(1));
        // Who was there before counts as gone, though its lock may be seen for a while.
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

    /// A file that somebody holds: a lock of flock(2) is that of an open file, not of a process.
    fn held(path: &Path, content: &str) -> File {
        fs::write(path, content).unwrap();
        let file = File::open(path).unwrap();
        assert!(lock(&file).unwrap());
        file
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
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
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
