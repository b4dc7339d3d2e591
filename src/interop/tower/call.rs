//! [`Channel`]: what a call's thread and its task share; [`Call`]: a request on its way to a thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::{BUFFERED, lock};
use crate::error::{Error, Kind, Result};
use crate::h1::Head;
use crate::interop::http::foreign;
use crate::service::{Body, ConnectionInfo, Exchange, Request, RequestInfo, Responder, Service};
use crate::sys::fork;
use crate::trace;

/// What a call's thread and its task share.
#[derive(Debug, Default)]
pub(super) struct Channel {
    state: Mutex<State>,
    /// The thread has something to look at.
    changed: Condvar,
}

/// How a call has ended, as its task sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The response is complete.
    Complete,
    /// There is no response, or only a part of one.
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether the thread waits for a piece of the request's body.
    pub(super) wants_input: bool,
    /// A piece of the request's body that was not read yet.
    pub(super) input: Bytes,
    /// The end of the request's body: with the cause, where it was cut.
    pub(super) input_end: Option<Result<(), String>>,
    /// The head of the response, until the task takes it.
    pub(super) head: Option<http::Response<()>>,
    /// Blocks of the response that the task has not taken.
    pub(super) output: VecDeque<Bytes>,
    pub(super) end: Option<End>,
    /// Whether the client has gone, and nothing is read or written any more.
    gone: bool,
    /// The number of bytes in `output`.
    buffered: usize,
    /// What waits for the thread.
    pub(super) task: Option<Waker>,
}

impl Channel {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The client goes: the call's reads and writes fail from now on.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.gone = true;
        state.output.clear();
        state.input.clear();
        self.tell_thread();
        state.wake();
    }

    /// Has the thread look again.
    pub(super) fn tell_thread(&self) {
        self.changed.notify_one();
    }

    /// Waits until `look` finds something, or the client goes.
    fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        let mut state = self.lock();
        loop {
            if state.gone {
                return Err(Error::disconnected());
            }
            if let Some(found) = look(&mut state) {
                state.wake();
                return Ok(found);
            }
            state.wake();
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        state.wake();
    }
}

impl State {
    /// Has the task look again.
    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// The next block of the response.
    pub(super) fn next_block(&mut self) -> Option<Bytes> {
        let block = self.output.pop_front()?;
        self.buffered -= block.len();
        Some(block)
    }
}

/// A request on its way to a thread.
pub(super) struct Call {
    head: Head,
    connection: ConnectionInfo,
    info: RequestInfo,
    /// How much of the path is the mount.
    mounted: usize,
    /// Whether it is known to have no body.
    empty: bool,
    channel: Arc<Channel>,
}

impl Call {
    pub(super) fn new(
        head: Head,
        connection: ConnectionInfo,
        info: RequestInfo,
        mounted: usize,
        empty: bool,
        channel: Arc<Channel>,
    ) -> Self {
        Self {
            head,
            connection,
            info,
            mounted,
            empty,
            channel,
        }
    }

    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Calls the service, unless the client has gone already. An error is logged.
    pub(super) fn run(&self, service: &dyn Service) {
        if self.channel.lock().gone {
            return self.channel.end(End::Failed);
        }
        let exchange = CallExchange {
            channel: &self.channel,
            is_head: self.head.method() == Method::HEAD,
            response: RefCell::default(),
        };
        let body = if self.empty {
            Body::empty()
        } else {
            Body::stream(&exchange)
        };
        let request = Request::new(&self.head, &self.connection, body)
            .with_info(&self.info)
            .mounted_at(self.mounted);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            service.call(request, Responder::new(&exchange))
        }));
        let outcome = outcome.unwrap_or_else(|panic| Err(Error::panicked("the service", &*panic)));
        if fork::is_child() {
            // The application has forked, and the child has come back.
            trace::error!("A child that a request has forked came back from it, and ends");
            fork::vanish(1);
        }
        self.channel.end(match &outcome {
            Ok(_) => End::Complete,
            Err(_) => End::Failed,
        });
        let Err(error) = outcome else { return };
        let (method, target) = (self.head.method(), self.head.target());
        if error.is_disconnected() || error.is_body() {
            trace::debug!("{method} {target}: {error}");
        } else {
            trace::error!(
                "Error handling request {method} {target}: {}",
                error.report()
            );
        }
    }
}

/// A call as an exchange, on its thread.
struct CallExchange<'c> {
    channel: &'c Channel,
    is_head: bool,
    response: RefCell<Response>,
}

/// How far the response has come.
#[derive(Default)]
struct Response {
    /// The head, until there is a block to send with it.
    head: Option<http::Response<()>>,
    begun: bool,
    ended: bool,
    /// How much of the body is left to write, if its length is known.
    left: Option<u64>,
    /// Whether the response has no body, whatever is written (RFC 9110 §6.4.1).
    bodiless: bool,
}

fn refused(message: &'static str) -> Error {
    Error::of(Kind::Response, message)
}

/// Whether a field belongs to the connection, which is the asynchronous server's (PEP 3333, "Other HTTP Features").
fn is_hop_by_hop(name: &HeaderName) -> bool {
    let own = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TE,
    ];
    own.contains(name)
        || [
            header::TRAILER,
            header::PROXY_AUTHENTICATE,
            header::PROXY_AUTHORIZATION,
        ]
        .contains(name)
        || name == "keep-alive"
}

impl CallExchange<'_> {
    /// Puts bytes of the body on their way, and waits for room.
    fn push(&self, mut bytes: &[u8], last: bool) -> Result<()> {
        let mut response = self.response.borrow_mut();
        if !response.begun || response.ended {
            return Err(refused(
                "a body was written before the response or after its end",
            ));
        }
        let whole = bytes.len() as u64;
        if !response.bodiless {
            if let Some(left) = &mut response.left {
                let excess = whole > *left;
                bytes = &bytes[..whole.min(*left) as usize];
                *left -= bytes.len() as u64;
                if excess {
                    return Err(refused("a body is longer than its Content-Length"));
                }
                if last && *left > 0 {
                    return Err(refused("a body is shorter than its Content-Length"));
                }
            }
        }
        if bytes.is_empty() && !last {
            return self.look();
        }
        let mut head = response.head.take();
        response.ended = last;
        let bodiless = response.bodiless;
        drop(response);
        let mut blocks = bytes.chunks(BUFFERED).filter(|_| !bodiless).peekable();
        loop {
            self.channel.wait(|state| {
                if let Some(head) = head.take() {
                    state.head = Some(head);
                }
                if blocks.peek().is_some() && state.buffered >= BUFFERED {
                    return None;
                }
                if let Some(block) = blocks.next() {
                    state.buffered += block.len();
                    state.output.push_back(Bytes::copy_from_slice(block));
                }
                if last && blocks.peek().is_none() {
                    state.end = Some(End::Complete);
                }
                Some(())
            })?;
            if blocks.peek().is_none() {
                return Ok(());
            }
        }
    }
}

impl Exchange for CallExchange<'_> {
    fn begin<'h>(
        &self,
        status: u16,
        _: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()> {
        if status < 200 {
            return Err(refused("an interim status is no response"));
        }
        let mut head = http::Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).map_err(foreign)?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name).map_err(foreign)?;
            let value = HeaderValue::from_bytes(value).map_err(foreign)?;
            if !is_hop_by_hop(&name) {
                head.headers_mut().append(name, value);
            }
        }
        let mut left = len;
        if let Some(length) = head.headers().get(header::CONTENT_LENGTH) {
            let length = length
                .to_str()
                .ok()
                .and_then(|length| length.trim().parse().ok());
            left = Some(length.ok_or_else(|| refused("Content-Length is no number"))?);
        } else if let Some(len) = len.filter(|_| status != 204 && status != 304) {
            head.headers_mut()
                .insert(header::CONTENT_LENGTH, len.into());
        }
        let mut response = self.response.borrow_mut();
        if response.begun {
            return Err(refused("a response was started twice"));
        }
        *response = Response {
            head: Some(head),
            begun: true,
            ended: false,
            left,
            bodiless: self.is_head || status == 204 || status == 304,
        };
        Ok(())
    }

    fn look(&self) -> Result<()> {
        if self.channel.lock().gone {
            return Err(Error::disconnected());
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        self.push(bytes, false)
    }

    fn write_last(&self, bytes: &[u8]) -> Result<()> {
        self.push(bytes, true)
    }

    fn send_file(&self, file: File, mut offset: u64, len: u64) -> Result<()> {
        let end = offset.saturating_add(len);
        let mut buffer = vec![0; BUFFERED.min(len as usize)];
        while offset < end && !self.is_head {
            let room = (end - offset).min(buffer.len() as u64) as usize;
            match file.read_at(&mut buffer[..room], offset)? {
                0 => return Err(refused("a file ended before the part that was to be sent")),
                n => {
                    self.push(&buffer[..n], false)?;
                    offset += n as u64;
                }
            }
        }
        self.push(&[], true)
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.channel.wait(|state| {
            if state.input.has_remaining() {
                let n = state.input.len().min(buffer.len());
                state.input.copy_to_slice(&mut buffer[..n]);
                return Some(Ok(n));
            }
            match &state.input_end {
                Some(Ok(())) => Some(Ok(0)),
                Some(Err(cause)) => Some(Err(Error::of(
                    Kind::Body,
                    format!("the request's body was cut: {cause}"),
                ))),
                None => {
                    state.wants_input = true;
                    None
                }
            }
        })?
    }
}
