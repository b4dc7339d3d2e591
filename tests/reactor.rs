//! The reactor in a thread of this process, over real sockets: no worker, no arbiter, no Python.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use oxicorn::net::{Listener, Listeners, ProxyProtocol};
use oxicorn::observe::{Access, Host};
use oxicorn::reactor::{Config, Reactor};
use oxicorn::{Request, Responder, Result, Sent, Tick};

/// What the reactor told of each answer: status, bytes of the body, whether a head was known.
type Log = Arc<Mutex<Vec<(u16, u64, bool)>>>;

struct Recording(Log);

impl Host for Recording {
    fn finished(&self, access: &Access<'_>) {
        let record = (access.status, access.sent, access.head.is_some());
        self.0.lock().unwrap().push(record);
    }
}

/// A reactor that serves until it is dropped.
struct Serving {
    address: SocketAddr,
    log: Log,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

fn serve(
    config: Config,
    service: impl Fn(Request<'_>, Responder<'_>) -> Result<Sent> + Send + 'static,
) -> Serving {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let address = listener.socket_addr().unwrap();
    let (stop, stopped) = UnixStream::pair().unwrap();
    let log = Log::default();
    let host = Recording(Arc::clone(&log));
    let thread = std::thread::spawn(move || {
        let listeners = Listeners::from(listener);
        let mut reactor = Reactor::new(&listeners, config).unwrap();
        drop(listeners);
        reactor.watch(stopped.as_fd()).unwrap();
        while !reactor.is_done() {
            if reactor.turn(&host, None).unwrap().woken {
                reactor.drain(Tick::now());
            }
            while let Some(mut ready) = reactor.next_ready(&host) {
                let _ = ready.answer(&host, &service);
                reactor.give_back(ready, &host);
            }
        }
    });
    Serving {
        address,
        log,
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Serving {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    /// Sends `request`, ends the output, and reads to the end.
    fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_all(&mut stream)
    }

    /// Waits for all connections to end and gives the record of the answers.
    fn finish(mut self) -> Vec<(u16, u64, bool)> {
        self.stop_and_join();
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    fn stop_and_join(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop_and_join();
        }
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut byte = [0];
        assert_eq!(
            stream.read(&mut byte).unwrap(),
            1,
            "ended after {}",
            String::from_utf8_lossy(&bytes)
        );
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// Answers with method, path and body.
fn mirror(request: Request<'_>, reply: Responder<'_>) -> Result<Sent> {
    let mut text = format!("{} {} ", request.method(), request.path()).into_bytes();
    request.into_body().read_to_end(&mut text)?;
    reply.text(200, text)
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[test]
fn a_request_is_answered_and_recorded() {
    let serving = serve(Config::default(), mirror);
    let answer = serving.ask("GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\nServer: oxicorn\r\nDate: "),
        "{answer}"
    );
    assert!(
        answer.contains("Connection: close\r\n") && answer.ends_with("\r\n\r\nGET /a "),
        "{answer}"
    );
    assert_eq!(serving.finish(), [(200, 7, true)]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let serving = serve(Config::default(), mirror);
    let numbers: Vec<String> = (0..50).map(|n| format!("{n:02}")).collect();
    let mut requests = String::new();
    for n in &numbers {
        requests.push_str("POST /in-order HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n");
        requests.push_str(n);
    }
    let answer = serving.ask(requests);
    let mut rest = &answer[..];
    for n in &numbers {
        let body = format!("POST /in-order {n}");
        let at = rest
            .find(&body)
            .unwrap_or_else(|| panic!("{body} is missing"));
        rest = &rest[at + body.len()..];
    }
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 50);
}

#[test]
fn a_connection_serves_request_after_request() {
    let serving = serve(Config::default(), mirror);
    let mut stream = serving.connect();
    for n in 0..20 {
        write!(stream, "GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let answer = read_until(&mut stream, &format!("GET /{n} "));
        assert!(
            answer.starts_with("HTTP/1.1 200") && !answer.contains("Connection"),
            "{answer}"
        );
    }
}

#[test]
fn a_head_in_single_bytes_is_a_head() {
    let serving = serve(Config::default(), mirror);
    let mut stream = serving.connect();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(read_until(&mut stream, "GET /slow ").starts_with("HTTP/1.1 200"));
}

#[test]
fn half_a_request_delays_nobody() {
    let serving = serve(Config::default(), mirror);
    let _silent = serving.connect();
    let mut half = serving.connect();
    half.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        .unwrap();
    assert!(
        serving
            .ask("GET /other HTTP/1.0\r\n\r\n")
            .ends_with("GET /other ")
    );
    half.write_all(b"67890").unwrap();
    assert!(read_until(&mut half, "1234567890").starts_with("HTTP/1.1 200"));
}

#[test]
fn an_idle_connection_is_closed_after_keepalive() {
    let serving = serve(
        config(|config| config.keepalive = Duration::from_millis(50)),
        mirror,
    );
    let mut stream = serving.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(read_all(&mut stream).ends_with("GET / "));
}

#[test]
fn without_keepalive_every_response_closes() {
    let serving = serve(config(|config| config.keepalive = Duration::ZERO), mirror);
    let mut stream = serving.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(read_all(&mut stream).contains("Connection: close\r\n"));
}

#[test]
fn a_silent_connection_is_closed_without_an_answer_and_half_a_head_gets_408() {
    let serving = serve(
        config(|config| config.head_timeout = Duration::from_secs(1)),
        mirror,
    );
    assert_eq!(read_all(&mut serving.connect()), "");
    let mut half = serving.connect();
    half.write_all(b"GET / HT").unwrap();
    assert!(read_all(&mut half).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(
        serving.finish(),
        [(408, 0, false)].map(|(status, _, head)| (status, page_len(408), head))
    );
}

/// The size of the page that the reactor sends with a status by itself.
fn page_len(status: u16) -> u64 {
    oxicorn::h1::error_page(status, "The request's head did not arrive in time").len() as u64
}

#[test]
fn a_second_head_that_stops_half_way_gets_408_too() {
    let serving = serve(
        config(|config| config.head_timeout = Duration::from_millis(50)),
        mirror,
    );
    let mut stream = serving.connect();
    stream
        .write_all(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HT")
        .unwrap();
    let answers = read_all(&mut stream);
    assert!(
        answers.contains("GET /1 ") && answers.contains("HTTP/1.1 408"),
        "{answers}"
    );
}

#[test]
fn a_body_that_pauses_too_long_gets_408() {
    let serving = serve(
        config(|config| config.body_timeout = Duration::from_millis(50)),
        mirror,
    );
    let mut stream = serving.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
        .unwrap();
    assert!(read_all(&mut stream).starts_with("HTTP/1.1 408"));
}

#[test]
fn a_body_that_drips_gets_408() {
    let serving = serve(
        config(|config| {
            config.body_rate = 1_000_000_000;
            config.body_grace = Duration::from_millis(50);
        }),
        mirror,
    );
    let mut stream = serving.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
        .unwrap();
    assert!(read_all(&mut stream).starts_with("HTTP/1.1 408"));
}

#[test]
fn a_large_body_goes_through_a_file_and_comes_back_identical() {
    let serving = serve(
        config(|config| config.body_buffer = 1000),
        |request, reply| {
            let mut body = Vec::new();
            request.into_body().read_to_end(&mut body)?;
            reply.send(200, &[], &body)
        },
    );
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8 & 0x7f).collect();
    let mut stream = serving.connect();
    let mut sending = stream.try_clone().unwrap();
    let sent = body.clone();
    let writer = std::thread::spawn(move || {
        write!(
            sending,
            "POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
            sent.len()
        )
        .unwrap();
        sending.write_all(&sent).unwrap();
    });
    let answer = read_all(&mut stream);
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
                    write!(
                        stream,
                        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n"
                    )
                    .unwrap();
                    stream.write_all(&vec![b'x'; SIZE]).unwrap();
                    read_until(&mut stream, &SIZE.to_string());
                }
            });
        }
    });
    assert_eq!(serving.finish(), [(200, 7, true)].repeat(64));
}

#[test]
fn a_body_over_the_limit_is_413_before_and_while_it_is_read() {
    let small = || config(|config| config.limit_request_body = Some(4));
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
fn an_unwritable_spool_folder_is_503() {
    let broken = config(|config| {
        config.body_buffer = 0;
        config.tmp_upload_dir = "/no/such/folder".into();
    });
    let answer =
        serve(broken, mirror).ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[test]
fn expect_continue_is_answered_when_the_body_is_wanted() {
    let serving = serve(Config::default(), mirror);
    let mut stream = serving.connect();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(
        read_until(&mut stream, "\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"ok").unwrap();
    assert!(read_until(&mut stream, "POST / ok").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_malformed_request_is_refused_recorded_and_closed() {
    let serving = serve(Config::default(), mirror);
    let answer =
        serving.ask("GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    let log = serving.finish();
    assert_eq!((log.len(), log[0].0, log[0].2), (1, 400, false));
}

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

#[test]
fn a_slow_reader_holds_nobody() {
    const SIZE: usize = 24 * 1024 * 1024;
    let small = config(|config| config.response_buffer = 64 * 1024);
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
    slow.write_all(b"GET /large HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(read_until(&mut slow, "200 OK"), "HTTP/1.0 200 OK");
    assert!(
        serving
            .ask("GET /small HTTP/1.0\r\n\r\n")
            .ends_with("small")
    );
    let rest = read_all(&mut slow);
    assert_eq!(rest.split_once("\r\n\r\n").unwrap().1.len(), SIZE);
}

#[test]
fn a_reader_that_stops_altogether_loses_its_connection() {
    let impatient = config(|config| config.send_timeout = Duration::from_millis(100));
    let serving = serve(impatient, |_: Request<'_>, reply: Responder<'_>| {
        reply.send(200, &[], &vec![b'x'; 32 * 1024 * 1024])
    });
    let mut stream = serving.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    // The reactor ends once it has given the connection up, although nothing was read.
    assert_eq!(serving.finish(), [(200, 32 * 1024 * 1024, true)]);
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

#[test]
fn a_streamed_body_is_read_while_it_arrives() {
    let streaming = config(|config| config.stream_request_body = true);
    let serving = serve(streaming, |request, reply| {
        let mut body = request.into_body();
        let mut writer = reply.stream(200, &[])?;
        let mut block = [0; 4];
        loop {
            match body.read(&mut block)? {
                0 => return writer.finish(),
                n => writer.write_all(&block[..n])?,
            }
        }
    });
    let mut stream = serving.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nping")
        .unwrap();
    read_until(&mut stream, "4\r\nping\r\n");
    stream.write_all(b"pong").unwrap();
    read_until(&mut stream, "4\r\npong\r\n0\r\n\r\n");
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nping")
        .unwrap();
    read_until(&mut stream, "ping\r\n");
    stream.shutdown(Shutdown::Write).unwrap();
    let rest = read_all(&mut stream);
    assert!(
        !rest.contains("0\r\n\r\n"),
        "a cut body must not look complete: {rest}"
    );
}

#[test]
fn a_streamed_body_that_nobody_reads_is_drained_or_ends_the_connection() {
    let streaming = config(|config| config.stream_request_body = true);
    let serving = serve(streaming, |_: Request<'_>, reply: Responder<'_>| {
        reply.text(200, "unread")
    });
    let mut stream = serving.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
        .unwrap();
    read_until(&mut stream, "unread");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    read_until(&mut stream, "unread");
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    )
    .unwrap();
    read_until(&mut stream, "unread");
    let _ = stream.write_all(&vec![0; 1_000_000]);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn a_client_that_leaves_at_any_point_harms_nobody() {
    let serving = serve(Config::default(), mirror);
    let request = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
    for end in 0..=request.len() {
        let mut stream = serving.connect();
        stream.write_all(&request[..end]).unwrap();
    }
    assert!(
        serving
            .ask("GET /alive HTTP/1.0\r\n\r\n")
            .ends_with("GET /alive ")
    );
}

#[test]
fn draining_answers_what_was_queued_and_closes_what_is_idle() {
    let serving = serve(Config::default(), mirror);
    let mut idle = serving.connect();
    idle.write_all(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    read_until(&mut idle, "GET /1 ");
    let mut queued: Vec<TcpStream> = (0..5).map(|_| serving.connect()).collect();
    for stream in &mut queued {
        stream
            .write_all(b"GET /queued HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
    }
    assert_eq!(serving.finish().len(), 6);
    for mut stream in queued {
        assert!(read_all(&mut stream).ends_with("GET /queued "));
    }
    assert_eq!(read_all(&mut idle), "");
}

/// Answers with who speaks, who connected, and what the PROXY header said.
fn ends(request: Request<'_>, reply: Responder<'_>) -> Result<Sent> {
    let (_, connection, _) = request.into_parts();
    let direct = connection.direct.ip().map(|address| address.ip());
    let text = format!(
        "{} from {direct:?} by {:?}",
        connection.peer, connection.proxied
    );
    reply.text(200, text)
}

fn proxied(trusted: &str) -> Serving {
    let config = config(|config| {
        config.proxy_protocol = ProxyProtocol::Auto;
        config.proxy_allow_ips = trusted.parse().unwrap();
    });
    serve(config, ends)
}

#[test]
fn announced_client_is_kept_for_every_request_of_its_connection() {
    let serving = proxied("127.0.0.1");
    let headers: [&[u8]; 2] = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\0\x50\x04\0\0",
    ];
    let requests = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    for header in headers {
        let answer = serving.ask([header, requests.as_bytes()].concat());
        let told = "192.0.2.7:4711 from Some(127.0.0.1) by Some(Proxied { protocol: \"TCP4\", \
                    source: Some(192.0.2.7:4711), \
                    destination: Some(198.51.100.1:80) })";
        assert_eq!(answer.matches(told).count(), 2, "{answer}");
    }
}

#[test]
fn header_may_arrive_in_pieces_and_before_its_request() {
    let serving = proxied("127.0.0.1");
    let mut stream = serving.connect();
    for piece in ["P", "ROXY TCP4 192.0.2.7 198.51", ".100.1 4711 80\r", "\n"] {
        stream.write_all(piece.as_bytes()).unwrap();
        // Another client's answer shows that the reactor has had turns meanwhile.
        serving.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let answer = read_all(&mut stream);
    assert!(answer.contains("\r\n\r\n192.0.2.7:4711 from"), "{answer}");
}

#[test]
fn balancer_that_names_no_client_speaks_for_itself() {
    let serving = proxied("*");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".as_slice();
    for (header, protocol) in [(local, "LOCAL"), (b"PROXY UNKNOWN\r\n", "UNSPEC")] {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = serving.ask([header, request].concat());
        assert!(answer.contains("\r\n\r\n127.0.0.1:"), "{answer}");
        assert!(answer.contains(protocol), "{answer}");
    }
}

#[test]
fn connection_without_a_header_is_fine_whoever_makes_it() {
    for trusted in ["*", ""] {
        let answer = proxied(trusted).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.contains("by None"), "{answer}");
    }
}

#[test]
fn strangers_header_is_403_and_a_malformed_one_400() {
    let line = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let stranger = proxied("10.0.0.0/8");
    let answer = stranger.ask(line);
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert_eq!(stranger.finish()[0].0, 403);
    let trusted = proxied("127.0.0.1");
    let version_1 = b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0".as_slice();
    for wrong in [
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n".as_slice(),
        version_1,
    ] {
        let answer = trusted.ask(wrong);
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
    }
}

#[test]
fn header_that_stops_short_ends_with_the_deadline() {
    let config = config(|config| {
        config.proxy_protocol = ProxyProtocol::Auto;
        config.head_timeout = Duration::from_secs(1);
    });
    let serving = serve(config, ends);
    let mut silent = serving.connect();
    assert_eq!(read_all(&mut silent), "");
    let mut short = serving.connect();
    short.write_all(b"PROXY TCP4 1").unwrap();
    assert!(read_all(&mut short).starts_with("HTTP/1.1 408 "));
}

#[test]
fn header_is_no_request_where_none_is_looked_for() {
    let answer = serve(Config::default(), ends).ask("PROXY UNKNOWN\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn interim_responses_precede_the_answer_and_skip_old_clients() {
    let hinting = |_: Request<'_>, reply: Responder<'_>| {
        let link = [(&b"Link"[..], &b"</a.css>; rel=preload"[..])];
        reply.inform(103, link)?;
        reply.inform(103, link)?;
        for status in [99, 100, 101, 200] {
            assert!(reply.inform(status, link).unwrap_err().is_response());
        }
        let split = [(&b"Link"[..], &b"a\r\nb"[..])];
        assert!(reply.inform(103, split).unwrap_err().is_response());
        reply.text(200, "done")
    };
    let serving = serve(Config::default(), hinting);
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
    assert_eq!(serving.finish().len(), 2, "one record for each answer");
}

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

#[test]
fn connect_and_the_asterisk_reach_the_service_and_connect_is_the_last() {
    let serving = serve(Config::default(), mirror);
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    let options = serving.ask(format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n{next}"));
    assert!(
        options.contains("OPTIONS * ") && options.contains("GET /next "),
        "{options}"
    );
    let connect = serving.ask(format!("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n{next}"));
    assert!(connect.ends_with("CONNECT  "), "{connect}");
}

fn few(connections: usize) -> Config {
    config(|config| {
        config.worker_connections = connections;
        config.keepalive = Duration::from_secs(30);
    })
}

#[test]
fn idle_connections_make_room_first_and_then_the_oldest_without_a_head() {
    let serving = serve(few(3), mirror);
    let get = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = serving.connect();
    let turn = |stream: &mut TcpStream| {
        stream.write_all(get).unwrap();
        read_until(stream, "GET /a ");
    };
    // Each is known to be accepted before the next one comes: it is answered, or another is after it.
    turn(&mut kept);
    let mut half = serving.connect();
    half.write_all(b"GET /a HT").unwrap();
    let mut silent = serving.connect();
    let mut third = serving.connect();
    turn(&mut third);
    assert_eq!(read_all(&mut kept), "");
    let mut fourth = serving.connect();
    turn(&mut fourth);
    assert_eq!(read_all(&mut third), "");
    let mut fifth = serving.connect();
    fifth.write_all(b"GET /b HTTP/1.1\r\nHo").unwrap();
    assert_eq!(read_all(&mut fourth), "");
    let mut sixth = serving.connect();
    turn(&mut sixth);
    assert_eq!(read_all(&mut half), "");
    turn(&mut silent);
}

#[test]
fn connections_with_a_request_keep_their_place_and_a_new_one_waits() {
    let serving = serve(few(1), mirror);
    let mut busy = serving.connect();
    busy.write_all(
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    )
    .unwrap();
    read_until(&mut busy, "100 Continue\r\n\r\n");
    let mut waiting = serving.connect();
    waiting
        .write_all(b"GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    busy.write_all(b"hi").unwrap();
    assert!(read_until(&mut busy, "hi").contains(" 200 "));
    assert!(read_all(&mut waiting).ends_with("GET /b "));
    assert_eq!(read_all(&mut busy), "");
}
