//! How many connections wait for listening sockets of other processes, by the kernel's own account (`sock_diag(7)`).
//!
//! It needs no descriptor of the sockets: they are known by their inodes. It changes nothing about one, and waits for
//! nothing.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};

/// The message type of a request and of each answer.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// Asks for all sockets, not for one.
const NLM_F_DUMP: u16 = 0x300;
/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;

const IPPROTO_TCP: u8 = 6;
/// The set of states that has `TCP_LISTEN` alone.
const LISTENING: u32 = 1 << 10;
/// The length of `struct inet_diag_sockid`, which is zero where any socket is meant.
const SOCKET_ID: usize = 48;
/// Where `struct inet_diag_msg` has the queue's length and the inode.
const INET_RQUEUE: usize = 56;
const INET_INODE: usize = 68;

/// Asks for the lengths of the queues, which come as the attribute of that number.
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;
/// The length of `struct unix_diag_msg`, behind which the attributes are, and where it has the state.
const UNIX_MSG: usize = 16;
const UNIX_STATE: usize = 2;
const TCP_LISTEN: u8 = 10;

/// A cookie that every socket answers to.
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// What is read at once, and how often: enough for a hundred thousand sockets that listen.
const BUFFER: usize = 32 * 1024;
const READS: usize = 512;

/// The lengths of the queues of those sockets with these inodes that listen; without those of which the system does not
/// tell: it may lack the interface, or forbid it, or have the socket in another network namespace.
pub(crate) fn waiting(inodes: &[u64]) -> BTreeMap<u64, u32> {
    // The system tells the lower half of each.
    let mut wanted: BTreeMap<u32, u64> = inodes.iter().map(|it| (*it as u32, *it)).collect();
    let mut found = BTreeMap::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        let (kind, states) = ([family, IPPROTO_TCP, 0, 0], LISTENING.to_ne_bytes());
        let request = [&kind[..], &states, &[0; SOCKET_ID]].concat();
        let Some(query) = Query::open().filter(|_| !wanted.is_empty()) else {
            return found;
        };
        query.ask(NLM_F_DUMP, &request, |message| {
            let inode = u32_at(message, INET_INODE).and_then(|it| wanted.remove(&it));
            found.extend(inode.zip(u32_at(message, INET_RQUEUE)));
            !wanted.is_empty()
        });
    }
    let Some(query) = Query::open() else {
        return found;
    };
    for (short, inode) in wanted {
        let numbers = [0, short, UDIAG_SHOW_RQLEN].map(u32::to_ne_bytes).concat();
        let family = [libc::AF_UNIX as u8, 0, 0, 0];
        let request = [&family[..], &numbers, &ANY_COOKIE].concat();
        query.ask(0, &request, |message| {
            found.extend(unix_queue(message).map(|length| (inode, length)));
            false
        });
    }
    found
}

/// The length of the queue of a Unix socket that listens.
fn unix_queue(message: &[u8]) -> Option<u32> {
    if *message.get(UNIX_STATE)? != TCP_LISTEN {
        return None;
    }
    let mut rest = message.get(UNIX_MSG..)?;
    loop {
        let (length, kind) = (u16_at(rest, 0)?, u16_at(rest, 2)?);
        if kind == UNIX_DIAG_RQLEN {
            return u32_at(rest, 4);
        }
        rest = rest.get(aligned(usize::from(length).max(4))..)?;
    }
}

/// A socket that questions are sent over.
struct Query(OwnedFd);

impl Query {
    fn open() -> Option<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkSockDiag;
        let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol);
        socket.ok().map(Self)
    }

    /// Sends a request, and gives each answer to `take` until that wants no more.
    fn ask(&self, flags: u16, request: &[u8], mut take: impl FnMut(&[u8]) -> bool) {
        let length = (HEADER + request.len()) as u32;
        let words = [SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | flags];
        let words = words.map(u16::to_ne_bytes).concat();
        let message = [&length.to_ne_bytes(), &words[..], &[0; 8], request].concat();
        let fd = self.0.as_raw_fd();
        if socket::send(fd, &message, MsgFlags::empty()).is_err() {
            return;
        }
        let mut buffer = vec![0; BUFFER];
        for _ in 0..READS {
            // The system makes its answers in the calls themselves: there is one, or there will be none.
            let Ok(received) = socket::recv(fd, &mut buffer, MsgFlags::empty()) else {
                return;
            };
            let mut rest = &buffer[..received];
            while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
                let message = rest.get(HEADER..length as usize);
                // Another kind is the end, or an error.
                let answer = message.filter(|_| kind == SOCK_DIAG_BY_FAMILY);
                if !answer.is_some_and(&mut take) {
                    return;
                }
                rest = rest.get(aligned(length as usize)..).unwrap_or_default();
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

/// Messages and attributes begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use nix::sys::stat::fstat;

    fn inode(socket: impl AsFd) -> u64 {
        fstat(socket).unwrap().st_ino
    }

    #[test]
    fn queues_of_all_kinds_of_listeners_are_told() {
        let tcp = ["127.0.0.1:0", "[::1]:0"].map(|it| TcpListener::bind(it).ok());
        let tcp: Vec<_> = tcp.into_iter().flatten().collect();
        let name = format!("oxicorn-test-{}", std::process::id());
        let name = SocketAddr::from_abstract_name(name).unwrap();
        let unix = UnixListener::bind_addr(&name).unwrap();
        let to_tcp = tcp
            .iter()
            .map(|it| TcpStream::connect(it.local_addr().unwrap()).unwrap());
        let to_tcp: Vec<_> = to_tcp.collect();
        let to_unix = [(); 3].map(|()| UnixStream::connect_addr(&name).unwrap());
        let mut inodes: Vec<_> = tcp.iter().map(inode).collect();
        inodes.push(inode(&unix));
        let found = waiting(&inodes);
        let mut lengths = vec![1; tcp.len()];
        lengths.push(3);
        let wanted: BTreeMap<_, _> = inodes.into_iter().zip(lengths).collect();
        assert_eq!(found, wanted);
        // Sockets that do not listen have no such queue.
        let inodes = [inode(&to_tcp[0]), inode(&to_unix[0]), u64::MAX];
        assert_eq!(waiting(&inodes), BTreeMap::new());
        assert_eq!(waiting(&[]), BTreeMap::new());
    }

    #[test]
    fn attributes_are_read_to_the_one_that_counts_and_no_further() {
        let mut message = vec![1, 1, TCP_LISTEN, 0];
        message.extend([0; 12]);
        message.extend([5, 0, 9, 0, 7, 0, 0, 0]);
        message.extend([12, 0, 4, 0, 6, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(unix_queue(&message), Some(6));
        for end in 0..message.len() - 4 {
            assert_eq!(unix_queue(&message[..end]), None, "{end}");
        }
        message[UNIX_STATE] = 1;
        assert_eq!(unix_queue(&message), None);
    }
}
