//! [`ReexecCommand`]: how the program is started anew; [`Predecessor`]: the arbiter that has started this one.
//!
//! Nothing is started before it is asked for, and this process's own environment is never changed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, iter};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::totals::{HandedTotals, TOTALS};
use crate::ipc::link::LinkEnd;
use crate::net::{Listeners, handover};
use crate::sys::identity::Identity;

/// The arbiter that has started this one: its process id, and the descriptor on which it listens.
const PREDECESSOR: &str = "OXICORN_PREDECESSOR";

/// A program with its arguments, its environment and its folder: what an upgrade executes.
///
/// The path of the program is not resolved through symbolic links, so that one which points to another release
/// by then leads there. The environment is that of the moment when this value is made.
///
/// ```
/// use oxicorn::arbiter::ReexecCommand;
///
/// // First of all in `main`, before the program changes its folder.
/// let exec = ReexecCommand::current();
/// # let _ = exec;
/// ```
#[derive(Clone, Debug)]
pub struct ReexecCommand {
    pub(super) program: PathBuf,
    /// With the name of the program.
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
}

impl ReexecCommand {
    /// This program, as it was called: to be made before the process changes its folder.
    #[must_use]
    pub fn current() -> Self {
        let arguments: Vec<OsString> = env::args_os().collect();
        let name = arguments.first().cloned().unwrap_or_default();
        let folder = folder();
        let path = env::var_os("PATH");
        let program = find(&name, &folder, path.as_deref())
            .or_else(|| env::current_exe().ok())
            .unwrap_or_else(|| name.into());
        Self {
            program,
            arguments,
            environment: env::vars_os().collect(),
            folder,
        }
    }

    /// Another program, without arguments. A name without a slash is looked for in `PATH`.
    ///
    /// It has to become the new arbiter by itself or by `exec`: a child that it starts is not waited for.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        let (name, folder) = (program.into(), folder());
        let path = env::var_os("PATH");
        let program = find(&name, &folder, path.as_deref());
        Self {
            program: program.unwrap_or_else(|| name.clone().into()),
            arguments: vec![name],
            environment: env::vars_os().collect(),
            folder,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds a variable to the environment, or gives it another value.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Becomes this program, in a child, with these listeners. It returns where that has failed.
    pub(super) fn exec_with(
        &self,
        me: u32,
        predecessor: i32,
        listeners: &Listeners,
        link: &LinkEnd,
        totals: &HandedTotals,
    ) -> io::Error {
        let listening = listeners.iter().map(|listener| listener.as_fd());
        let descriptors = iter::once(link.as_fd()).chain(totals.descriptor());
        for fd in listening.chain(descriptors) {
            if let Err(error) = keep_open(fd) {
                return error;
            }
        }
        let (name, arguments) = match self.arguments.split_first() {
            Some((name, arguments)) => (name.as_os_str(), arguments),
            None => (self.program.as_os_str(), &[] as &[OsString]),
        };
        let fd = link.as_fd().as_raw_fd();
        // systemd's watchdog looks after one process (sd_watchdog_enabled(3)): from now on also this one.
        let watched = self
            .environment
            .iter()
            .any(|(name, _)| name == "WATCHDOG_PID");
        let watched = watched.then(|| ("WATCHDOG_PID", me.to_string()));
        // Open until the program is executed.
        let tickets = handover::ticket_secret();
        let handed = tickets.as_ref().map(|file| file.as_raw_fd().to_string());
        Command::new(&self.program)
            .arg0(name)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(watched)
            .env(handover::FOR, me.to_string())
            .env(handover::LISTENERS, handover::text(listeners))
            .env(PREDECESSOR, format!("{predecessor} {fd}"))
            .env_remove(handover::TICKETS)
            .envs(handed.map(|number| (handover::TICKETS, number)))
            .envs(totals.text().map(|text| (TOTALS, text)))
            .current_dir(&self.folder)
            .exec()
    }
}

fn keep_open(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// The folder of this process, by the name that a shell gives it: `getcwd(3)` has resolved the link to a
/// release, and so would pin it.
fn folder() -> PathBuf {
    // Where it was removed, any will do.
    let real = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let named = env::var_os("PWD").map(PathBuf::from);
    let same = |named: &PathBuf| {
        let identity = |path: &Path| fs::metadata(path).ok().map(|facts| Identity::from(&facts));
        named.is_absolute() && identity(named) == identity(&real)
    };
    named.filter(same).unwrap_or(real)
}

/// Finds a program as `execvp(3)` does, and makes its path absolute.
fn find(name: &OsStr, folder: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    if name.as_encoded_bytes().contains(&b'/') {
        return Some(folder.join(name));
    }
    let runs = |file: &PathBuf| {
        let facts = fs::metadata(file);
        facts.is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
    };
    let folders = env::split_paths(path?);
    folders
        .map(|entry| folder.join(entry).join(name))
        .find(runs)
}

/// Whether another arbiter has started this process as the one that follows it: a program's `main` runs again
/// then, and is what its first run has made of it, a daemon for one.
#[must_use]
pub fn is_successor() -> bool {
    handover::variable(PREDECESSOR).is_some()
}

/// The arbiter that has started this one as its successor, until it is seen to have gone.
#[derive(Debug)]
pub(super) struct Predecessor {
    pub(super) pid: i32,
    pub(super) link: LinkEnd,
}

impl Predecessor {
    /// Finds it, once in a process.
    pub(super) fn find() -> Option<Self> {
        static ASKED: AtomicBool = AtomicBool::new(false);
        let text = handover::variable(PREDECESSOR)?;
        let (pid, fd) = text.split_once(' ')?;
        let (pid, fd) = (pid.parse().ok()?, fd.parse().ok()?);
        if ASKED.swap(true, Ordering::Relaxed) {
            return None;
        }
        let link = LinkEnd::inherited(fd)?;
        Some(Self { pid, link })
    }
}

impl AsFd for Predecessor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Gunicorn: G20
    #[test]
    fn a_program_is_found_by_its_path_without_following_links() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("sh");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        let in_folder = |name: &str| find(name.as_ref(), folder.path(), None);
        assert_eq!(in_folder("./sh"), Some(folder.path().join("./sh")));
        assert_eq!(in_folder("/bin/sh"), Some("/bin/sh".into()));
        assert_eq!(in_folder("sh"), None);
        assert_eq!(in_folder(""), None);
        let path = format!("/nowhere:{}:/bin", folder.path().display());
        let found = find("sh".as_ref(), Path::new("/"), Some(path.as_ref()));
        assert_eq!(found, Some(link));
    }

    #[test]
    fn this_program_is_started_as_it_was() {
        let exec = ReexecCommand::current();
        assert!(exec.program.is_absolute());
        assert_eq!(exec.arguments, env::args_os().collect::<Vec<_>>());
        let exec = ReexecCommand::new("/bin/true")
            .argument("-x")
            .variable("A", "1");
        assert_eq!(exec.arguments, ["/bin/true", "-x"]);
    }
}
