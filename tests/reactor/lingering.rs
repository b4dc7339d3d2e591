//! Clients that go on sending after they were answered, and that are to see the answer.

use oxicorn::reactor::Config;

use crate::support::Client;
use crate::{config, mirror, serve};

const MIB: usize = 1024 * 1024;

/// Sends the head and ten MiB behind it, and only then reads.
fn upload(stream: &mut Client, head: &str) -> String {
    stream.send(head);
    let block = vec![b'x'; MIB];
    for _ in 0..10 {
        stream.send(&block);
    }
    stream.read_all()
}

// Gunicorn: P44
#[test]
fn a_client_that_uploads_before_it_reads_sees_why_it_is_refused() {
    let strict = config(|config| {
        config.settings.limit_request_body = 1000;
    });
    let serving = serve(strict, mirror);
    let length = "Content-Length: 10485760\r\n";
    let long = "x".repeat(10_000);
    for (fields, status) in [
        (length.to_owned(), "413"),
        (format!("{length}X: {long}\r\n"), "431"),
        (format!("{length}Expect: the-best\r\n"), "417"),
        (
            format!("{length}Transfer-Encoding: gzip, chunked\r\n"),
            "400",
        ),
        ("Transfer-Encoding: chunked\r\n\r\nA00000".to_owned(), "413"),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let answer = upload(&mut serving.connect(), &head);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[test]
fn a_client_that_uploads_before_it_reads_sees_an_early_answer() {
    let streaming = config(|config| {
        config.settings.stream_request_body = true;
    });
    let serving = serve(streaming, |_, reply| reply.text(200, "enough"));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10485760\r\n\r\n";
    let answer = upload(&mut serving.connect(), head);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("enough"));
}

const BAD: &[u8] = b"GET\r\n\r\n";

/// A client that has had its last answer.
fn answered(serving: &crate::Serving) -> Client {
    let mut stream = serving.connect();
    stream.send(BAD);
    assert!(stream.read_all().starts_with("HTTP/1.1 400 "));
    stream
}

#[test]
fn only_so_many_clients_are_read_on_and_of_the_others_64_kib() {
    let serving = serve(Config::default(), mirror);
    let mut lingering: Vec<Client> = (0..64).map(|_| answered(&serving)).collect();
    let mut last = answered(&serving);
    let block = [b'x'; 1024];
    let sent = (0..100_000).take_while(|_| last.try_send(block).is_ok());
    assert!(sent.count() < 100_000, "it is closed");
    for stream in &mut lingering {
        for _ in 0..100 {
            stream.send(block);
        }
        assert_eq!(stream.read_all(), "", "and not a reset");
    }
    // Those who leave make room for others.
    drop(lingering);
    let mut next = serving.connect();
    next.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    next.read_until("GET /next ");
    let mut again = answered(&serving);
    for _ in 0..1000 {
        again.send(block);
    }
}
