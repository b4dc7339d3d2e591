//! The program over real sockets. Needs Flask in the Python that is linked, or in `$VIRTUAL_ENV`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    program: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_axum-flask"))
            .arg("127.0.0.1:0")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut line = String::new();
        let output = program.stdout.as_mut().expect("its output is a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it tells where it listens");
        let address = line
            .trim()
            .trim_start_matches("http://")
            .trim_end_matches('/');
        Self {
            address: address.to_owned(),
            program,
        }
    }

    fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.write_all(request.as_bytes()).expect("it reads");
        stream
    }

    fn open(&self, path: &str) -> TcpStream {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
        ))
    }

    /// Status line and body.
    fn get(&self, path: &str) -> (String, String) {
        split(&mut self.open(path))
    }

    fn terminate(&self) {
        let pid = self.program.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.program.try_wait().expect("it is a child") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn split(stream: &mut TcpStream) -> (String, String) {
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("an answer to its end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (
        head.lines().next().unwrap_or_default().to_owned(),
        body.to_owned(),
    )
}

/// The body of a chunked response, joined.
fn unchunked(body: &str) -> String {
    let mut text = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        text.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    text
}

#[test]
fn flask_lives_below_its_path_beside_axum() {
    let mut server = Server::start();
    assert_eq!(server.get("/").1, "axum\n");
    for path in ["/legacy", "/legacy/"] {
        let (status, body) = server.get(path);
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert_eq!(body, "Flask at /legacy/, asked for '/?'\n");
    }
    let (_, body) = server.get("/legacy/hello/b%C3%BCcher%20x");
    assert_eq!(
        body,
        "Hello b\u{fc}cher x from 127.0.0.1: /legacy/hello/b%C3%BCcher%20x\n"
    );
    assert_eq!(server.get("/legacy/none").0, "HTTP/1.1 404 Not Found");
    assert_eq!(server.get("/none").0, "HTTP/1.1 404 Not Found");
    server.terminate();
    server.wait();
}

#[test]
fn bodies_are_streamed_to_flask() {
    let server = Server::start();
    let size = 3_000_000;
    let head = |framing: &str| {
        format!("POST /legacy/upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n\r\n")
    };
    let block = "x".repeat(size);
    let known = head(&format!("Content-Length: {size}")) + &block;
    assert_eq!(split(&mut server.send(&known)).1, format!("{size}\n"));
    let chunked = format!(
        "{}{size:x}\r\n{block}\r\n0\r\n\r\n",
        head("Transfer-Encoding: chunked")
    );
    assert_eq!(split(&mut server.send(&chunked)).1, format!("{size}\n"));
}

#[test]
fn a_client_that_goes_closes_the_iterable() {
    let server = Server::start();
    let mut client = server.open("/legacy/endless");
    let mut buffer = vec![0; 1_000_000];
    client.read_exact(&mut buffer).expect("it has no end");
    drop(client);
    let deadline = Instant::now() + PATIENCE;
    while server.get("/legacy/ended").1 != "1\n" {
        assert!(Instant::now() < deadline, "the iterable was not closed");
    }
}

#[test]
fn clients_that_do_not_read_hold_threads_and_axum_goes_on() {
    let server = Server::start();
    // As many as the pool has threads.
    let held: Vec<_> = (0..4).map(|_| server.open("/legacy/endless")).collect();
    for mut client in held
        .iter()
        .map(|client| client.try_clone().expect("a copy"))
    {
        client.read_exact(&mut [0; 1000]).expect("it has begun");
    }
    let mut waits = server.open("/legacy/");
    for _ in 0..20 {
        assert_eq!(server.get("/").1, "axum\n");
    }
    drop(held);
    assert_eq!(split(&mut waits).0, "HTTP/1.1 200 OK");
}

#[test]
fn a_graceful_stop_lets_a_call_end() {
    let mut server = Server::start();
    let mut slow = server.open("/legacy/slow");
    let mut begun = Vec::new();
    while !begun.ends_with(b"begun\n\r\n") {
        let mut byte = [0];
        slow.read_exact(&mut byte).expect("it begins");
        begun.extend_from_slice(&byte);
    }
    server.terminate();
    let mut rest = String::new();
    slow.read_to_string(&mut rest).expect("it ends");
    assert_eq!(unchunked(&rest), "ended\n");
    server.wait();
}
