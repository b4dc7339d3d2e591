//! [`Response`]: the response of one call, from `start_response` to the last block, and the call's streamed request
//! body.
//!
//! Nothing is borrowed while the exchange works: the writer is taken out of its cell, and a call from within finds it
//! gone. The exchange works without the interpreter's lock, since it may wait for a client or for a disk.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write as _};
use std::time::Duration;

use super::call_hooks::SentResponse;
use super::response_head::{ResponseHead, ResponseState};
use super::scoped_call::RunningCall;
use super::start_response::Write;
use crate::error::{Error, Result};
use crate::python::ffi;
use crate::service::{Body, BodyWriter, Responded, Responder, Upgraded};
use crate::time::MonoTime;

/// How long only empty blocks may come before the client is looked for, and the interval of further looks.
const CLIENT_CHECK: Duration = Duration::from_secs(1);

/// The response of a running call. Its state is in the [`ResponseHead`] of its [`Write`].
pub(super) struct Response<'w, 'a> {
    write: &'w Write,
    head_only: bool,
    /// `None` while it is in use, and once the response has ended.
    output: Cell<Option<Output<'a>>>,
    /// The request's body, if it is still arriving. `None` while it is being read.
    input: Cell<Option<Body<'a>>>,
    /// The error of the exchange that the application got as an exception.
    failure: Cell<Option<Error>>,
    /// When the client was last looked for, while only empty blocks came.
    checked: Cell<Option<MonoTime>>,
    /// How many bytes of the body were given to the exchange.
    sent: Cell<u64>,
}

/// The service's side of the response: a responder until the head is sent, a writer afterwards.
enum Output<'a> {
    Responder(Responder<'a>),
    Writer(BodyWriter<'a>),
    /// The call has taken the connection over.
    Upgraded(Responded),
}

/// A response of one short block that has not begun. It is sent once the call has released the interpreter's lock for
/// good.
pub(super) struct DeferredResponse<'a> {
    responder: Responder<'a>,
    head: Box<ResponseHead>,
    block: Vec<u8>,
    head_only: bool,
}

impl DeferredResponse<'_> {
    /// Sends the response, and returns the buffers.
    pub(super) fn send(mut self) -> (Result<Responded>, Box<ResponseHead>, Vec<u8>) {
        let length = Some(self.block.len() as u64);
        let outcome = ffi::unattached(|| {
            begin(self.responder, &mut self.head, self.head_only, length)?.finish_with(&self.block)
        });
        self.head.clear();
        (outcome, self.head, self.block)
    }
}

/// Sends the head, which is set. `length` is the length of the body in bytes, where it is known.
fn begin<'a>(
    responder: Responder<'a>,
    head: &mut ResponseHead,
    head_only: bool,
    length: Option<u64>,
) -> Result<BodyWriter<'a>> {
    // The empty body of a response to HEAD, or of a 304, says nothing about the length that GET would have had
    // (RFC 9110 §8.6).
    let is_left_out = head_only || head.status() == 304;
    let length = length.filter(|&length| !(is_left_out && length == 0));
    head.mark_sent();
    responder.start(head.status(), head.reason(), head.fields(), length)
}

impl<'w, 'a> Response<'w, 'a> {
    /// The response of a call that is to be given to `responder`. `input` is the request's body if it is still
    /// arriving.
    pub(super) fn new(
        write: &'w Write,
        responder: Responder<'a>,
        input: Option<Body<'a>>,
        head_only: bool,
    ) -> Self {
        Self {
            write,
            head_only,
            output: Cell::new(Some(Output::Responder(responder))),
            input: Cell::new(input),
            failure: Cell::new(None),
            checked: Cell::new(None),
            sent: Cell::new(0),
        }
    }

    /// The response as far as it came.
    pub(super) fn sent(&self) -> SentResponse {
        let sent = self.sent.get();
        self.write.with_head(|head| {
            if head.state() == ResponseState::NotCalled {
                return SentResponse::default();
            }
            let fields = head.fields();
            SentResponse {
                status: Some(head.status()),
                reason: head.reason().to_vec(),
                fields: fields
                    .map(|(name, value)| (name.to_vec(), value.to_vec()))
                    .collect(),
                sent,
            }
        })
    }

    fn count(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.take()
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.write.with_head(|head| head.content_length())
    }

    /// Sends the head, unless it is sent. `length` is the length of the whole body in bytes, where it is known.
    pub(super) fn start(&self, length: Option<u64>) -> Result<()> {
        ffi::unattached(|| {
            let writer = self.writer(length)?;
            self.output.set(Some(Output::Writer(writer)));
            Ok(())
        })
    }

    /// Sends a block of the body without delay. An empty block does not send the head. Now and then it has the client
    /// looked for, since an application that gives only empty blocks would never learn that its client has gone. Nothing is
    /// sent where the call has taken the connection over.
    pub(super) fn write_block(&self, block: &[u8]) -> Result<()> {
        if self.is_upgraded() {
            return Ok(());
        }
        if block.is_empty() {
            return self.check_client();
        }
        self.checked.set(None);
        ffi::unattached(|| {
            let mut writer = self.writer(None)?;
            writer.write_all(block)?;
            self.count(block.len() as u64);
            self.output.set(Some(Output::Writer(writer)));
            Ok(())
        })
    }

    fn check_client(&self) -> Result<()> {
        let now = MonoTime::now();
        match self.checked.get() {
            Some(before) if now.since(before) >= CLIENT_CHECK => self.checked.set(Some(now)),
            Some(_) => return Ok(()),
            None => {
                self.checked.set(Some(now));
                return Ok(());
            }
        }
        ffi::unattached(|| {
            let output = self.output.take();
            let outcome = match &output {
                Some(Output::Responder(responder)) => responder.look(),
                Some(Output::Writer(writer)) => writer.look(),
                Some(Output::Upgraded(_)) | None => Ok(()),
            };
            self.output.set(output);
            outcome
        })
    }

    /// Ends the response with its last block, which may be empty. `length` is the length of the whole body in bytes,
    /// where it is known.
    pub(super) fn finish(&self, length: Option<u64>, block: &[u8]) -> Result<Responded> {
        if let Some(responded) = self.end_of_upgraded() {
            return Ok(responded);
        }
        let ended = ffi::unattached(|| self.writer(length)?.finish_with(block))?;
        self.count(block.len() as u64);
        Ok(ended)
    }

    /// Ends the response with `len` bytes of `file`, from `offset` on.
    pub(super) fn send_file(&self, file: File, offset: u64, len: u64) -> Result<Responded> {
        let ended = ffi::unattached(|| self.writer(Some(len))?.send_file(file, offset, len))?;
        self.count(len);
        Ok(ended)
    }

    /// Takes the response out, to be sent later with `block` as its body. `None`, without taking the block, where the
    /// head is not set or is sent.
    pub(super) fn defer(&self, block: &mut Vec<u8>) -> Option<DeferredResponse<'a>> {
        let head = self.write.take_head()?;
        match self.output.take() {
            Some(Output::Responder(responder)) if head.state() == ResponseState::Set => {
                Some(DeferredResponse {
                    responder,
                    head,
                    block: std::mem::take(block),
                    head_only: self.head_only,
                })
            }
            other => {
                self.output.set(other);
                self.write.put_head(head);
                None
            }
        }
    }

    /// Takes the writer out of its cell, after it has sent the head where that is still to be done.
    fn writer(&self, length: Option<u64>) -> Result<BodyWriter<'a>> {
        match self.output.take() {
            Some(Output::Writer(writer)) => Ok(writer),
            Some(Output::Responder(responder)) => self.write.with_head(|head| {
                if head.state() == ResponseState::NotCalled {
                    self.output.set(Some(Output::Responder(responder)));
                    return Err(Error::new(
                        "the application did not call start_response before its response's first block",
                    ));
                }
                begin(responder, head, self.head_only, length)
            }),
            Some(upgraded @ Output::Upgraded(_)) => {
                self.output.set(Some(upgraded));
                Err(Error::new("the call has taken the connection over"))
            }
            None => Err(Error::new("the response is over, or is being written")),
        }
    }

    /// Whether the call has taken the connection over.
    pub(super) fn is_upgraded(&self) -> bool {
        let output = self.output.take();
        let is_upgraded = matches!(output, Some(Output::Upgraded(_)));
        self.output.set(output);
        is_upgraded
    }

    /// The receipt of a call that has taken the connection over.
    pub(super) fn end_of_upgraded(&self) -> Option<Responded> {
        match self.output.take() {
            Some(Output::Upgraded(responded)) => Some(responded),
            other => {
                self.output.set(other);
                None
            }
        }
    }

    /// Keeps an error of the exchange, and returns one for the application.
    fn keep(&self, error: Error) -> Error {
        let shown = if error.is_disconnected() {
            Error::disconnected()
        } else {
            Error::new(error.to_string())
        };
        self.failure.set(Some(error));
        shown
    }
}

impl RunningCall for Response<'_, '_> {
    fn write(&self, block: &[u8]) -> Result<()> {
        if self.is_upgraded() {
            return Err(Error::new("the call has taken the connection over"));
        }
        self.write_block(block).map_err(|error| self.keep(error))
    }

    fn take_over(&self) -> Result<Upgraded> {
        let responder = match self.output.take() {
            Some(Output::Responder(responder)) => responder,
            other => {
                self.output.set(other);
                return Err(Error::new("the response has begun"));
            }
        };
        let outcome = self.write.with_head(|head| {
            let switches = head.state() == ResponseState::Set && head.status() == 101;
            ffi::unattached(|| {
                let mut fields = head.fields();
                responder.take_over(switches.then_some(&mut fields))
            })
        });
        let (output, outcome) = match outcome {
            Ok((upgraded, receipt)) => (Output::Upgraded(receipt), Ok(upgraded)),
            Err((responder, error)) => (Output::Responder(responder), Err(self.keep(error))),
        };
        self.output.set(Some(output));
        outcome
    }

    fn send_informational<'h>(
        &self,
        fields: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        let responder = match self.output.take() {
            Some(Output::Responder(responder)) => responder,
            late => {
                self.output.set(late);
                return Ok(());
            }
        };
        let outcome = ffi::unattached(|| responder.send_informational(103, fields));
        self.output.set(Some(Output::Responder(responder)));
        outcome.map_err(|error| {
            if error.is_response() {
                error
            } else {
                self.keep(error)
            }
        })
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let Some(mut body) = self.input.take() else {
            return Err(Error::new("the request's body is being read"));
        };
        let outcome = ffi::unattached(|| body.read(buffer));
        self.input.set(Some(body));
        outcome.map_err(|error| self.keep(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use pyo3::Python;

    use super::super::testing::{Script, head};
    use super::*;
    use crate::service::Exchange;
    use crate::testing::Recorder;

    /// An exchange that waits in each call until another thread has entered Python, and notes whether it did.
    struct Slow {
        recorder: Recorder,
        noted: RefCell<Vec<(&'static str, bool)>>,
    }

    impl Slow {
        fn work(&self, what: &'static str) -> &Recorder {
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || Python::attach(|_| sender.send(())));
            let free = receiver.recv_timeout(Duration::from_secs(5)).is_ok();
            self.noted.borrow_mut().push((what, free));
            &self.recorder
        }
    }

    impl Exchange for Slow {
        fn begin<'h>(
            &self,
            status: u16,
            reason: &[u8],
            headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
            len: Option<u64>,
        ) -> Result<()> {
            self.work("begin").begin(status, reason, headers, len)
        }

        fn send_informational<'h>(
            &self,
            status: u16,
            headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        ) -> Result<()> {
            self.work("send_informational")
                .send_informational(status, headers)
        }

        fn look(&self) -> Result<()> {
            self.work("look").look()
        }

        fn write(&self, bytes: &[u8]) -> Result<()> {
            self.work("write").write(bytes)
        }

        fn write_last(&self, bytes: &[u8]) -> Result<()> {
            self.work("write_last").write_last(bytes)
        }

        fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()> {
            self.work("send_file").send_file(file, offset, len)
        }

        fn read(&self, buffer: &mut [u8]) -> Result<usize> {
            self.work("read").read(buffer)
        }
    }

    /// The calls of the exchange, and whether Python was free during each.
    fn noted(app: &str) -> Vec<(&'static str, bool)> {
        let slow = Slow {
            recorder: Recorder::with_input("body"),
            noted: RefCell::default(),
        };
        let chunked = head("POST", "/", &[("transfer-encoding", b"chunked")]);
        let _ = Script::new(app)
            .call(&chunked, Body::stream(&slow), &slow)
            .unwrap();
        slow.noted.into_inner()
    }

    #[test]
    fn python_is_free_while_an_exchange_works() {
        let written = noted(
            r#"
def app(environ, start_response):
    environ["wsgi.early_hints"]([("Link", "</a>")])
    environ["wsgi.input"].read(2)
    start_response("200 OK", [])(b"one")
    return iter([b"two", b""])
"#,
        );
        let calls = [
            "send_informational",
            "read",
            "begin",
            "write",
            "write",
            "write_last",
        ];
        assert_eq!(written, calls.map(|call| (call, true)));
        let file = noted(
            r#"
import tempfile
def app(environ, start_response):
    file = tempfile.TemporaryFile()
    file.write(b"file")
    file.seek(0)
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](file)
"#,
        );
        assert_eq!(file, ["begin", "send_file"].map(|call| (call, true)));
        let empty = noted(
            r#"
import time
def app(environ, start_response):
    start_response("200 OK", [])
    yield b""
    time.sleep(1.1)
    yield b""
    yield b"late"
"#,
        );
        let calls = ["look", "begin", "write", "write_last"];
        assert_eq!(empty, calls.map(|call| (call, true)));
        for whole in ["[b'one']", "[b'one', b'two']", "[]"] {
            let calls = noted(&format!(
                "
def app(environ, start_response):
    start_response('200 OK', [])
    return {whole}
"
            ));
            assert!(calls.iter().all(|(_, free)| *free), "{whole}: {calls:?}");
        }
    }
}
