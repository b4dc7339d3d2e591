//! The cost of writing a response: its head, field by field, and the framing of its body.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::Criterion;
use oxicorn::h1::{Conn, ConnConfig, Event};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PREAMBLE: &[u8] = b"Server: oxicorn\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
const BODY: &[u8] = b"Hello, World!";

type Field = (&'static [u8], &'static [u8]);

const PAGE: [Field; 12] = [
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Length", b"13"),
    (b"Vary", b"Cookie, Accept-Language"),
    (b"Content-Language", b"en"),
    (b"X-Frame-Options", b"DENY"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"same-origin"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (
        b"Cache-Control",
        b"max-age=0, no-cache, no-store, must-revalidate, private",
    ),
    (b"Expires", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (
        b"Set-Cookie",
        b"csrftoken=0123456789abcdef0123456789abcdef; Path=/; SameSite=Lax",
    ),
    (
        b"Set-Cookie",
        b"sessionid=fedcba9876543210; HttpOnly; Path=/; SameSite=Lax",
    ),
];

/// Answers one request with these fields, and with the blocks as its body.
fn answer(conn: &mut Conn, out: &mut BytesMut, fields: &[Field], blocks: usize) {
    conn.receive(REQUEST);
    match conn.next_event() {
        Ok(Event::Request(head)) => drop(conn.recycle(head)),
        event => panic!("{event:?}"),
    }
    out.clear();
    let mut head = conn.begin(out, 200, b"").expect("a response is due");
    head.preamble(PREAMBLE);
    for (name, value) in fields {
        head.field(name, value).expect("the field is valid");
    }
    head.finish(None).expect("the head is valid");
    for _ in 0..blocks {
        black_box(conn.frame(BODY.len()).expect("a body is open"));
    }
    black_box(conn.finish().expect("the body is complete"));
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("h1_encode");
    let cases: [(&str, &[Field], usize); 3] = [
        ("two fields", &PAGE[..2], 1),
        ("twelve fields", &PAGE, 1),
        ("sixteen chunks", &PAGE[..1], 16),
    ];
    for (name, fields, blocks) in cases {
        group.bench_function(name, |bencher| {
            let mut conn = Conn::server(ConnConfig::default());
            let mut out = BytesMut::with_capacity(2048);
            bencher.iter(|| answer(&mut conn, &mut out, fields, blocks));
        });
    }
    group.finish();
    criterion.final_summary();
}
