//! Calls of WSGI applications without a socket, for the benchmarks that measure them.

use std::hint::black_box;

use oxicorn::h1::{Head, Version};
use oxicorn::service::{Address, ConnectionInfo, ServiceContext};
use oxicorn::testing::Recorder;
use oxicorn::wsgi::{App, Application};
use oxicorn::{Body, Request, Responder, Service};

const SOURCE: &str = r#"
BODY = [b"Hello, World!\n"]
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "14")]

def hello(environ, start_response):
    start_response("200 OK", HEADERS)
    return BODY

def nothing(environ, start_response):
    start_response("200 OK", [])
    return []

def generator(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one"
    yield b"two"

def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
"#;

/// The fields that a browser sends.
pub(crate) const BROWSER: [(&str, &str); 10] = [
    ("Host", "shop.example"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Connection", "keep-alive"),
    ("Cookie", "sessionid=4f1a6c0e; csrftoken=b5c9d2"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
];

/// An application that is called again and again.
pub(crate) struct Bench {
    pub(crate) application: Application,
    connection: ConnectionInfo,
    recorder: Recorder,
}

impl Bench {
    /// Loads one of the applications above.
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("oxicorn-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        std::fs::write(folder.join("bench_apps.py"), SOURCE).expect("a temporary file");
        let local = Address::Ip(([127, 0, 0, 1], 8000).into());
        let context = ServiceContext::new(std::slice::from_ref(&local));
        let application = App::new(format!("bench_apps:{name}"))
            .python_path([&folder])
            .load(&context)
            .expect("the application loads");
        let _ = std::fs::remove_dir_all(&folder);
        Self {
            application,
            connection: ConnectionInfo::new(Address::Ip(([127, 0, 0, 1], 50_000).into()), 0, local),
            recorder: Recorder::new(),
        }
    }

    /// Calls it once, and drops the response.
    pub(crate) fn call(&self, head: &Head, body: Body<'_>) {
        self.recorder.clear();
        let request = Request::new(black_box(head), &self.connection, body);
        let sent = self
            .application
            .call(request, Responder::new(&self.recorder));
        let _ = black_box(sent.expect("the call succeeds"));
    }
}

/// A request's head.
pub(crate) fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> Head {
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    Head::new(method, target, Version::HTTP_11, fields).expect("a valid head")
}
