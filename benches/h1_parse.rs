//! The cost of reading requests: heads, bodies, and the smallest response that lets the next request come.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use oxicorn::h1::{BodyLength, Conn, ConnConfig, Event};

const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

const BROWSER: &[u8] = b"GET /shop/cart?item=42 HTTP/1.1\r\n\
    Host: shop.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Cookie: csrftoken=0123456789abcdef0123456789abcdef; sessionid=fedcba9876543210\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Cache-Control: max-age=0\r\n\r\n";

const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhello\r\n6\r\n world\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";

/// Serves all requests that are in `bytes`, with an empty response each, and returns their number.
fn serve(conn: &mut Conn, out: &mut BytesMut, bytes: &[u8]) -> usize {
    let mut requests = 0;
    conn.receive(bytes);
    loop {
        let complete = match conn.next_event().expect("the requests are valid") {
            Event::Request(head) => {
                let complete = head.length() == BodyLength::Empty;
                conn.recycle(black_box(head));
                complete
            }
            Event::EndOfBody => true,
            Event::NeedMore => return requests,
            event => {
                black_box(event);
                false
            }
        };
        if complete {
            out.clear();
            let head = conn.begin(out, 204, b"").expect("a response is due");
            head.finish(None).expect("the head is valid");
            conn.finish().expect("there is no body");
            requests += 1;
        }
    }
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("h1_parse/request");
    let pipelined = SMALL.repeat(16);
    let cases: [(&str, &[u8], u64); 4] = [
        ("small", SMALL, 1),
        ("browser", BROWSER, 1),
        ("chunked", CHUNKED, 1),
        ("pipelined", &pipelined, 16),
    ];
    for (name, bytes, count) in cases {
        group.throughput(Throughput::Elements(count));
        group.bench_function(name, |b| {
            let mut conn = Conn::server(ConnConfig::default());
            let mut out = BytesMut::with_capacity(1024);
            b.iter(|| assert_eq!(serve(&mut conn, &mut out, bytes) as u64, count));
        });
    }
}

/// Reads a head alone, up to its event, and gives its memory back.
fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("h1_parse/head");
    for (name, bytes) in [("small", SMALL), ("browser", BROWSER)] {
        group.bench_function(name, |b| {
            let mut spare = None;
            b.iter(|| {
                let mut conn = Conn::server(ConnConfig::default());
                if let Some(head) = spare.take() {
                    conn.recycle(head);
                }
                conn.receive(bytes);
                match conn.next_event() {
                    Ok(Event::Request(head)) => spare = Some(head),
                    event => panic!("{event:?}"),
                }
            });
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    heads(&mut criterion);
    criterion.final_summary();
}
