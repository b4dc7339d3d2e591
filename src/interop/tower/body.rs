//! [`PooledFuture`] and [`PooledBody`]: a response, as the asynchronous server waits for it.
//!
//! Both feed the call with the request's body, one piece when it wants one.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderValue, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use super::call::{Channel, End};
use crate::error::Error;

/// A request's body of any type.
pub(super) trait Incoming: Send {
    /// The next piece of its data; no piece is its end.
    fn poll_piece(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, String>>>;
}

impl<B: Body<Data: Buf, Error: fmt::Display> + Send> Incoming for B {
    fn poll_piece(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, String>>> {
        self.poll_frame(context).map(|frame| {
            // Trailers have no place in an exchange: they are a piece without bytes.
            let piece = |frame: Frame<B::Data>| {
                let data = frame.into_data().ok();
                data.map_or_else(Bytes::new, |mut data| data.copy_to_bytes(data.remaining()))
            };
            frame.map(|frame| frame.map(piece).map_err(|error| error.to_string()))
        })
    }
}

/// The asynchronous end of a call, which ends with it.
struct Client {
    channel: Arc<Channel>,
    /// What is left of the request's body.
    incoming: Option<Pin<Box<dyn Incoming>>>,
}

impl Client {
    /// Has this task woken for what the thread does, and gives the thread a piece of the request's body if it wants one.
    fn feed(&mut self, context: &mut Context<'_>) {
        loop {
            {
                let mut state = self.channel.lock();
                state.task = Some(context.waker().clone());
                if !state.wants_input {
                    return;
                }
                if self.incoming.is_none() {
                    state.wants_input = false;
                    state.input_end.get_or_insert(Ok(()));
                    self.channel.tell_thread();
                    return;
                }
            }
            let Some(incoming) = &mut self.incoming else {
                return;
            };
            let Poll::Ready(piece) = incoming.as_mut().poll_piece(context) else {
                return;
            };
            let mut state = self.channel.lock();
            match piece {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => state.input = bytes,
                ended => {
                    self.incoming = None;
                    state.input_end = Some(ended.map_or(Ok(()), |piece| piece.map(drop)));
                }
            }
            state.wants_input = false;
            self.channel.tell_thread();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.channel.leave();
    }
}

/// The response of a [`PooledService`](super::PooledService), to wait for. Where it is dropped, the client has gone.
pub struct PooledFuture(Progress);

enum Progress {
    Waiting(Client),
    Answered(Option<http::Response<PooledBody>>),
}

/// The body of a response of a [`PooledService`](super::PooledService). Where it is dropped before its end, the client has
/// gone: the call's next write fails, and a WSGI iterable is closed.
pub struct PooledBody(Content);

enum Content {
    Streamed(Client),
    Text(Option<Bytes>),
}

impl PooledFuture {
    pub(super) fn new(channel: Arc<Channel>, incoming: Option<Pin<Box<dyn Incoming>>>) -> Self {
        Self(Progress::Waiting(Client { channel, incoming }))
    }

    /// An answer that needs no call.
    pub(super) fn answer(status: StatusCode, text: &str) -> Self {
        Self(Progress::Answered(Some(answer(status, text))))
    }
}

fn answer(status: StatusCode, text: &str) -> http::Response<PooledBody> {
    let body = PooledBody(Content::Text(Some(Bytes::copy_from_slice(text.as_bytes()))));
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

impl Future for PooledFuture {
    type Output = Result<http::Response<PooledBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let client = match &mut self.0 {
            Progress::Waiting(client) => client,
            Progress::Answered(response) => {
                let response = response.take();
                return Poll::Ready(Ok(response.expect("a future is polled until it is ready")));
            }
        };
        client.feed(context);
        let (head, end) = {
            let mut state = client.channel.lock();
            (state.head.take(), state.end)
        };
        if head.is_none() && end.is_none() {
            return Poll::Pending;
        }
        let Progress::Waiting(client) = std::mem::replace(&mut self.0, Progress::Answered(None))
        else {
            unreachable!("it waits")
        };
        Poll::Ready(Ok(match head {
            Some(head) => head.map(|()| PooledBody(Content::Streamed(client))),
            None => answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The server could not answer this request\n",
            ),
        }))
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let client = match &mut self.0 {
            Content::Streamed(client) => client,
            Content::Text(text) => {
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
        };
        client.feed(context);
        let mut state = client.channel.lock();
        if let Some(block) = state.next_block() {
            client.channel.tell_thread();
            return Poll::Ready(Some(Ok(Frame::data(block))));
        }
        match state.end {
            None => Poll::Pending,
            Some(End::Complete) => Poll::Ready(None),
            Some(End::Failed) => Poll::Ready(Some(Err(Error::new(
                "the application failed within its response",
            )))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Streamed(client) => {
                let state = client.channel.lock();
                state.output.is_empty() && state.end == Some(End::Complete)
            }
            Content::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Streamed(_) => SizeHint::new(),
            Content::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

impl fmt::Debug for PooledFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledFuture")
    }
}

impl fmt::Debug for PooledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledBody")
    }
}
