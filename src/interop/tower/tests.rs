use std::collections::VecDeque;
use std::io::{Read, Write};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Wake, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use tower_service::Service as _;

use super::*;
use crate::service::{Request, Responded, Responder};
use crate::time::MonoTime;

/// Wakes the thread that waits.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A body that gives these pieces.
struct Pieces(VecDeque<&'static str>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.pop_front();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

fn block_on<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (deadline, mut context) = (
        MonoTime::now() + Duration::from_secs(20),
        Context::from_waker(&waker),
    );
    loop {
        if let Poll::Ready(ready) = poll(&mut context) {
            return ready;
        }
        assert!(MonoTime::now() < deadline, "it was not woken");
        thread::park_timeout(Duration::from_secs(1));
    }
}

fn ask(
    service: &mut PooledService,
    path: &str,
    body: &[&'static str],
) -> http::Response<PooledBody> {
    block_on(|context| ready(service, context));
    let request = http::Request::post(format!("http://shop.example{path}"));
    let body = Pieces(body.iter().copied().collect());
    let mut response = pin!(service.call(request.body(body).unwrap()));
    block_on(|context| response.as_mut().poll(context)).unwrap()
}

fn ready(service: &mut PooledService, context: &mut Context<'_>) -> Poll<()> {
    tower_service::Service::<http::Request<Pieces>>::poll_ready(service, context).map(drop)
}

fn next(body: &mut PooledBody) -> Option<Result<Bytes>> {
    let frame = block_on(|context| Pin::new(&mut *body).poll_frame(context))?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

fn text(mut body: PooledBody) -> Result<String> {
    let mut text = Vec::new();
    while let Some(block) = next(&mut body) {
        text.extend_from_slice(&block?);
    }
    Ok(String::from_utf8(text).unwrap())
}

fn pool(
    threads: usize,
    service: impl Fn(Request<'_>, Responder<'_>) -> Result<Responded> + Clone + Send + Sync + 'static,
) -> ServicePool {
    ServicePool::start(service, threads).unwrap()
}

#[test]
fn pieces_go_both_ways_one_after_the_other() {
    let pool = pool(1, |request: Request<'_>, reply: Responder<'_>| {
        let path = format!(
            "{} {} {}",
            request.head().target(),
            request.mount(),
            request.path()
        );
        let mut body = request.into_body();
        let mut answer = reply.stream(200, &[("x-path", &path), ("connection", "close")])?;
        let mut buffer = [0; 3];
        loop {
            match body.read(&mut buffer)? {
                0 => return answer.finish_with(b"."),
                n => answer.write_all(&buffer[..n])?,
            }
        }
    });
    let mut service = pool.service().nested_at("/legacy/");
    let response = ask(&mut service, "/a", &["hello", "", "you"]);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-path"], "/legacy/a /legacy /a");
    assert!(!response.headers().contains_key("connection"));
    let mut body = response.into_body();
    assert_eq!(next(&mut body).unwrap().unwrap(), "hel");
    assert_eq!(text(body).unwrap(), "loyou.");
    pool.stop(Duration::from_secs(20)).unwrap();
}

/// Writes without end, and tells how many bytes were on their way when the client went.
fn endless(
    told: Sender<usize>,
) -> impl Fn(Request<'_>, Responder<'_>) -> Result<Responded> + Clone {
    move |_: Request<'_>, reply: Responder<'_>| {
        let mut answer = reply.stream(200, &[])?;
        let mut written = 0;
        loop {
            if let Err(error) = answer.write_all(&[b'x'; 1000]) {
                let _ = told.send(written);
                return Err(error.into());
            }
            written += 1000;
        }
    }
}

fn told(receiver: &Receiver<usize>) -> usize {
    receiver.recv_timeout(Duration::from_secs(20)).unwrap()
}

#[test]
fn a_writer_waits_for_its_client_and_learns_that_it_went() {
    let (sender, receiver) = channel();
    let pool = pool(1, endless(sender));
    let mut body = ask(&mut pool.service(), "/", &[]).into_body();
    let mut read = 0;
    while read < 3 * BUFFERED {
        read += next(&mut body).unwrap().unwrap().len();
    }
    drop(body);
    let written = told(&receiver);
    assert!(written <= read + BUFFERED + 1000, "{written} of {read}");
}

#[test]
fn a_request_waits_for_a_free_thread() {
    let (sender, receiver) = channel();
    let pool = pool(1, endless(sender));
    let mut service = pool.service();
    let body = ask(&mut service, "/", &[]).into_body();
    let mut other = service.clone();
    assert!(ready(&mut other, &mut Context::from_waker(Waker::noop())).is_pending());
    drop(body);
    told(&receiver);
    block_on(|context| ready(&mut other, context));
}

#[test]
fn a_stop_refuses_what_comes_and_cuts_what_does_not_end() {
    let (sender, receiver) = channel();
    let pool = pool(2, endless(sender));
    let mut service = pool.service();
    let mut body = ask(&mut service, "/", &[]).into_body();
    pool.stop(Duration::ZERO).unwrap();
    told(&receiver);
    let refused = ask(&mut service, "/", &[]);
    assert_eq!(refused.status(), 503);
    assert_eq!(
        text(refused.into_body()).unwrap(),
        "The application is stopping\n"
    );
    while let Some(Ok(_)) = next(&mut body) {}
    assert!(!body.is_end_stream());
}

#[test]
fn a_call_that_fails_is_a_500_and_later_a_cut() {
    let calls = Arc::new(AtomicUsize::new(0));
    let pool = pool(1, move |_: Request<'_>, reply: Responder<'_>| {
        match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Error::new("as intended")),
            1 => panic!("as intended"),
            2 => reply.send(200, &[("content-length", "9")], b"short"),
            3 => reply.send(103, &[], b""),
            _ => {
                let mut answer = reply.stream(200, &[])?;
                answer.write_all(b"half")?;
                Err(Error::new("as intended"))
            }
        }
    });
    let mut service = pool.service();
    for _ in 0..4 {
        assert_eq!(ask(&mut service, "/", &[]).status(), 500);
    }
    let response = ask(&mut service, "/", &[]);
    assert_eq!(response.status(), 200);
    text(response.into_body()).unwrap_err();
}

#[test]
fn a_target_that_no_head_has_is_a_400() {
    let pool = pool(1, |_: Request<'_>, reply: Responder<'_>| {
        reply.text(200, "")
    });
    let response = ask(&mut pool.service().nested_at("/a b"), "/", &[]);
    assert_eq!(response.status(), 400);
}
