//! Listening sockets before they are [`Listener`](super::Listener)s: made, or adopted from a predecessor.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::RawFd;
use std::thread;
use std::time::Duration;

use nix::sys::stat::SFlag;
use socket2::{Domain, SockAddr, Socket, Type};

use super::addr::BindAddress;
use super::error::{BindError, in_use_or_system, system};
use crate::sys::fd;

/// How often a TCP address that is in use is tried again.
const RETRIES: u32 = 5;
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

pub(super) fn bind_tcp(
    address: &BindAddress,
    target: SocketAddr,
    backlog: u32,
) -> Result<Socket, BindError> {
    let call = |action| in_use_or_system(address, action);
    let socket = tcp(address, target)?;
    socket.bind(&target.into()).map_err(call("bind"))?;
    // With SO_REUSEADDR two sockets can be bound to one port; the second to listen is refused.
    socket.listen(length(backlog)).map_err(call("listen"))?;
    Ok(socket)
}

/// Binds beside others of the same user that have done so (`SO_REUSEPORT`), without listening.
pub(super) fn bind_beside(address: &BindAddress, target: SocketAddr) -> Result<Socket, BindError> {
    let call = |action| in_use_or_system(address, action);
    let socket = tcp(address, target)?;
    socket.set_reuse_port(true).map_err(call("SO_REUSEPORT"))?;
    socket.bind(&target.into()).map_err(call("bind"))?;
    Ok(socket)
}

/// Listens at a name of the abstract namespace.
pub(super) fn bind_abstract(
    address: &BindAddress,
    name: &str,
    backlog: u32,
) -> Result<Socket, BindError> {
    let call = |action| in_use_or_system(address, action);
    let target = SockAddr::unix(format!("\0{name}")).map_err(call("making a socket address"))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(call("socket"))?;
    socket.set_nonblocking(true).map_err(call("O_NONBLOCK"))?;
    socket.bind(&target).map_err(call("bind"))?;
    socket.listen(length(backlog)).map_err(call("listen"))?;
    Ok(socket)
}

/// A socket that is bound to nothing yet.
fn tcp(address: &BindAddress, target: SocketAddr) -> Result<Socket, BindError> {
    let call = |action| system(address, action);
    let socket =
        Socket::new(Domain::for_address(target), Type::STREAM, None).map_err(call("socket"))?;
    socket
        .set_reuse_address(true)
        .map_err(call("SO_REUSEADDR"))?;
    socket.set_tcp_nodelay(true).map_err(call("TCP_NODELAY"))?;
    socket.set_nonblocking(true).map_err(call("O_NONBLOCK"))?;
    Ok(socket)
}

/// The address to bind for a host name: the first IPv4 one, or else the first.
pub(super) fn resolve(
    address: &BindAddress,
    host: &str,
    port: u16,
) -> Result<SocketAddr, BindError> {
    let failed = |source| BindError::Resolve {
        address: address.to_string(),
        source,
    };
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(failed)?.collect();
    found
        .iter()
        .find(|found| found.is_ipv4())
        .or(found.first())
        .copied()
        .ok_or_else(|| failed(io::Error::new(io::ErrorKind::NotFound, "it has no address")))
}

/// A backlog as `listen(2)` takes it.
pub(super) fn length(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

/// Tries again, [`RETRIES`] times, as long as the address is in use.
pub(super) fn retry<T>(
    address: &BindAddress,
    pause: Duration,
    mut attempt: impl FnMut() -> Result<T, BindError>,
) -> Result<T, BindError> {
    for round in 1..=RETRIES {
        match attempt() {
            Err(BindError::InUse { .. }) => {
                crate::trace::warning!(
                    "{address} is in use, trying again in {pause:?} ({round} of {RETRIES})"
                );
                thread::sleep(pause);
            }
            outcome => return outcome,
        }
    }
    attempt()
}

/// Makes a listening socket of an inherited descriptor, once.
pub(super) fn adopt_inherited(fd: RawFd, backlog: u32) -> Result<Socket, BindError> {
    let refuse = |reason| BindError::Inherited {
        address: BindAddress::Fd(fd).to_string(),
        reason,
    };
    let socket = Socket::from(fd::adopt(fd, SFlag::S_IFSOCK).map_err(refuse)?);
    let address = BindAddress::Fd(fd);
    let call = |action| system(&address, action);
    if socket.r#type().map_err(call("SO_TYPE"))? != Type::STREAM {
        return Err(refuse("it is not a stream socket"));
    }
    let local = socket.local_addr().map_err(call("getsockname"))?;
    if local.as_socket().is_some() {
        socket.set_tcp_nodelay(true).map_err(call("TCP_NODELAY"))?;
    } else if local.domain() != Domain::UNIX {
        return Err(refuse("it is neither a TCP nor a Unix socket"));
    }
    socket.set_nonblocking(true).map_err(call("O_NONBLOCK"))?;
    if !socket.is_listener().map_err(call("SO_ACCEPTCONN"))? {
        socket.listen(length(backlog)).map_err(call("listen"))?;
    }
    Ok(socket)
}
