//! The cost of an environ: the same empty call, with more and more for its dictionary to hold.

mod support;

use criterion::Criterion;
use oxicorn::{Body, Service};

use support::{BROWSER, Bench, head};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let unknown: Vec<_> = (0..30).map(|number| format!("X-Field-{number}")).collect();
    let unknown = unknown.iter().map(|name| (name.as_str(), "value"));
    let unknown: Vec<_> = BROWSER[..1].iter().copied().chain(unknown).collect();
    let repeated = [BROWSER[0], ("X-Tag", "a"), ("X-Tag", "b"), ("X-Tag", "c")];
    let cases = [
        ("one field", head("GET", "/", &BROWSER[..1])),
        ("ten fields of a browser", head("GET", "/", &BROWSER)),
        ("thirty fields of unknown names", head("GET", "/", &unknown)),
        ("a field three times", head("GET", "/", &repeated)),
        (
            "a path to decode",
            head("GET", "/caf%C3%A9/%C3%BCber?q=a%20b", &BROWSER[..1]),
        ),
    ];
    let bench = Bench::new("nothing");
    bench
        .application
        .runtime()
        .expect("Python's")
        .enter(&mut || {
            let mut group = criterion.benchmark_group("environ");
            for (name, head) in &cases {
                group.bench_function(*name, |timer| {
                    timer.iter(|| bench.call(head, Body::empty()));
                });
            }
            group.finish();
        });
    criterion.final_summary();
}
