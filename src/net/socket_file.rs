//! [`SocketFile`]: the file of a Unix socket, made, recognised and removed.
//!
//! It replaces only a socket without a listener, and removes only the file that it made.
//!
//! ```text
//!   lock ── bind ── path taken ──▶ not a socket, or answered: refused
//!            │                 └─▶ connection refused: dead, removed, bind again
//!            ▼
//!          chown, chmod ──▶ listen ──▶ unlock
//! ```
//!
//! The owner and the mode are set between bind and listen. Until then clients are refused, so that the
//! configured mode applies to all of them. A process that finds the file in that moment would take it for dead: so starts
//! take turns, by a lock that exists for that time only. Owner and mode are set on the very file that was made.
//!
//! *Invariants*: of servers that start at once one gets the path, and the others get an error; no other file's owner or
//! mode is changed.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::addr::BindAddress;
use super::error::{BindError, system};
use super::socket::length;
use crate::sys::identity::Identity;
use crate::sys::lock_file::LockFile;
use crate::sys::pinned::Pinned;

/// How often a path is tried at which another server is starting.
const TRIES: usize = 200;
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// The permissions of a Unix socket's file. A client needs the permission to write in order to connect (unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// The file's mode. Default: 0777, which lets all users connect.
    pub mode: u32,
    /// The numbers of the file's user and group; by default those of the process.
    pub owner: Option<(u32, u32)>,
}

impl Default for SocketAccess {
    fn default() -> Self {
        Self {
            mode: 0o777,
            owner: None,
        }
    }
}

impl SocketAccess {
    /// Applies it to a file that has no listener yet.
    fn apply(self, file: &Pinned) -> Result<(), (&'static str, io::Error)> {
        if let Some((uid, gid)) = self.owner {
            file.set_owner(uid, gid).map_err(|e| ("chown", e))?;
        }
        file.set_mode(self.mode).map_err(|e| ("chmod", e))
    }
}

/// A socket file that this process made, or the arbiter before it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    /// Absolute, since the process may change its folder.
    path: PathBuf,
    identity: Identity,
    /// Another file may be given the number of one that is gone.
    removed: AtomicBool,
}

impl SocketFile {
    /// The file of that identity, wherever it is now.
    pub(super) fn known(path: &Path, identity: Identity) -> io::Result<Self> {
        Ok(Self {
            path: std::path::absolute(path)?,
            identity,
            removed: AtomicBool::new(false),
        })
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether another one has its name.
    pub(crate) fn has_the_name_of(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// Removes the file, unless it is gone or another has taken its place. Only the first call does.
    pub(crate) fn remove(&self) {
        let ours = Identity::at(&self.path).is_ok_and(|found| found == self.identity);
        if self.removed.swap(true, Ordering::Relaxed) || !ours {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            crate::trace::warning!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Makes a listening socket with its file. Waits a moment for another server that starts there.
pub(super) fn bind(
    address: &BindAddress,
    path: &Path,
    backlog: u32,
    access: SocketAccess,
) -> Result<(Socket, SocketFile), BindError> {
    let call = |action| system(address, action);
    let target = SockAddr::unix(path).map_err(call("making a socket address"))?;
    let lock = lock(address, path)?;
    let bound = bind_alone(address, path, &target, backlog, access);
    if let Some(lock) = lock {
        lock.release();
    }
    bound
}

/// The lock of those that start at a path; `None` in a folder in which this process can make and remove nothing.
fn lock(address: &BindAddress, path: &Path) -> Result<Option<LockFile>, BindError> {
    for _ in 0..TRIES {
        match LockFile::take(path) {
            Ok(None) => thread::sleep(PAUSE),
            Ok(lock) => return Ok(lock),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EACCES | Errno::EROFS) => return Ok(None),
                _ => return Err(system(address, "locking it")(error)),
            },
        }
    }
    Err(in_use(address))
}

fn bind_alone(
    address: &BindAddress,
    path: &Path,
    target: &SockAddr,
    backlog: u32,
    access: SocketAccess,
) -> Result<(Socket, SocketFile), BindError> {
    let call = |action| system(address, action);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(call("socket"))?;
    socket.set_nonblocking(true).map_err(call("O_NONBLOCK"))?;
    if let Err(error) = socket.bind(target) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(call("bind")(error));
        }
        remove_dead(address, path, target)?;
        socket.bind(target).map_err(call("bind"))?;
    }
    let made = Pinned::new_socket(path).map_err(call("looking at its file"))?;
    let file = SocketFile::known(path, made.identity()).map_err(call("lstat"))?;
    let listening = access
        .apply(&made)
        .map_err(|(action, error)| call(action)(error))
        .and_then(|()| socket.listen(length(backlog)).map_err(call("listen")));
    match listening {
        Ok(()) => Ok((socket, file)),
        Err(error) => {
            file.remove();
            Err(error)
        }
    }
}

/// Removes a socket file that has no listener; anything else is left as it is.
fn remove_dead(address: &BindAddress, path: &Path, target: &SockAddr) -> Result<(), BindError> {
    let call = |action| system(address, action);
    let facts = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(call("lstat")(error)),
    };
    if !facts.file_type().is_socket() {
        return Err(BindError::NotASocket {
            address: address.to_string(),
        });
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(call("socket"))?;
    // A listener whose queue is full would keep a blocking connect waiting.
    probe.set_nonblocking(true).map_err(call("O_NONBLOCK"))?;
    match probe.connect(target) {
        Err(error) if error.raw_os_error() == Some(Errno::ECONNREFUSED as i32) => {
            crate::trace::info!("Replacing {address}: no process listens on it");
            fs::remove_file(path).map_err(call("unlink"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // EAGAIN: its queue is full. EPROTOTYPE: it is a datagram socket.
        Ok(()) => Err(in_use(address)),
        Err(error)
            if matches!(
                error.raw_os_error().map(Errno::from_raw),
                Some(Errno::EAGAIN | Errno::EPROTOTYPE)
            ) =>
        {
            Err(in_use(address))
        }
        Err(error) => Err(call("connect")(error)),
    }
}

fn in_use(address: &BindAddress) -> BindError {
    BindError::InUse {
        address: address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    fn bind_at(path: &Path) -> Result<(Socket, SocketFile), BindError> {
        bind(
            &BindAddress::Unix(path.to_path_buf()),
            path,
            16,
            SocketAccess::default(),
        )
    }

    #[test]
    fn a_dead_socket_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let (_socket, file) = bind_at(&path).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        file.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_live_socket_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let live = UnixListener::bind(&path).unwrap();
        let error = bind_at(&path).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(live);
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_alive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let target = SockAddr::unix(&path).unwrap();
        let live = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        live.bind(&target).unwrap();
        live.listen(0).unwrap();
        let mut clients = Vec::new();
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let outcome = client.connect(&target);
            clients.push(client);
            if outcome.is_err() {
                break;
            }
        }
        let error = bind_at(&path).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
    }

    #[test]
    fn a_datagram_socket_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _live = UnixDatagram::bind(&path).unwrap();
        let error = bind_at(&path).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn an_ordinary_file_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "precious").unwrap();
        let error = bind_at(&path).unwrap_err();
        assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_link_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        let error = bind_at(&path).unwrap_err();
        assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    // Gunicorn: G59
    #[test]
    fn the_file_has_the_mode_and_the_owner_that_were_said() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let own = fs::metadata(dir.path()).unwrap();
        let owner = if own.uid() == 0 {
            (7, 8)
        } else {
            (own.uid(), own.gid())
        };
        let access = SocketAccess {
            mode: 0o640,
            owner: Some(owner),
        };
        let address = BindAddress::Unix(path.clone());
        let _held = bind(&address, &path, 16, access).unwrap();
        let facts = fs::metadata(&path).unwrap();
        assert_eq!((facts.uid(), facts.gid()), owner);
        assert_eq!(facts.permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn of_servers_that_start_at_once_one_has_the_path() {
        for round in 0..40 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("s");
            if round % 2 == 0 {
                drop(UnixListener::bind(&path).unwrap());
            }
            let barrier = std::sync::Barrier::new(6);
            let start = || {
                barrier.wait();
                bind_at(&path)
            };
            let outcomes: Vec<_> = thread::scope(|scope| {
                let starts: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
                starts.into_iter().map(|it| it.join().unwrap()).collect()
            });
            let (have, have_not): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
            assert_eq!(have.len(), 1);
            for error in have_not.into_iter().map(Result::unwrap_err) {
                assert!(matches!(error, BindError::InUse { .. }), "{error}");
            }
            // The one that has it is the one that is found there.
            std::os::unix::net::UnixStream::connect(&path).unwrap();
            let (socket, file) = have.into_iter().next().unwrap().unwrap();
            assert!(socket.accept().is_ok());
            file.remove();
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_read_only_folder_is_an_error_and_its_live_socket_in_use() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _live = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
        let error = bind_at(&path).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no/s");
        let error = bind_at(&path).unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error_and_makes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = bind_at(&dir.path().join("x".repeat(200))).unwrap_err();
        assert!(matches!(error, BindError::System { .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_has_taken_the_place_of_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (_socket, file) = bind_at(&path).unwrap();
        // Renamed and not written anew: the inode of a removed file may come again at once.
        let other = dir.path().join("t");
        fs::write(&other, "theirs").unwrap();
        fs::rename(&other, &path).unwrap();
        file.remove();
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }
}
