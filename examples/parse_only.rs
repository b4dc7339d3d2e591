//! The protocol alone: requests from the standard input, responses to the standard output, and no socket.
//!
//! `printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' | cargo run --example parse_only`. What it sees is told on the
//! standard error. Builds with `--no-default-features`.

use std::error::Error;
use std::io::{Read, Write, stdin, stdout};

use bytes::BytesMut;
use oxicorn::h1::{Conn, ConnConfig, Event, error_page};

/// Answers with the body's length.
fn answer(conn: &mut Conn, length: usize) -> Result<BytesMut, Box<dyn Error>> {
    let text = format!("{length} bytes\n");
    let mut out = BytesMut::new();
    let mut head = conn.begin(&mut out, 200, b"")?;
    head.field(b"content-type", b"text/plain")?;
    head.finish(Some(text.len() as u64))?;
    // A response to HEAD has no body: the frame knows how much of it is to be sent.
    let frame = conn.frame(text.len())?;
    out.extend_from_slice(&text.as_bytes()[..frame.take]);
    out.extend_from_slice(conn.finish()?);
    Ok(out)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut conn = Conn::server(ConnConfig::default());
    let mut buffer = [0; 4096];
    let mut length = 0;
    loop {
        let complete = match conn.next_event() {
            Ok(Event::NeedMore) => {
                match stdin().read(&mut buffer)? {
                    0 => conn.end_of_input(),
                    n => conn.receive(&buffer[..n]),
                }
                false
            }
            Ok(Event::Request(head)) => {
                eprintln!("{} {} {:?}", head.method(), head.path(), head.length());
                length = 0;
                head.length() == oxicorn::h1::BodyLength::Empty
            }
            Ok(Event::ExpectContinue) => {
                let mut out = BytesMut::new();
                conn.send_continue(&mut out);
                stdout().write_all(&out)?;
                false
            }
            Ok(Event::Data(data)) => {
                length += data.len();
                false
            }
            Ok(Event::EndOfBody) => true,
            Ok(Event::Closed(reason)) => {
                eprintln!("closed: {reason}");
                return Ok(());
            }
            Err(error) => {
                let mut out = BytesMut::new();
                let page = error_page(error.status(), &error.to_string());
                conn.refuse(&mut out, b"", &page)
                    .map_err(std::io::Error::other)?;
                stdout().write_all(&out)?;
                eprintln!("refused: {error}");
                false
            }
        };
        if complete {
            stdout().write_all(&answer(&mut conn, length)?)?;
        }
    }
}
