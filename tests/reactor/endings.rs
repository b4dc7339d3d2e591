//! Connections that end, and those that make room.

use std::time::Duration;

use oxicorn::net::{Listener, Listeners};
use oxicorn::reactor::{Config, Reactor};
use oxicorn::time::MonoTime;

use crate::support::Client;
use crate::{Log, Recording, config, mirror, serve};

#[test]
fn a_client_that_leaves_at_any_point_harms_no_other() {
    let serving = serve(Config::default(), mirror);
    let request = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
    for end in 0..=request.len() {
        let mut stream = serving.connect();
        stream.send(&request[..end]);
    }
    assert!(
        serving
            .ask("GET /alive HTTP/1.0\r\n\r\n")
            .ends_with("GET /alive ")
    );
}

// Gunicorn: P41, W8
#[test]
fn draining_answers_what_was_queued_and_closes_what_is_idle() {
    let serving = serve(Config::default(), mirror);
    let mut idle = serving.connect();
    idle.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    idle.read_until("GET /1 ");
    let mut queued: Vec<Client> = (0..5).map(|_| serving.connect()).collect();
    for stream in &mut queued {
        stream.send(b"GET /queued HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    assert_eq!(serving.finish().len(), 6);
    for mut stream in queued {
        assert!(stream.read_all().ends_with("GET /queued "));
    }
    assert_eq!(idle.read_all(), "");
}

/// Turns a reactor, and answers what is ready unless `until` holds before.
#[track_caller]
fn turn(reactor: &mut Reactor, until: impl Fn(&Reactor) -> bool) {
    let host = Recording(Log::default());
    let start = MonoTime::now();
    while !until(reactor) {
        assert!(MonoTime::now().since(start).as_secs() < 10, "in vain");
        let wait = Some(Duration::from_millis(10));
        reactor.poll(&host, wait).unwrap();
        if until(reactor) {
            break;
        }
        while let Some(mut ready) = reactor.next_request(&host) {
            let _ = ready.answer(&host, mirror);
            reactor.give_back(ready, &host);
        }
    }
}

#[test]
fn a_quick_drain_answers_requests_and_leaves_others_the_queue() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let address = listener.socket_addr().unwrap();
    let listeners = Listeners::from(listener);
    let client = |request: &str| {
        let mut stream = Client::connect(address);
        stream.send(request);
        stream
    };
    let mut reactor = Reactor::new(&listeners, Config::default()).unwrap();
    let mut kept = client("GET /kept HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(&mut reactor, Reactor::has_pending);
    turn(&mut reactor, |reactor| !reactor.has_pending());
    kept.read_until("GET /kept ");
    let mut sending = client("POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo");
    turn(&mut reactor, |reactor| reactor.open() == 2);
    let mut asked = client("GET /asked HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(&mut reactor, Reactor::has_pending);
    let mut late = client("GET /late HTTP/1.0\r\n\r\n");
    reactor.hasten(MonoTime::now(), Duration::from_secs(10));
    assert!(reactor.is_hasty());
    turn(&mut reactor, |reactor| reactor.is_done(MonoTime::now()));
    drop(reactor);
    assert!(asked.read_all().ends_with("GET /asked "));
    assert_eq!(kept.read_all(), "");
    assert_eq!(sending.read_all(), "");
    let mut next = Reactor::new(&listeners, Config::default()).unwrap();
    turn(&mut next, Reactor::has_pending);
    turn(&mut next, |reactor| reactor.open() == 0);
    assert!(late.read_all().ends_with("GET /late "));
}

#[test]
fn haste_has_an_end_whatever_is_left() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let address = listener.socket_addr().unwrap();
    let mut reactor = Reactor::new(&Listeners::from(listener), Config::default()).unwrap();
    let mut stream = Client::connect(address);
    stream.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(&mut reactor, Reactor::has_pending);
    let lent = reactor.next_request(&Recording(Log::default()));
    reactor.hasten(MonoTime::now(), Duration::from_millis(1));
    turn(&mut reactor, |reactor| reactor.is_done(MonoTime::now()));
    assert_eq!(reactor.in_flight(), 1);
    drop(lent);
}

fn few(connections: usize) -> Config {
    config(|config| {
        config.settings.worker_connections = connections;
        config.settings.keepalive = Duration::from_secs(30);
    })
}

#[test]
fn idle_connections_make_room_first_then_the_oldest_headless() {
    let serving = serve(few(3), mirror);
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = serving.connect();
    let turn = |stream: &mut Client| {
        stream.send(get);
        stream.read_until("GET /a ");
    };
    // Each is known to be accepted before the next one comes: it is answered, or another is after it.
    turn(&mut kept);
    let mut half = serving.connect();
    half.send(b"GET /a HT");
    let mut silent = serving.connect();
    let mut third = serving.connect();
    turn(&mut third);
    assert_eq!(kept.read_all(), "");
    let mut fourth = serving.connect();
    turn(&mut fourth);
    assert_eq!(third.read_all(), "");
    let mut fifth = serving.connect();
    fifth.send(b"GET /b HTTP/1.1\r\nHo");
    assert_eq!(fourth.read_all(), "");
    let mut sixth = serving.connect();
    turn(&mut sixth);
    assert_eq!(half.read_all(), "");
    turn(&mut silent);
}

#[test]
fn connections_with_a_request_keep_their_place() {
    let serving = serve(few(1), mirror);
    let mut busy = serving.connect();
    busy.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    busy.read_until("100 Continue\r\n\r\n");
    let mut waiting = serving.connect();
    waiting.send(b"GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    busy.send(b"hi");
    assert!(busy.read_until("hi").contains(" 200 "));
    assert!(waiting.read_all().ends_with("GET /b "));
    assert_eq!(busy.read_all(), "");
}
