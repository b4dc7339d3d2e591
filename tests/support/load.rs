//! [`Load`]: clients that keep a server busy and count every answer that is not the one they asked for.
//!
//! Nothing is excused: a kept connection that ends without an answer has said `Connection: close`, or it is a failure.
//! Nothing is asked twice but on a connection that was silent for [`KEEPALIVE`], which a server may have closed
//! (RFC 9112 §9.5): on a busy machine a client may be stopped for so long.
//!
//! ```text
//!   Line::connect ─▶ ask ─▶ answer ─┬─ may be kept, by a client that keeps ──▶ ask
//!                                   └─ close ──▶ end of input ──▶ Line::connect
//! ```
//!
//! *Invariants*: a request's token is unique, and its answer holds nothing but that token; what a client asks
//! for follows from its number alone.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use oxicorn::time::MonoTime;

use super::{Address, Broken, Client, PATIENCE, Response};

/// How long a client stays away from a server that has failed it.
const PAUSE: Duration = Duration::from_millis(10);
/// The default of `keepalive`.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// How many failures are described.
const DESCRIBED: usize = 8;

/// How a request can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// No connection.
    Refused,
    /// The server has reset it.
    Reset,
    /// The server has closed it before the first byte of an answer.
    Unanswered,
    /// It has ended within an answer.
    Truncated,
    /// The answer is another one, or not the last thing that came.
    Wrong,
    /// Nothing came in time.
    TimedOut,
}

/// A request that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: Kind,
    what: String,
    /// When the request's last byte was sent, if it was.
    sent: Option<MonoTime>,
}

impl Failure {
    fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            sent: None,
        }
    }

    /// An error of the socket, where `end` is what its end means.
    fn io(error: &io::Error, end: Kind) -> Self {
        let kind = match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Kind::Reset,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Kind::TimedOut,
            _ => end,
        };
        Self::new(kind, error.to_string())
    }

    /// The same of a response that is not whole.
    fn broken(broken: &Broken, end: Kind) -> Self {
        match broken {
            Broken::Io(error) => Self::io(error, end),
            Broken::Cut(_) => Self::new(end, broken.to_string()),
            Broken::Malformed(what) => Self::new(Kind::Wrong, what),
        }
    }

    /// Whether the request was complete before that moment.
    pub(crate) fn sent_before(&self, moment: MonoTime) -> bool {
        self.sent.is_some_and(|sent| sent < moment)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// One request, and so its answer: `size` bytes of the token, over and over.
#[derive(Debug)]
pub(crate) struct Ask {
    token: String,
    size: usize,
    /// The body is sent by the client, and comes back.
    upload: bool,
    close: bool,
    /// How long the service is to take.
    millis: u64,
}

impl Ask {
    /// The request of that number by that client: mostly small ones, some of which need several reads or
    /// writes.
    pub(crate) fn new(client: usize, number: u64, close: bool) -> Self {
        Self {
            token: format!("c{client}n{number}."),
            size: match number % 16 {
                7 => 150_000,
                11 => 5_000,
                rest => 24 + 16 * rest as usize,
            },
            upload: number % 4 == 3,
            close,
            millis: 0,
        }
    }

    /// The service is to take that long for it.
    pub(crate) fn slow(mut self, millis: u64) -> Self {
        self.millis = millis;
        self
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.token.repeat(self.size / self.token.len() + 1);
        body.truncate(self.size);
        body.into_bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        let method = if self.upload { "POST" } else { "GET" };
        let Self {
            token,
            size,
            millis,
            ..
        } = self;
        let mut bytes =
            format!("{method} /{token}/{size}?{millis} HTTP/1.1\r\nHost: load\r\n").into_bytes();
        if self.close {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        if self.upload {
            bytes.extend_from_slice(format!("Content-Length: {size}\r\n\r\n").as_bytes());
            bytes.extend_from_slice(&self.body());
        } else {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

/// One connection.
pub(crate) struct Line {
    client: Client,
    sent: Option<MonoTime>,
    /// Whether the server may have closed it before the last request came.
    may_be_over: bool,
}

impl Line {
    /// Connects.
    pub(crate) fn connect(address: &Address) -> Result<Self, Failure> {
        let client = address.connect();
        let client = client.map_err(|e| Failure::io(&e, Kind::Refused))?;
        Ok(Self {
            client,
            sent: None,
            may_be_over: false,
        })
    }

    /// Sends a request.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<(), Failure> {
        let before = self.sent.take();
        let sent = self.client.try_send(ask.bytes());
        let now = MonoTime::now();
        // It was answered after it was sent.
        self.may_be_over = before.is_some_and(|before| now.since(before) >= KEEPALIVE);
        sent.map_err(|e| Failure::io(&e, Kind::Reset))?;
        self.sent = Some(now);
        Ok(())
    }

    /// Receives its answer, and says whether the connection can be kept. If it cannot, its end was seen.
    pub(crate) fn answer(&mut self, ask: &Ask) -> Result<bool, Failure> {
        self.receive(ask).map_err(|failure| Failure {
            what: format!("{} after the request {}", failure.what, ask.token),
            sent: self.sent,
            ..failure
        })
    }

    fn receive(&mut self, ask: &Ask) -> Result<bool, Failure> {
        let begun = self.client.try_begin();
        begun.map_err(|e| Failure::broken(&e, Kind::Unanswered))?;
        let response = self.client.try_response();
        let response = response.map_err(|e| Failure::broken(&e, Kind::Truncated))?;
        let close = check(&response, ask)?;
        if close {
            let rest = self.client.try_rest();
            let rest = rest.map_err(|e| Failure::broken(&e, Kind::Wrong))?;
            if !rest.is_empty() {
                return Err(Failure::new(Kind::Wrong, "more than one answer"));
            }
        }
        Ok(!close)
    }
}

/// Whether a response, which is the one that was asked for, ends its connection.
fn check(response: &Response, ask: &Ask) -> Result<bool, Failure> {
    let wrong = |what| Err(Failure::new(Kind::Wrong, what));
    if (response.version.as_str(), response.status) != ("HTTP/1.1", 200)
        || response.header("content-length").is_none()
    {
        return wrong(format!("the head {response:?}"));
    }
    if response.body != ask.body() {
        let text = String::from_utf8_lossy(&response.body);
        let text: String = text.chars().take(60).collect();
        return wrong(format!("the body {text:?}"));
    }
    let close = response.header("connection");
    Ok(close.is_some_and(|value| value.eq_ignore_ascii_case("close")))
}

/// One request on a connection of its own.
pub(crate) fn ask_once(address: &Address) -> Result<(), Failure> {
    let ask = Ask::new(0, 0, true);
    let mut line = Line::connect(address)?;
    line.ask(&ask)?;
    line.answer(&ask).map(|_| ())
}

/// What the clients have in common.
#[derive(Debug)]
struct Shared {
    address: Address,
    start: MonoTime,
    stop: AtomicBool,
    answered: AtomicU64,
    /// When the last answer came, whoever got it, in nanoseconds from the start.
    last: AtomicU64,
    /// The longest time in which nobody got one, in nanoseconds.
    gap: AtomicU64,
}

/// Clients at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Report>>,
}

impl Load {
    /// Starts `kept` clients that keep their connections, and `closing` ones that ask once on each.
    pub(crate) fn start(address: &Address, kept: usize, closing: usize) -> Self {
        let shared = Arc::new(Shared {
            address: address.clone(),
            start: MonoTime::now(),
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            last: AtomicU64::new(0),
            gap: AtomicU64::new(0),
        });
        let client = |number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.client(number, number >= kept))
        };
        Self {
            clients: (0..kept + closing).map(client).collect(),
            shared,
        }
    }

    /// How many right answers have come.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits for that many right answers.
    ///
    /// # Panics
    ///
    /// Where none comes for [`PATIENCE`].
    #[track_caller]
    pub(crate) fn wait_for(&self, count: u64) {
        let mut before = self.answered();
        let mut since = MonoTime::now();
        while before < count {
            thread::sleep(PAUSE);
            let answered = self.answered();
            let now = MonoTime::now();
            if answered > before {
                (before, since) = (answered, now);
            }
            assert!(now.since(since) < PATIENCE, "no answer after {answered}");
        }
    }

    /// Looks for the longest time without an answer from now on.
    pub(crate) fn forget_gap(&self) {
        self.shared.gap.store(0, Ordering::Relaxed);
    }

    /// Lets each client finish its request, and adds up.
    pub(crate) fn stop(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut report = Report::default();
        for client in self.clients {
            report.add(client.join().expect("a client counts and does not panic"));
        }
        report.took.sort_unstable();
        report.gap = Duration::from_nanos(self.shared.gap.load(Ordering::Relaxed));
        report
    }
}

impl Shared {
    fn client(&self, client: usize, close: bool) -> Report {
        let mut report = Report::default();
        let mut line = None;
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let start = MonoTime::now();
            let ask = Ask::new(client, number, close);
            number += 1;
            match self.exchange(line.take(), &ask) {
                Ok(kept) => {
                    report.turned_away += u64::from(kept.is_none() && !close);
                    line = kept;
                    let took = self.answer_came(start);
                    report.took.push(took);
                    if report.slowest.as_ref().is_none_or(|(most, _)| *most < took) {
                        report.slowest = Some((took, ask.token));
                    }
                }
                Err(failure) => {
                    report.failures.push(failure);
                    thread::sleep(PAUSE);
                }
            }
        }
        report
    }

    fn exchange(&self, line: Option<Line>, ask: &Ask) -> Result<Option<Line>, Failure> {
        let mut line = match line {
            Some(line) => line,
            None => Line::connect(&self.address)?,
        };
        // A server may answer and close before it has read everything: so the answer is looked for.
        let asked = line.ask(ask);
        let kept = line
            .answer(ask)
            .map_err(|answer| asked.err().unwrap_or(answer));
        match kept {
            Ok(kept) => Ok(kept.then_some(line)),
            Err(failure)
                if line.may_be_over && matches!(failure.kind, Kind::Unanswered | Kind::Reset) =>
            {
                self.exchange(None, ask)
            }
            Err(failure) => Err(failure),
        }
    }

    /// How long it took, in microseconds.
    fn answer_came(&self, start: MonoTime) -> u32 {
        let now = MonoTime::now();
        self.answered.fetch_add(1, Ordering::Relaxed);
        let nanos = now.since(self.start).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let last = self.last.fetch_max(nanos, Ordering::Relaxed);
        self.gap
            .fetch_max(nanos.saturating_sub(last), Ordering::Relaxed);
        u32::try_from(now.since(start).as_micros()).unwrap_or(u32::MAX)
    }
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Microseconds that each answer took, in order once the clients have stopped.
    took: Vec<u32>,
    /// The longest of them, and the token of its request.
    slowest: Option<(u32, String)>,
    /// The requests that were not answered rightly, in each client's order.
    pub(crate) failures: Vec<Failure>,
    /// How often a server closed a connection that a client would have kept, and said so.
    turned_away: u64,
    /// The longest time without an answer to anybody.
    pub(crate) gap: Duration,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        self.slowest = self.slowest.take().max(other.slowest);
        self.failures.extend(other.failures);
        self.turned_away += other.turned_away;
    }

    /// The time within which that many of a thousand answers came.
    fn within(&self, thousandths: usize) -> Duration {
        let last = self.took.len().saturating_sub(1);
        let micros = self.took.get(last * thousandths / 1000).copied();
        Duration::from_micros(micros.unwrap_or(0).into())
    }

    /// The longest that an answer took.
    pub(crate) fn longest(&self) -> Duration {
        self.within(1000)
    }

    /// Fails where a request has failed, with how many of each kind and the first few.
    #[track_caller]
    pub(crate) fn assert_flawless(&self, what: &str) {
        let mut counts: Vec<(Kind, usize)> = Vec::new();
        for failure in &self.failures {
            match counts.iter_mut().find(|(kind, _)| *kind == failure.kind) {
                Some((_, count)) => *count += 1,
                None => counts.push((failure.kind, 1)),
            }
        }
        let first: Vec<String> = self
            .failures
            .iter()
            .take(DESCRIBED)
            .map(ToString::to_string)
            .collect();
        assert!(
            counts.is_empty(),
            "{what}: {counts:?} of {self}\n{}",
            first.join("\n")
        );
        assert!(!self.took.is_empty(), "{what}: nobody has asked");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answers, {} failed; p50 {:?}, p99 {:?}, max {:?} ({}), gap {:?}; {} connections closed by the server",
            self.took.len(),
            self.failures.len(),
            self.within(500),
            self.within(990),
            self.longest(),
            self.slowest.as_ref().map_or("none", |(_, token)| token),
            self.gap,
            self.turned_away,
        )
    }
}
