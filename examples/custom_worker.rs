//! A pre-fork server without HTTP: its workers share a UDP socket, and turn each datagram around.
//!
//! ```sh
//! cargo run --example custom_worker
//! echo desserts | nc -u -w1 127.0.0.1 9000
//! ```
//!
//! Kill a worker, and it is replaced; send the arbiter TTIN, TTOU, TERM or INT.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use oxicorn::time::MonoTime;
use oxicorn::worker::Shutdown;
use oxicorn::{Arbiter, Result, WorkerContext};

fn main() -> Result<()> {
    // Opened before the first fork, so that all workers have it.
    let socket = UdpSocket::bind("127.0.0.1:9000")?;
    socket.set_nonblocking(true)?;
    Arbiter::builder(move |context: &WorkerContext| turn_around(&socket, context))
        .workers(2)
        .observe(|phase, _| println!("{phase:?}"))
        .build()?
        .run()
}

fn turn_around(socket: &UdpSocket, context: &WorkerContext) -> Result<()> {
    // Made after the fork: processes must not share an epoll set.
    let mut poll = Poll::new()?;
    for fd in [socket.as_raw_fd(), context.wake().as_raw_fd()] {
        poll.registry()
            .register(&mut SourceFd(&fd), Token(0), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(8);
    let mut datagram = vec![0; 65_536];
    context.ready();
    while context.shutdown() == Shutdown::Running {
        context.beat(MonoTime::now());
        // A signal interrupts it, and that is as good a reason to go round as any.
        let _ = poll.poll(&mut events, context.beat_every());
        while let Ok((length, peer)) = socket.recv_from(&mut datagram) {
            let text = &mut datagram[..length];
            text.reverse();
            let _ = socket.send_to(text, peer);
        }
    }
    Ok(())
}
