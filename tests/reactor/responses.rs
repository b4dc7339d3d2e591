//! Responses: whole, cut, slow to be read, from files, interim.

use std::io::{Read, Write};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oxicorn::reactor::Config;
use oxicorn::{Request, Responder};

use crate::support::Client;
use crate::{config, serve};

// Gunicorn: E54
#[test]
fn a_failed_service_is_a_500_and_one_that_fails_midway_is_cut() {
    let serving = serve(Config::default(), |request, reply| {
        if request.path() == "/early" {
            return Err(oxicorn::Error::new("nothing to say"));
        }
        let unsent = request.path() == "/unsent";
        let mut body = reply.stream(200, &[])?;
        if !unsent {
            body.write_all(b"some")?;
        }
        Err(oxicorn::Error::new("nothing more to say"))
    });
    let early = serving.ask("GET /early HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        early.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
        "{early}"
    );
    let unsent = serving.ask("GET /unsent HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        unsent.starts_with("HTTP/1.1 500") && !unsent.contains("200 OK"),
        "{unsent}"
    );
    let late = serving.ask("GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        late.starts_with("HTTP/1.1 200") && late.ends_with("4\r\nsome\r\n"),
        "{late}"
    );
}

// Gunicorn: E50
#[test]
fn a_body_shorter_than_promised_is_sent_and_cut() {
    let serving = serve(Config::default(), |_: Request<'_>, reply: Responder<'_>| {
        reply.start(200, b"", [], Some(5))?.finish_with(b"123")
    });
    let answer = serving.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        answer.contains("Content-Length: 5\r\n") && answer.ends_with("\r\n\r\n123"),
        "{answer}"
    );
}

// Gunicorn: E56
#[test]
fn a_slow_reader_holds_no_other_client_up() {
    const SIZE: usize = 24 * 1024 * 1024;
    let small = config(|config| config.settings.response_buffer = 64 * 1024);
    let serving = serve(small, |request, reply| {
        if request.path() == "/small" {
            return reply.text(200, "small");
        }
        let mut body = reply.stream(200, &[])?;
        let block = vec![b'x'; 65536];
        for _ in 0..SIZE / block.len() {
            body.write_all(&block)?;
        }
        body.finish()
    });
    let mut slow = serving.connect();
    slow.send(b"GET /large HTTP/1.0\r\n\r\n");
    assert_eq!(slow.read_until("200 OK"), "HTTP/1.0 200 OK");
    assert!(
        serving
            .ask("GET /small HTTP/1.0\r\n\r\n")
            .ends_with("small")
    );
    let rest = slow.read_all();
    assert_eq!(rest.split_once("\r\n\r\n").unwrap().1.len(), SIZE);
}

#[test]
fn pending_bytes_are_sent_while_the_next_blocks_are_produced() {
    const SIZE: usize = 16 * 1024 * 1024;
    let read = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&read);
    let serving = serve(Config::default(), move |_: Request<'_>, reply| {
        let mut body = reply.stream(200, &[])?;
        body.write_all(&vec![b'x'; SIZE])?;
        loop {
            body.write_all(b".")?;
            if told.load(Ordering::SeqCst) {
                return body.finish();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut stream = serving.connect();
    stream.send(b"GET / HTTP/1.0\r\n\r\n");
    // The call has not ended before this has come.
    stream.take(SIZE);
    read.store(true, Ordering::SeqCst);
    assert!(stream.read_all().ends_with('.'));
}

#[test]
fn a_file_is_sent_from_the_offset_and_no_further() {
    let serving = serve(Config::default(), |_: Request<'_>, reply: Responder<'_>| {
        let mut file = tempfile::tempfile()?;
        file.write_all(&vec![b'-'; 4_000_000])?;
        file.write_all(b"the end, and more")?;
        let len = 2_000_007;
        reply
            .start(200, b"", [], Some(len))?
            .send_file(file, 2_000_000, len)
    });
    let answer = serving.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        answer.contains("Content-Length: 2000007\r\n") && answer.ends_with("-the end"),
        "{}",
        answer.len()
    );
}

#[test]
fn a_file_that_has_become_shorter_cuts_the_response() {
    let serving = serve(Config::default(), |_: Request<'_>, reply: Responder<'_>| {
        reply
            .start(200, b"", [], Some(10))?
            .send_file(tempfile::tempfile()?, 0, 10)
    });
    let answer = serving.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        answer.contains("Content-Length: 10\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

// Gunicorn: E64
#[test]
fn interim_responses_precede_the_answer_and_skip_old_clients() {
    let hinting = |_: Request<'_>, reply: Responder<'_>| {
        let link = [(&b"Link"[..], &b"</a.css>; rel=preload"[..])];
        reply.send_informational(103, link)?;
        reply.send_informational(103, link)?;
        for status in [99, 100, 101, 200] {
            assert!(
                reply
                    .send_informational(status, link)
                    .unwrap_err()
                    .is_response()
            );
        }
        let split = [(&b"Link"[..], &b"a\r\nb"[..])];
        assert!(
            reply
                .send_informational(103, split)
                .unwrap_err()
                .is_response()
        );
        reply.text(200, "done")
    };
    // Unless they are allowed, nothing is sent; what is wrong with them is told all the same.
    let silent = serve(Config::default(), hinting);
    let answer = silent.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.contains("103"), "{answer}");

    let serving = serve(config(|config| config.settings.early_hints = true), hinting);
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let new = serving.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        new.starts_with(&format!("{hint}{hint}HTTP/1.1 200 OK\r\n")),
        "{new}"
    );
    assert!(new.ends_with("done"));
    let old = serving.ask("GET / HTTP/1.0\r\n\r\n");
    assert!(
        old.starts_with("HTTP/1.0 200 OK\r\n") && !old.contains("103"),
        "{old}"
    );
    let head = serving.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("103"),
        "{head}"
    );
    assert_eq!(serving.finish().len(), 3, "one record for each answer");
}

/// Asks for 16 MiB and reads nothing of it.
fn deaf(serving: &crate::Serving) -> Client {
    let mut stream = serving.connect();
    stream.send(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(stream.read_until("200 OK"), "HTTP/1.0 200 OK");
    stream
}

#[test]
fn unread_responses_share_spool_total_and_the_oldest_are_closed() {
    const MIB: usize = 1024 * 1024;
    let small = config(|config| {
        config.settings.response_buffer = 0;
        config.settings.spool_total = 80 * MIB as u64;
    });
    let serving = serve(small, |request, reply| {
        let mut body = Vec::new();
        request.into_body().read_to_end(&mut body)?;
        reply.send(200, &[], &vec![b'x'; 16 * MIB + body.len()])
    });
    // Sockets take some of each; a third of ten times 16 MiB is too much in any case.
    let mut deaf: Vec<Client> = (0..10).map(|_| deaf(&serving)).collect();
    // There is room for a body.
    let body = vec![b'b'; 10 * MIB];
    let mut upload = serving.connect();
    let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    upload.send(head);
    upload.send(&body);
    let answer = upload.read_all();
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.len() > 26 * MIB);
    let mut whole = 0;
    for stream in &mut deaf {
        // A client that was given up gets what the sockets have, or a reset.
        whole += usize::from(stream.rest().len() >= 16 * MIB);
    }
    assert!((1..10).contains(&whole), "{whole} are whole");
}
