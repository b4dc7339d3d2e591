//! TERM with work at hand: what was complete before it gets its answer.

use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;

use crate::Size;
use crate::site::{CLIENTS, SITES, Site};
use crate::support::load::{Ask, Line, Load};
use crate::support::{send, suspend};
use crate::watch::wait_for_workers;

/// TERM to a server with a full backlog, and to one in the middle of its work.
pub(crate) fn stop_under_load(size: Size) {
    // Where there are several queues, none would be full.
    for site in SITES.into_iter().filter(|site| site.is_shared()) {
        stop_with_a_full_backlog(site);
    }
    for site in SITES {
        for round in 0..size.of(20, 1) {
            stop_at_work(site, 100 + 50 * round);
        }
    }
}

/// The workers are held while the queue fills, so that every connection is complete and none is accepted when
/// the signal comes.
fn stop_with_a_full_backlog(site: Site) {
    let connections = 1000;
    // Linux queues one more than it is told (listen(2)).
    let backlog = (connections - 1).to_string();
    let house = site.serve(2, &["--backlog", &backlog]);
    let server = house.server;
    let held = wait_for_workers(server.pid(), 2);
    for pid in &held {
        suspend(*pid);
    }
    let asks: Vec<Ask> = (0..connections)
        .map(|client| Ask::new(client, 0, client % 2 == 0).slow(1))
        .collect();
    let mut lines: Vec<Line> = asks
        .iter()
        .map(|ask| {
            let mut line = Line::connect(server.address()).expect("there is room for it");
            line.ask(ask).expect("the queue takes it");
            line
        })
        .collect();
    server.signal(Signal::SIGTERM);
    for pid in &held {
        send(*pid, Signal::SIGCONT);
    }
    let start = MonoTime::now();
    let answers = asks.iter().zip(&mut lines);
    let failed: Vec<String> = answers
        .filter_map(|(ask, line)| line.answer(ask).err())
        .map(|failure| failure.to_string())
        .collect();
    let took = MonoTime::now().since(start);
    println!(
        "stop_under_load, {site}, {connections} connections in the backlog: all answered in {took:?}"
    );
    assert!(
        failed.is_empty(),
        "{} of {connections} were lost: {:?}",
        failed.len(),
        failed.first()
    );
    drop(lines);
    let exited = server.wait();
    assert_eq!(exited.status, 0, "{exited:#?}");
}

/// Clients of both kinds are at work; only what they had asked before the signal counts.
fn stop_at_work(site: Site, requests: u64) {
    let house = site.serve(2, &[]);
    let server = house.server;
    let load = Load::start(server.address(), CLIENTS, CLIENTS);
    load.wait_for(requests);
    let signalled = MonoTime::now();
    server.signal(Signal::SIGTERM);
    let exited = server.wait();
    let took = MonoTime::now().since(signalled);
    let mut report = load.stop();
    report
        .failures
        .retain(|failure| failure.sent_before(signalled));
    println!("stop_under_load, {site}, at work: ended in {took:?}; {report}");
    report.assert_flawless("what was asked before TERM");
    assert_eq!(exited.status, 0, "{exited:#?}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}
