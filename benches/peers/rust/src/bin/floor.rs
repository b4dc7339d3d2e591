//! The least that an answer can cost: one read and one write for each request, and no look at its bytes.
//! `floor ADDRESS`.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Result, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

/// Answers what has arrived; false where the client has gone.
fn answer(stream: &mut TcpStream, block: &mut [u8]) -> bool {
    match stream.read(block) {
        Ok(0) => false,
        // A request of a measuring client comes in one piece.
        Ok(_) => stream.write_all(ANSWER).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn main() -> Result<()> {
    let address = std::env::args().nth(1).expect("an address");
    let mut listener = TcpListener::bind(address.parse().expect("an address"))?;
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut clients, mut next, mut block) = (HashMap::new(), 1, [0; 65536]);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry()
                        .register(&mut stream, Token(next), Interest::READABLE)?;
                    clients.insert(Token(next), stream);
                    next += 1;
                }
                continue;
            }
            let is_there = |stream| answer(stream, &mut block);
            if !clients.get_mut(&event.token()).is_some_and(is_there) {
                clients.remove(&event.token());
            }
        }
    }
}
