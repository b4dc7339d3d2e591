//! [`Listener`]: one listening socket.
//!
//! A listener is made before the workers that have it are, and never read by the arbiter: so it belongs to no
//! `Poll`.
//! Each worker registers its descriptor with a poll of its own, made after the fork.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::{TcpListener, UnixListener};
use nix::sys::socket::{self, Shutdown};
use nix::sys::stat::fstat;
use socket2::{SockAddr, SockRef, Socket};

use super::addr::{BindAddress, unix_text};
use super::error::{BindError, system};
use super::handed_over::{self, HandedOver};
use super::reserved::Reserved;
use super::socket::{
    RETRY_PAUSE, adopt_inherited, bind_abstract, bind_beside, bind_tcp, length, resolve, retry,
};
use super::socket_file::{self, SocketAccess, SocketFile};
use super::stream::Stream;
use crate::sys::socket as socket_facts;

/// How many connections the system keeps for a listener until they are accepted, unless a setting says
/// otherwise (`listen(2)`; the system may have a lower bound of its own).
pub const DEFAULT_BACKLOG: u32 = 2048;

/// A listening socket: non-blocking, closed on `exec`.
///
/// To wait for connections, register its descriptor with a poll.
#[derive(Debug)]
pub struct Listener {
    inner: Inner,
    inode: u64,
    /// As what; `None` where a service manager has opened it.
    opened: Option<BindAddress>,
    /// How a service manager calls it.
    name: Option<String>,
    /// Whether another arbiter has it as well.
    shared: AtomicBool,
    /// Whether clients speak TLS to it, as texts for people say.
    encrypted: AtomicBool,
    /// Whether each worker has a queue of its own for it.
    reuse: Reuse,
}

/// What a listener is among those of one address (`SO_REUSEPORT`, socket(7)).
#[derive(Debug)]
enum Reuse {
    /// The only one, which all share.
    Shared,
    /// The arbiter's: bound, so that the address is known and had, and never listening.
    Reserved(Reserved<Listener>),
    /// One worker's, and for a while that of the one which takes its place: listening, with a queue so long,
    /// from [`Listener::open_queue`] on.
    Own(u32),
}

#[derive(Debug)]
enum Inner {
    Tcp {
        socket: TcpListener,
        address: SocketAddr,
    },
    Unix {
        socket: UnixListener,
        name: UnixName,
        file: Option<Arc<SocketFile>>,
    },
}

/// Where a client finds a Unix socket.
#[derive(Debug)]
enum UnixName {
    Path(PathBuf),
    Abstract(String),
    /// It is bound to nothing, as one that was inherited may be.
    Unnamed,
}

impl UnixName {
    fn of(address: &SockAddr) -> Self {
        if let Some(path) = address.as_pathname() {
            return Self::Path(path.to_path_buf());
        }
        match address.as_abstract_namespace() {
            Some(name) => Self::Abstract(String::from_utf8_lossy(name).into_owned()),
            None => Self::Unnamed,
        }
    }
}

impl Listener {
    /// Opens a listening socket.
    ///
    /// TCP: `SO_REUSEADDR` and `TCP_NODELAY`, which accepted sockets inherit. A host name that has IPv4
    /// addresses is bound to the first of them. An address that is in use is tried again five times, a
    /// second apart, with a log line each: this call then blocks.
    ///
    /// Unix: a socket file without a listener is replaced. The new file's mode is 0777, independent of the
    /// process's umask: access is controlled by the folder. An abstract socket is open to all processes in the
    /// same network namespace (unix(7)), has nothing to replace or remove, and is tried again as a TCP address
    /// is.
    ///
    /// An inherited descriptor ([`BindAddress::Fd`]) is made to listen if it does not yet. A process can
    /// take each of them once.
    ///
    /// Where another arbiter has started this process as its successor, the sockets that it listens on are
    /// taken from it, in place of opening their addresses again.
    ///
    /// # Errors
    ///
    /// [`BindError`], at once for everything but a TCP address or an abstract name in use. A Unix socket that
    /// a server listens on and any other file at the path are left untouched.
    pub fn bind(address: &BindAddress, backlog: u32) -> Result<Self, BindError> {
        Self::bind_for(address, backlog, SocketAccess::default())
    }

    /// The same, with the owner and the mode of a Unix socket's file.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn bind_for(
        address: &BindAddress,
        backlog: u32,
        access: SocketAccess,
    ) -> Result<Self, BindError> {
        if let Some(waiting) = handed_over::claim(address) {
            return Self::succeed(&waiting, address, backlog);
        }
        let mut listener = match address {
            BindAddress::Tcp { host, port } => {
                let target = resolve(address, host, *port)?;
                let socket = retry(address, RETRY_PAUSE, || bind_tcp(address, target, backlog))?;
                Self::wrap(address, socket)?
            }
            BindAddress::Unix(path) => {
                let (socket, file) = socket_file::bind(address, path, backlog, access)?;
                Self::adopt(socket, Some(file)).map_err(system(address, "getsockname"))?
            }
            BindAddress::Abstract(name) => {
                let socket = retry(address, RETRY_PAUSE, || {
                    bind_abstract(address, name, backlog)
                })?;
                Self::wrap(address, socket)?
            }
            BindAddress::Fd(fd) => Self::inherit(*fd, backlog)?,
        };
        listener.opened = Some(address.clone());
        Ok(listener)
    }

    /// Has the address without listening on it, for workers that each have [a queue of their
    /// own](Self::for_queue). It is about TCP: anything else is [bound](Self::bind_for), and shared, as is a
    /// socket that another arbiter hands over, unless it is one of such queues.
    pub(crate) fn reserve(
        address: &BindAddress,
        backlog: u32,
        access: SocketAccess,
    ) -> Result<Self, BindError> {
        let BindAddress::Tcp { host, port } = address else {
            return Self::bind_for(address, backlog, access);
        };
        let mut queues = Vec::new();
        while let Some(waiting) = handed_over::claim(address) {
            let listener = Self::succeed(&waiting, address, backlog)?;
            let reuses = SockRef::from(&listener).reuse_port();
            if !reuses.map_err(system(address, "SO_REUSEPORT"))? {
                return Ok(listener);
            }
            let reuse = Reuse::Own(backlog);
            queues.push(Arc::new(Self { reuse, ..listener }));
        }
        let target = match queues.first().and_then(|queue| queue.socket_addr()) {
            Some(target) => target,
            None => resolve(address, host, *port)?,
        };
        let socket = retry(address, RETRY_PAUSE, || bind_beside(address, target))?;
        let mut listener = Self::wrap(address, socket)?;
        listener.opened = Some(address.clone());
        listener.set_shared(!queues.is_empty());
        listener.reuse = Reuse::Reserved(Reserved::new(backlog, queues));
        Ok(listener)
    }

    /// What a worker is to have of a reserved address: the queue of its post; `None` where all share this one.
    /// To be called by the arbiter: the system wants one user for all the sockets of an address, and what the
    /// arbiter holds passes from worker to worker.
    pub(crate) fn for_queue(&self, post: usize) -> Option<Result<Arc<Self>, BindError>> {
        let (Reuse::Reserved(reserved), Some(at)) = (&self.reuse, self.socket_addr()) else {
            return None;
        };
        Some(reserved.queue(post, || {
            let address = BindAddress::Tcp {
                host: at.ip().to_string(),
                port: at.port(),
            };
            let listener = Self::wrap(&address, bind_beside(&address, at)?)?;
            Ok(Self {
                opened: self.opened.clone(),
                reuse: Reuse::Own(reserved.backlog),
                ..listener
            })
        }))
    }

    /// Keeps, if it was one of this address, the queue of a worker that has gone without being asked to.
    pub(crate) fn take_back(&self, queue: &Arc<Self>) {
        if let Reuse::Reserved(reserved) = &self.reuse {
            if self.socket_addr() == queue.socket_addr() {
                reserved.take_back(queue);
            }
        }
    }

    /// Closes the queues of this address that no worker has.
    pub(crate) fn close_free_queues(&self) {
        if let Reuse::Reserved(reserved) = &self.reuse {
            reserved.close_free();
        }
    }

    /// Starts to listen on a worker's own queue, once the worker is ready: no client waits for a worker that boots.
    pub(crate) fn open_queue(&self) {
        if let Reuse::Own(backlog) = self.reuse {
            if let Err(error) = SockRef::from(self).listen(length(backlog)) {
                crate::trace::error!("cannot listen on {self}: {error}");
            }
        }
    }

    /// Whether no other worker takes connections from it, but one that takes this one's place.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.reuse, Reuse::Own(_))
    }

    /// Whether connections come to it: not where it only has an address, or no worker has opened its queue yet.
    pub(super) fn is_listening(&self) -> bool {
        SockRef::from(self).is_listener().unwrap_or(false)
    }

    /// Takes the socket that another arbiter has opened as `address`, and has still.
    fn succeed(
        waiting: &HandedOver,
        address: &BindAddress,
        backlog: u32,
    ) -> Result<Self, BindError> {
        let mut listener = Self::inherit(waiting.fd, backlog)?;
        if let Inner::Unix { file, .. } = &mut listener.inner {
            *file = waiting.file().map(Arc::new);
        }
        listener.opened = Some(address.clone());
        listener.set_shared(true);
        crate::trace::info!("Taking over {listener}");
        Ok(listener)
    }

    /// Makes a listener of an inherited descriptor, once.
    pub(super) fn inherit(fd: RawFd, backlog: u32) -> Result<Self, BindError> {
        Self::wrap(&BindAddress::Fd(fd), adopt_inherited(fd, backlog)?)
    }

    /// Wraps a socket that has this address and is non-blocking.
    fn wrap(address: &BindAddress, socket: Socket) -> Result<Self, BindError> {
        Self::adopt(socket, None).map_err(system(address, "getsockname"))
    }

    /// Wraps a socket that is non-blocking.
    fn adopt(socket: Socket, file: Option<SocketFile>) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let owned = OwnedFd::from(socket);
        let inode = fstat(&owned)?.st_ino;
        let inner = match local.as_socket() {
            Some(address) => Inner::Tcp {
                socket: owned.into(),
                address,
            },
            None => Inner::Unix {
                socket: owned.into(),
                name: UnixName::of(&local),
                file: file.map(Arc::new),
            },
        };
        Ok(Self {
            inner,
            inode,
            opened: None,
            name: None,
            shared: AtomicBool::new(false),
            encrypted: AtomicBool::new(false),
            reuse: Reuse::Shared,
        })
    }

    /// Accepts one connection, already non-blocking and closed on `exec` (one `accept4(2)`), with the
    /// client's address: `None` over a Unix socket.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if none waits; otherwise those of `accept(2)`: `ECONNABORTED` concerns one client,
    /// `EMFILE` and its like the process.
    pub fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match &self.inner {
            Inner::Tcp { socket, .. } => {
                let (stream, peer) = socket.accept()?;
                Ok((Stream::adopt(stream), Some(peer)))
            }
            Inner::Unix { socket, .. } => {
                let (stream, _) = socket.accept()?;
                Ok((Stream::adopt(stream), None))
            }
        }
    }

    /// How many connections wait to be accepted; `None` where the system does not tell, as over a Unix socket.
    pub(crate) fn waiting(&self) -> Option<usize> {
        socket_facts::waiting(self)
    }

    /// By which the system knows the socket.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// The address that a TCP listener has got: with the port that the system chose, if it did.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match &self.inner {
            Inner::Tcp { address, .. } => Some(*address),
            Inner::Unix { .. } => None,
        }
    }

    /// The path that a Unix listener is bound to, as it was given.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        match &self.inner {
            Inner::Unix {
                name: UnixName::Path(path),
                ..
            } => Some(path),
            _ => None,
        }
    }

    /// The name that a service manager gave it, to tell several apart (`LISTEN_FDNAMES`; systemd's
    /// `FileDescriptorName=`, which is the socket unit's name where none is written).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn set_name(&mut self, name: Option<String>) {
        self.name = name;
    }

    /// Whether this socket, which was open already, is the one that `address` is about.
    pub(crate) fn is_at(&self, address: &BindAddress) -> bool {
        let full = |path: &Path| std::path::absolute(path).ok();
        match (address, &self.inner) {
            (BindAddress::Fd(fd), _) => self.as_fd().as_raw_fd() == *fd,
            (BindAddress::Tcp { host, port }, Inner::Tcp { address: at, .. }) => {
                resolve(address, host, *port).is_ok_and(|wanted| wanted == *at)
            }
            (BindAddress::Unix(path), Inner::Unix { .. }) => {
                self.unix_path().is_some_and(|at| full(at) == full(path))
            }
            (BindAddress::Abstract(name), Inner::Unix { name: at, .. }) => {
                matches!(at, UnixName::Abstract(at) if at == name)
            }
            _ => false,
        }
    }

    /// What it was opened as; `None` where a service manager has opened it.
    pub(crate) fn opened(&self) -> Option<&BindAddress> {
        self.opened.as_ref()
    }

    /// Whether another process, which is no worker of ours, may have it as well.
    pub(crate) fn is_shared(&self) -> bool {
        let foreign = matches!(self.opened, None | Some(BindAddress::Fd(_)));
        foreign || self.shared.load(Ordering::Relaxed)
    }

    /// Notes that clients speak TLS to it, or do not.
    pub(crate) fn set_encrypted(&self, encrypted: bool) {
        self.encrypted.store(encrypted, Ordering::Relaxed);
    }

    /// Says whether another arbiter has it as well: its socket file then stays.
    pub(crate) fn set_shared(&self, shared: bool) {
        self.shared.store(shared, Ordering::Relaxed);
    }

    /// Has new connections refused in all processes that share this socket. Those in its queue are lost, so it should be
    /// empty (`shutdown(2)` ends the listening itself).
    pub(crate) fn refuse(&self) {
        // One that another worker has ended already is ENOTCONN.
        let _ = socket::shutdown(self.as_fd().as_raw_fd(), Shutdown::Read);
    }

    /// The socket file, if this listener made one.
    pub(crate) fn file(&self) -> Option<&Arc<SocketFile>> {
        match &self.inner {
            Inner::Tcp { .. } => None,
            Inner::Unix { file, .. } => file.as_ref(),
        }
    }
}

impl fmt::Display for Listener {
    /// Where a client finds it: `http://127.0.0.1:8000`, `https://127.0.0.1:8443`, `unix:/run/x.sock`, `unix:@shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Inner::Tcp { address, .. } if self.encrypted.load(Ordering::Relaxed) => {
                write!(f, "https://{address}")
            }
            Inner::Tcp { address, .. } => write!(f, "http://{address}"),
            Inner::Unix { name, .. } => match name {
                UnixName::Path(path) => unix_text(f, path),
                UnixName::Abstract(name) => write!(f, "unix:@{name}"),
                UnixName::Unnamed => f.write_str("unix:"),
            },
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.inner {
            Inner::Tcp { socket, .. } => socket.as_fd(),
            Inner::Unix { socket, .. } => socket.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests;
