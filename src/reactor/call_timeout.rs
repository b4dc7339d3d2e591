//! [`CallTimeout`]: decides which side answers a request that takes long, its call or the watch over its deadline.
//!
//! It takes no lock, allocates nothing and waits for no more than the other side's system calls, so that a signal handler
//! may use it (signal-safety(7)).
//!
//! ```text
//!   arm ──▶ Free ── begin ──▶ Begun ── settle ──▶ Settled
//!            │ ◀── unbegin ─── │
//!          expire            expire
//!            ▼                 ▼
//!          Busy ─▶ Refused   Busy ─▶ Cut          then settle changes nothing
//! ```
//!
//! *Invariants*: one side wins; the socket is the call's, and is used here in `Busy` only, which `settle`
//! waits for: so a timeout that is settled knows no socket that may be closed.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Config;
use super::error_response::ErrorResponse;
use super::host::Host;
use super::response::Response;
use super::transport::RawSocket;
use crate::access::{Access, Recorded, RefusalCause, RequestTimes};
use crate::atomic_enum::{AtomicEnum, numbered};
use crate::h1::{self, Head};
use crate::service::{ConnectionInfo, RequestInfo};
use crate::time::MonoTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no call, or its response is complete.
    Settled,
    /// A call runs that has sent nothing.
    Free,
    /// Its response has begun.
    Begun,
    /// It is being given up just now.
    Busy,
    /// It was answered in its place.
    Refused,
    /// The same, and that has been recorded.
    Recorded,
    /// Its response was cut, since it had begun.
    Cut,
}

numbered!(State: Settled, Free, Begun, Busy, Refused, Recorded, Cut);

/// The end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// It answers itself.
    InTime,
    /// It was answered in its place.
    Refused { recorded: bool, answer: Response },
    /// Its response was cut.
    Cut,
}

/// What can be sent in a call's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LateAnswer {
    Page,
    /// A head alone: the request is a HEAD.
    Head,
    /// Nothing: the connection is encrypted, by a session that the call has.
    Nothing,
}

/// The timeouts of a reactor's calls.
#[derive(Debug)]
pub(super) struct CallTimeouts {
    pub(super) limit: Duration,
    page: Page,
    only: Option<Arc<CallTimeout>>,
}

impl CallTimeouts {
    /// `None` where a call may take as long as it likes.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let limit = config.settings.request_timeout;
        (!limit.is_zero()).then(|| Self {
            limit,
            page: Page::new(config),
            only: None,
        })
    }

    pub(super) fn timeout(&self) -> Arc<CallTimeout> {
        match &self.only {
            Some(only) => Arc::clone(only),
            None => Arc::new(CallTimeout::new(self.page.clone())),
        }
    }

    /// The timeout of all calls, of which there is one at a time.
    pub(super) fn only(&mut self) -> Arc<CallTimeout> {
        let only = self.timeout();
        Arc::clone(self.only.insert(only))
    }
}

/// The response that is sent in a call's place: a head, and a page.
#[derive(Clone, Debug)]
struct Page {
    status: u16,
    bytes: Bytes,
    head: usize,
}

impl Page {
    /// That of a reactor with this configuration. Without a date, which RFC 9110 §6.6.1 leaves to us and a
    /// signal handler cannot make.
    fn new(config: &Config) -> Self {
        let refusal = ErrorResponse {
            status: 504,
            text: "The application did not answer in time",
            head: None,
            connection: None,
            request_id: None,
        };
        let server = match config.settings.server_header.as_str() {
            "" => String::new(),
            server => format!("Server: {server}\r\n"),
        };
        let mut bytes = BytesMut::new();
        let http = &mut h1::Conn::server(h1::ConnConfig::default());
        let made = refusal.encode(&config.error_page, server.as_bytes(), http, &mut bytes);
        let body = usize::try_from(made.sent).unwrap_or(0);
        Self {
            status: made.status,
            head: bytes.len() - body,
            bytes: bytes.freeze(),
        }
    }
}

/// The decision about one call at a time.
pub(crate) struct CallTimeout {
    state: AtomicEnum<State>,
    socket: AtomicI32,
    due: AtomicU64,
    /// How much of the page its client is to have; 0 where it can have none.
    length: AtomicUsize,
    page: Page,
}

impl CallTimeout {
    fn new(page: Page) -> Self {
        Self {
            state: AtomicEnum::new(State::Settled),
            socket: AtomicI32::new(-1),
            due: AtomicU64::new(0),
            length: AtomicUsize::new(0),
            page,
        }
    }

    /// A call begins that is to have answered by `due`.
    fn arm(&self, socket: RawSocket, due: MonoTime, late: LateAnswer) {
        let length = match late {
            LateAnswer::Page => self.page.bytes.len(),
            LateAnswer::Head => self.page.head,
            LateAnswer::Nothing => 0,
        };
        self.socket.store(socket.0, Ordering::Relaxed);
        self.due.store(due.as_nanos(), Ordering::Relaxed);
        self.length.store(length, Ordering::Relaxed);
        self.set(State::Free);
    }

    /// The call is about to send something. `false` where it may not: it was given up.
    pub(super) fn begin(&self) -> bool {
        loop {
            if self.change(State::Free, State::Begun) {
                return true;
            }
            match self.decided() {
                State::Free => {}
                state => return matches!(state, State::Begun | State::Settled),
            }
        }
    }

    /// Records that the bytes which the call has sent are no response yet, and that all of them have left.
    pub(super) fn unbegin(&self) {
        self.change(State::Begun, State::Free);
    }

    /// The call's response is complete, or the call has ended: it can no longer be given up.
    pub(super) fn settle(&self) -> CallOutcome {
        loop {
            match self.decided() {
                state @ (State::Free | State::Begun) => {
                    self.change(state, State::Settled);
                }
                State::Cut => return CallOutcome::Cut,
                state @ (State::Refused | State::Recorded) => {
                    return CallOutcome::Refused {
                        recorded: state == State::Recorded,
                        answer: self.answer(),
                    };
                }
                State::Settled | State::Busy => return CallOutcome::InTime,
            }
        }
    }

    /// Gives a call up that is overdue: answers in its place if it has sent nothing, else cuts its response.
    /// `record` says whether the caller records that answer. `None` where there is nothing to give up.
    pub(crate) fn expire(&self, now: MonoTime, record: bool) -> Option<CallOutcome> {
        let late = || now.as_nanos() >= self.due.load(Ordering::Relaxed);
        let state = loop {
            let state = self.state();
            if !matches!(state, State::Free | State::Begun) || !late() {
                return None;
            }
            // Unless it has just begun its response, or ended.
            if self.change(state, State::Busy) {
                break state;
            }
        };
        if !late() {
            // It has ended since, and another one has begun.
            self.set(state);
            return None;
        }
        let socket = RawSocket(self.socket.load(Ordering::Relaxed));
        let length = self.length.load(Ordering::Relaxed);
        let may_answer = state == State::Free && length > 0;
        let answered = may_answer && socket.send(&self.page.bytes[..length]);
        let verdict = if answered {
            CallOutcome::Refused {
                recorded: record,
                answer: self.answer(),
            }
        } else {
            CallOutcome::Cut
        };
        socket.shut(!answered);
        self.set(match (answered, record) {
            (false, _) => State::Cut,
            (true, false) => State::Refused,
            (true, true) => State::Recorded,
        });
        Some(verdict)
    }

    /// The response that the call's client gets, or has got.
    fn answer(&self) -> Response {
        let sent = self.length.load(Ordering::Relaxed) - self.page.head;
        Response::whole(self.page.status, sent as u64)
    }

    /// The state, once it is not `Busy`.
    fn decided(&self) -> State {
        loop {
            match self.state() {
                State::Busy => thread::yield_now(),
                state => return state,
            }
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        let state = self.decided();
        !matches!(state, State::Settled | State::Free | State::Begun)
    }

    fn state(&self) -> State {
        self.state.load(Ordering::Acquire)
    }

    fn set(&self, state: State) {
        self.state.store(state, Ordering::Release);
    }

    fn change(&self, from: State, to: State) -> bool {
        self.state.change(from, to, Ordering::AcqRel)
    }
}

impl fmt::Debug for CallTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallTimeout").field(&self.state()).finish()
    }
}

/// A call's side of a timeout. To be dropped before the socket is closed.
#[derive(Debug)]
pub(super) struct CallTimeoutGuard(Arc<CallTimeout>);

impl CallTimeoutGuard {
    /// A call begins on `socket` that is to have answered by `due`.
    pub(super) fn new(
        timeout: Arc<CallTimeout>,
        socket: RawSocket,
        due: MonoTime,
        late: LateAnswer,
    ) -> Self {
        timeout.arm(socket, due, late);
        Self(timeout)
    }
}

impl Deref for CallTimeoutGuard {
    type Target = CallTimeout;

    fn deref(&self) -> &CallTimeout {
        &self.0
    }
}

impl Drop for CallTimeoutGuard {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// A call that is given up at the connection's deadline, and what is to be recorded then.
pub(super) struct CallDeadline {
    pub(super) timeout: Arc<CallTimeout>,
    pub(super) info: Arc<ConnectionInfo>,
    pub(super) request: RequestInfo,
    pub(super) head: Option<Head>,
    /// Bytes of its body that were received before.
    pub(super) received: u64,
    pub(super) started: MonoTime,
    pub(super) times: RequestTimes,
}

impl CallDeadline {
    pub(super) fn expire(&self, now: MonoTime, host: &dyn Host) {
        if let Some(CallOutcome::Refused { answer, .. }) = self.timeout.expire(now, true) {
            host.finished(&Access {
                pid: 0,
                worker: 0,
                connection: &self.info,
                request: &self.request,
                head: self.head.as_ref(),
                status: answer.status,
                refusal: Some(RefusalCause::CallTimeout),
                received: self.received,
                sent: answer.sent,
                started: self.started,
                finished: now,
                times: self.times,
                recorded: Recorded::NONE,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    const DUE: MonoTime = MonoTime::from_nanos(1000);

    /// A call of which the test has the client's side.
    fn call(late: LateAnswer) -> (Arc<CallTimeout>, CallTimeoutGuard, UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let timeout = Arc::new(CallTimeout::new(Page::new(&Config::default())));
        let armed =
            CallTimeoutGuard::new(Arc::clone(&timeout), RawSocket(ours.as_raw_fd()), DUE, late);
        theirs
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        (timeout, armed, ours, theirs)
    }

    fn read(mut client: UnixStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn an_overdue_call_that_has_sent_nothing_is_answered_once() {
        let (timeout, armed, _ours, client) = call(LateAnswer::Page);
        assert_eq!(timeout.expire(MonoTime::ZERO, true), None);
        let expired = timeout.expire(DUE, true);
        assert_eq!(timeout.expire(DUE, true), None);
        assert!(armed.is_given_up() && !armed.begin());
        assert_eq!(expired, Some(armed.settle()));
        let Some(CallOutcome::Refused { recorded, answer }) = expired else {
            panic!("{expired:?}");
        };
        assert!(recorded);
        let text = read(client);
        assert!(text.starts_with("HTTP/1.1 504 Gateway Timeout\r\nServer: oxicorn\r\n"));
        let (head, page) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Connection: close"));
        assert_eq!((504, page.len() as u64), (answer.status, answer.sent));
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let (timeout, _armed, _ours, client) = call(LateAnswer::Head);
        let answer = Response::whole(504, 0);
        let refused = CallOutcome::Refused {
            recorded: false,
            answer,
        };
        assert_eq!(timeout.expire(DUE, false), Some(refused));
        assert!(read(client).ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_response_that_has_begun_is_cut() {
        let (timeout, armed, _ours, client) = call(LateAnswer::Page);
        assert!(armed.begin() && armed.begin());
        assert_eq!(timeout.expire(DUE, true), Some(CallOutcome::Cut));
        assert!(!armed.begin());
        assert_eq!(armed.settle(), CallOutcome::Cut);
        assert_eq!(read(client), "");
    }

    #[test]
    fn an_overdue_call_of_an_encrypted_connection_is_cut() {
        let (timeout, armed, _ours, client) = call(LateAnswer::Nothing);
        assert_eq!(timeout.expire(DUE, true), Some(CallOutcome::Cut));
        assert!(!armed.begin());
        assert_eq!(armed.settle(), CallOutcome::Cut);
        assert_eq!(read(client), "");
    }

    #[test]
    fn a_call_with_only_hints_sent_is_answered_an_ended_one_is_not() {
        let (timeout, armed, _ours, _client) = call(LateAnswer::Page);
        assert!(armed.begin());
        armed.unbegin();
        assert!(timeout.expire(DUE, false).is_some());
        let (timeout, armed, ours, _client) = call(LateAnswer::Page);
        assert!(armed.begin());
        assert_eq!(armed.settle(), CallOutcome::InTime);
        assert_eq!(timeout.expire(DUE, false), None);
        // What it still sends is its own affair.
        assert!(armed.begin());
        drop(armed);
        let next = CallTimeoutGuard::new(
            Arc::clone(&timeout),
            RawSocket(ours.as_raw_fd()),
            DUE,
            LateAnswer::Page,
        );
        assert_eq!(next.settle(), CallOutcome::InTime);
    }

    #[test]
    fn one_side_wins_each_time() {
        for _ in 0..200 {
            let (timeout, armed, _ours, client) = call(LateAnswer::Page);
            thread::scope(|threads| {
                let watcher =
                    threads.spawn(|| timeout.expire(DUE, false) != Some(CallOutcome::Cut));
                let begun = armed.begin();
                let answered = watcher.join().unwrap();
                assert_ne!(begun, answered);
                assert_eq!(armed.settle() == CallOutcome::Cut, begun);
            });
            assert_eq!(read(client).is_empty(), armed.settle() == CallOutcome::Cut);
        }
    }
}
