//! Whether what a client has sent has arrived at the server's end, without asking the server.

use std::fs;
use std::net::SocketAddr;

use super::{Client, eventually};

/// Waits until the system has something of this client for the server, which has not read it, nor perhaps accepted
/// the connection.
///
/// # Panics
///
/// Where nothing arrives.
pub(crate) fn await_arrival(client: &Client) {
    let socket = client.socket();
    let server = socket.peer_addr().unwrap();
    let ends = [server, socket.local_addr().unwrap()].map(in_proc);
    eventually("nothing arrives", || has_arrived(&ends).then_some(()));
}

/// An address as `/proc/net/tcp` writes it (proc(5)).
fn in_proc(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is none of IPv4");
    };
    let ip = u32::from_ne_bytes(address.ip().octets());
    format!("{ip:08X}:{:04X}", address.port())
}

/// Whether a socket of these ends, its own first, has something to be read.
fn has_arrived(ends: &[String; 2]) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1..3] == ends[..] && !fields[4].ends_with(":00000000")
    })
}
