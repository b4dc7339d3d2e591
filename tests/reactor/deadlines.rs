//! What takes too long, by a clock that the tests move.

use std::time::Duration;

use oxicorn::reactor::Config;

use crate::desk::Desk;
use crate::{config, mirror, serve};

fn open(change: impl FnOnce(&mut Config)) -> Desk {
    Desk::open(config(change), |_, request, reply| mirror(request, reply))
}

/// What a client gets that has sent this, and nothing more for so many seconds.
fn late(desk: &mut Desk, text: &str, seconds: u64) -> String {
    let mut client = desk.sending(text);
    desk.turn();
    desk.lap();
    desk.pass(seconds);
    client.read_all()
}

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    let mut desk = open(|config| config.settings.keepalive = Duration::from_secs(30));
    let answer = late(&mut desk, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 31);
    assert!(answer.ends_with("GET / "), "{answer}");
}

// Gunicorn: P41
#[test]
fn without_keepalive_every_response_closes() {
    let serving = serve(
        config(|config| config.settings.keepalive = Duration::ZERO),
        mirror,
    );
    let mut stream = serving.connect();
    stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(stream.read_all().contains("Connection: close\r\n"));
}

#[test]
fn a_silent_connection_is_closed_and_half_a_head_gets_408() {
    let mut desk = open(|config| config.settings.head_timeout = Duration::from_secs(60));
    let mut silent = desk.connect();
    desk.turn();
    desk.pass(61);
    assert_eq!(silent.read_all(), "");
    assert!(late(&mut desk, "GET / HT", 61).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    let page = oxicorn::h1::error_page(408, "The request's head did not arrive in time");
    assert_eq!(*desk.host.log.borrow(), [(408, page.body().len() as u64)]);
}

#[test]
fn a_second_head_that_stops_half_way_gets_408_too() {
    let mut desk = open(|config| config.settings.head_timeout = Duration::from_secs(60));
    let two = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HT";
    let answers = late(&mut desk, two, 61);
    assert!(
        answers.contains("GET /1 ") && answers.contains("HTTP/1.1 408"),
        "{answers}"
    );
}

const TWO_OF_FIVE: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12";

// Gunicorn: E74
#[test]
fn a_body_that_pauses_too_long_gets_408() {
    let mut desk = open(|config| config.settings.body_timeout = Duration::from_secs(60));
    assert!(late(&mut desk, TWO_OF_FIVE, 61).starts_with("HTTP/1.1 408"));
}

// Gunicorn: E74
#[test]
fn a_body_that_drips_gets_408() {
    let mut desk = open(|config| {
        config.settings.body_rate = 1_000_000_000;
        config.settings.body_grace = Duration::from_secs(5);
    });
    assert!(late(&mut desk, TWO_OF_FIVE, 6).starts_with("HTTP/1.1 408"));
}

#[test]
fn a_streamed_body_has_the_deadlines_of_one_that_is_collected() {
    for rate in [0, 1_000_000_000] {
        let mut desk = open(|config| {
            config.settings.stream_request_body = true;
            config.settings.body_timeout = Duration::from_secs(if rate == 0 { 5 } else { 3600 });
            config.settings.body_rate = rate;
            config.settings.body_grace = Duration::from_secs(5);
        });
        let answer = late(&mut desk, TWO_OF_FIVE, 0);
        assert!(answer.starts_with("HTTP/1.1 408"), "{rate}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
}

#[test]
fn time_that_the_service_takes_is_not_held_against_the_client() {
    let strict = config(|config| {
        config.settings.stream_request_body = true;
        config.settings.body_rate = 1_000_000_000;
        config.settings.body_grace = Duration::from_secs(5);
    });
    let mut desk = Desk::open(strict, |host, request, reply| {
        host.pass(Duration::from_secs(60));
        mirror(request, reply)
    });
    let whole = format!("{TWO_OF_FIVE}345");
    let answer = late(&mut desk, &whole, 60);
    assert!(answer.ends_with("POST / 12345"), "{answer}");
}

// Gunicorn: P43, W23
#[test]
fn the_rest_of_a_body_that_never_comes_ends_the_connection() {
    for rest in ["", "12"] {
        let patient = config(|config| config.settings.stream_request_body = true);
        let mut desk = Desk::open(patient, |_, _, reply| reply.text(200, "unread"));
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
        let answer = late(&mut desk, &format!("{head}{rest}"), 60);
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.ends_with("unread"), "{answer}");
    }
}

/// A client that has asked for 32 MiB and takes nothing of it, and its answer.
fn large(change: impl FnOnce(&mut Config)) -> Desk {
    Desk::open(config(change), |_, _, reply| {
        reply.send(200, &[], &vec![b'x'; 32 << 20])
    })
}

#[test]
fn a_reader_that_stops_altogether_loses_its_connection() {
    let mut desk = large(|config| config.settings.send_timeout = Duration::from_secs(60));
    let _client = desk.sending("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    desk.turn();
    assert_eq!(desk.lap(), ["/"]);
    assert_eq!(desk.reactor.open(), 1);
    desk.pass(61);
    assert_eq!(desk.reactor.open(), 0);
    assert_eq!(*desk.host.log.borrow(), [(200, 32 << 20)]);
}

#[test]
fn a_dripping_reader_is_closed_whether_the_call_waits_or_not() {
    for spool in [1024, 1 << 30] {
        let mut desk = large(|config| {
            config.settings.send_rate = u64::MAX;
            config.settings.send_grace = Duration::from_secs(60);
            config.settings.response_spool = spool;
        });
        let client = desk.sending("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        desk.host.dripping.replace(Some(client));
        desk.turn();
        desk.lap();
        // It takes some every ten seconds, which is less often than is allowed.
        for _ in 0..6 {
            if desk.reactor.open() > 0 {
                let mut client = desk.host.dripping.borrow_mut();
                client.as_mut().unwrap().take(64 * 1024);
                drop(client);
                desk.pass(10);
            }
        }
        desk.pass(1);
        let client = desk.host.dripping.take();
        let rest = client.unwrap().rest().len();
        assert!(rest < 32 << 20, "{rest} of {spool}");
    }
}

#[test]
fn a_proxy_header_that_stops_short_ends_with_the_deadline() {
    let mut desk = open(|config| {
        config.settings.proxy_protocol = oxicorn::net::ProxyProtocol::Auto;
        config.settings.head_timeout = Duration::from_secs(60);
    });
    let mut silent = desk.connect();
    desk.turn();
    desk.pass(61);
    assert_eq!(silent.read_all(), "");
    assert!(late(&mut desk, "PROXY TCP4 1", 61).starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_lingering_client_that_sends_on_or_drips_is_closed_in_time() {
    for rate in [0, 1_000_000] {
        let mut desk = open(|config| {
            config.settings.linger = Duration::from_secs(600);
            config.settings.linger_limit = Duration::from_secs(if rate == 0 { 10 } else { 600 });
            config.settings.body_grace = Duration::from_secs(5);
            config.settings.body_rate = rate;
        });
        let mut client = desk.sending("GET\r\n\r\n");
        desk.turn();
        assert!(client.read_all().starts_with("HTTP/1.1 400 "));
        let mut seconds = 0;
        while desk.reactor.open() > 0 {
            client.send([b'x'; 100]);
            crate::support::await_arrival(&client);
            desk.pass(1);
            seconds += 1;
        }
        assert_eq!(seconds, if rate == 0 { 10 } else { 5 });
    }
}

// Gunicorn: W18
#[test]
fn a_body_that_drips_makes_room_when_there_is_no_place_left() {
    for rate in [0, 500] {
        let mut desk = open(|config| {
            config.settings.worker_connections = 1;
            config.settings.body_rate = rate;
            config.settings.body_grace = Duration::from_secs(2);
            config.settings.body_timeout = Duration::from_secs(60);
        });
        let head = "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n";
        let mut slow = desk.sending([head.as_bytes(), &[b'x'; 4000]].concat());
        desk.turn();
        let mut other = desk.sending("GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        desk.pass(1);
        assert_eq!(desk.lap(), [""; 0]);
        // Fast enough by far for its rate; where any rate will do, it has its time.
        desk.pass(2);
        if rate == 0 {
            assert_eq!(desk.lap(), [""; 0]);
            desk.pass(58);
        }
        assert_eq!(desk.lap(), ["/other"]);
        assert!(other.read_all().ends_with("GET /other "));
        let answer = slow.read_all();
        assert_eq!(answer.starts_with("HTTP/1.1 408 "), rate == 0, "{answer}");
    }
}

// Gunicorn: W18
#[test]
fn an_answer_not_taken_makes_room_where_no_place_is_left() {
    let mut desk = large(|config| {
        config.settings.worker_connections = 1;
        config.settings.send_grace = Duration::from_secs(10);
        config.settings.send_timeout = Duration::from_secs(60);
    });
    let _deaf = desk.sending("GET /deaf HTTP/1.0\r\n\r\n");
    desk.turn();
    assert_eq!(desk.lap(), ["/deaf"]);
    let _other = desk.sending("GET /other HTTP/1.0\r\n\r\n");
    desk.pass(1);
    assert_eq!(desk.lap(), [""; 0]);
    desk.pass(20);
    assert_eq!(desk.lap(), ["/other"]);
}
