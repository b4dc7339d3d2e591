//! Bodies of requests: in memory, in files, streamed, refused.

use std::io::{Read, Write};

use std::sync::{Arc, Mutex};

use oxicorn::reactor::Config;

use crate::{config, mirror, serve};

#[test]
fn a_large_body_goes_through_a_file_and_comes_back_identical() {
    let serving = serve(
        config(|config| config.settings.body_buffer = 1000),
        |request, reply| {
            let mut body = Vec::new();
            request.into_body().read_to_end(&mut body)?;
            reply.send(200, &[], &body)
        },
    );
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8 & 0x7f).collect();
    let mut stream = serving.connect();
    let mut sending = stream.second();
    let sent = body.clone();
    let writer = std::thread::spawn(move || {
        sending.send(format!(
            "POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        ));
        sending.send(&sent);
    });
    let answer = stream.read_all();
    writer.join().unwrap();
    assert!(
        answer.as_bytes().ends_with(&body),
        "the body is not the same"
    );
    let len = body.len() as u64;
    assert_eq!(
        serving.finish(),
        [(200, len, true)],
        "one request, one answer"
    );
}

#[test]
fn many_large_bodies_at_once_are_one_request_each() {
    const SIZE: usize = 3_000_000;
    let serving = serve(Config::default(), |request, reply| {
        let len = std::io::copy(&mut request.into_body(), &mut std::io::sink())?;
        reply.text(200, len.to_string())
    });
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut stream = serving.connect();
                for _ in 0..4 {
                    stream.send(format!(
                        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n"
                    ));
                    stream.send(vec![b'x'; SIZE]);
                    stream.read_until(&SIZE.to_string());
                }
            });
        }
    });
    assert_eq!(serving.finish(), [(200, 7, true)].repeat(64));
}

// Gunicorn: E74
#[test]
fn a_body_over_the_limit_is_413_before_and_while_it_is_read() {
    let small = || config(|config| config.settings.limit_request_body = 4);
    let serving = serve(small(), mirror);
    let announced = serving.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345");
    assert!(
        announced.starts_with("HTTP/1.1 413 Content Too Large\r\n"),
        "{announced}"
    );
    let chunked = serving.ask(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    );
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let statuses: Vec<u16> = serving
        .finish()
        .into_iter()
        .map(|(status, ..)| status)
        .collect();
    assert_eq!(statuses, [413, 413]);
}

#[test]
fn without_a_writable_folder_bodies_and_responses_use_memory() {
    let closed = config(|config| {
        config.settings.body_buffer = 0;
        config.settings.response_buffer = 0;
        config.settings.tmp_upload_dir = Some("/no/such/folder".into());
    });
    let serving = serve(closed, |request, reply| {
        let mut body = Vec::new();
        request.into_body().read_to_end(&mut body)?;
        let mut writer = reply.stream(200, &[])?;
        for _ in 0..32 {
            writer.write_all(&body)?;
        }
        writer.finish()
    });
    let body = "0123456789abcdef".repeat(20_000);
    let len = body.len();
    let mut stream = serving.connect();
    stream.send(format!(
        "POST / HTTP/1.0\r\nContent-Length: {len}\r\n\r\n{body}"
    ));
    let answer = stream.read_all();
    let (head, sent) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    assert!(sent == body.repeat(32), "{} bytes", sent.len());
}

#[test]
fn a_body_past_spool_total_is_503_until_others_are_answered() {
    let full = config(|config| {
        config.settings.body_buffer = 100;
        config.settings.spool_total = 1000;
    });
    let serving = serve(full, |request, reply| {
        let len = std::io::copy(&mut request.into_body(), &mut std::io::sink())?;
        reply.text(200, format!("{len} bytes."))
    });
    let head = |len| format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n");
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut first = serving.connect();
    first.send(format!("{}{}", head(900), "x".repeat(800)));
    // An answer shows that the next turn will have read what had come before.
    assert!(serving.ask("GET / HTTP/1.0\r\n\r\n").ends_with("0 bytes."));
    for request in [
        head(201),
        format!("{chunked}C9\r\n{}\r\n0\r\n\r\n", "x".repeat(201)),
    ] {
        let refused = serving.ask(request);
        assert!(
            refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{refused}"
        );
        assert!(refused.contains("Retry-After: 5\r\n"), "{refused}");
        assert!(refused.contains("Connection: close\r\n"), "{refused}");
    }
    // What memory holds needs no place.
    let small = serving.ask(format!("{}{}", head(100), "x".repeat(100)));
    assert!(small.ends_with("100 bytes."), "{small}");
    first.send("x".repeat(100));
    first.read_until("900 bytes.");
    let second = serving.ask(format!("{}{}", head(1000), "x".repeat(1000)));
    assert!(second.ends_with("1000 bytes."), "{second}");
}

// Gunicorn: E68
#[test]
fn a_body_that_leaves_before_its_end_gives_its_place_back() {
    let full = config(|config| {
        config.settings.body_buffer = 0;
        config.settings.spool_total = 4;
    });
    let serving = serve(full, mirror);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
    for _ in 0..3 {
        let mut cut = serving.connect();
        cut.send(format!("{head}123"));
        cut.end_output();
        assert_eq!(cut.read_all(), "", "it has left");
        let answer = serving.ask(format!("{head}1234"));
        assert!(answer.ends_with("POST / 1234"), "{answer}");
    }
}

// Gunicorn: E73
#[test]
fn a_body_is_whole_however_it_arrives_and_wherever_it_is_kept() {
    let small = config(|config| config.settings.body_buffer = 100_000);
    let serving = serve(small, mirror);
    let mut stream = serving.connect();
    // Around what one read takes, what is worth a block of its own, and what goes to a file.
    for (round, len) in [10, 16_384, 65_535, 65_536, 81_920, 99_999, 100_001, 300_000]
        .into_iter()
        .cycle()
        .take(24)
        .enumerate()
    {
        let letter = b'a' + u8::try_from(round).unwrap();
        let mut body = vec![letter; len];
        body.push(b'.');
        let head = match round % 3 {
            0 => format!("Content-Length: {}\r\n\r\n", len + 1),
            _ => format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", len + 1),
        };
        let end: &[u8] = if round % 3 == 0 {
            b""
        } else {
            b"\r\n0\r\n\r\n"
        };
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{head}");
        let request = [head.as_bytes(), &body, end].concat();
        // In one go, in two, and with the next request behind it.
        let cut = request.len() * (round % 5) / 4;
        let (first, rest) = request.split_at(cut.min(request.len()));
        let next = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut writer = stream.second();
        let bytes = [first.to_vec(), [rest, next].concat()];
        let sender = std::thread::spawn(move || {
            for piece in bytes {
                writer.send(&piece);
            }
        });
        let answers = stream.read_until("GET /next ");
        let found = answers.split_once("\r\n\r\nPOST / ").unwrap().1;
        assert!(
            found.as_bytes().starts_with(&body),
            "{len} bytes in round {round}"
        );
        sender.join().unwrap();
    }
}

// Gunicorn: P27, P29, E69
#[test]
fn a_malformed_body_is_400_and_reaches_no_service() {
    let called = Arc::new(Mutex::new(0));
    let count = Arc::clone(&called);
    let serving = serve(Config::default(), move |request, reply| {
        *count.lock().unwrap() += 1;
        mirror(request, reply)
    });
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    for body in [
        "5\r\nhello",
        "x\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "0\r\nHost: b\r\n\r\n",
        "1\n",
    ] {
        let answer = serving.ask(format!("{head}{body}{next}"));
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{body:?}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{body:?}: {answer}");
    }
    assert_eq!(serving.ask(format!("{head}5\r\nhel")), "", "it has left");
    assert_eq!(*called.lock().unwrap(), 0);
}
