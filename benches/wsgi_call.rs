//! The whole of a WSGI call without a socket: environ, application, `start_response`, response.

mod support;

use bytes::Bytes;
use criterion::Criterion;
use oxicorn::{Body, Service};

use support::{BROWSER, Bench, head};

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wsgi_call");
    let plain = head("GET", "/", &BROWSER[..1]);
    let browser = head("GET", "/cart/items?page=2", &BROWSER);
    let upload = head(
        "POST",
        "/",
        &[("Host", "shop.example"), ("Content-Length", "4096")],
    );
    let body = Bytes::from(vec![b'x'; 4096]);

    for (case, name, head) in [
        ("hello", "hello", &plain),
        ("hello, as a browser asks", "hello", &browser),
        ("nothing", "nothing", &plain),
        ("generator of two blocks", "generator", &plain),
    ] {
        let bench = Bench::new(name);
        bench.application.runtime().unwrap().enter(&mut || {
            group.bench_function(case, |timer| {
                timer.iter(|| bench.call(head, Body::empty()));
            });
        });
    }
    let bench = Bench::new("echo");
    bench.application.runtime().unwrap().enter(&mut || {
        group.bench_function("echo of 4 KiB", |timer| {
            timer.iter(|| bench.call(&upload, Body::memory(body.clone())));
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    calls(&mut criterion);
    criterion.final_summary();
}
