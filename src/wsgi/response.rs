//! One running call: its response from `start_response` to the last block, and a streamed request body.
//! Knows no Python objects but the [`Write`] whose outline it sends, and never holds a borrow while the
//! exchange works: what is in use is taken out of its cell, and a call from within finds it gone.
//!
//! The exchange works without the interpreter's lock: it may wait for a client, for a disk, or for what it likes. A
//! response that is short and there as a whole leaves when the call has given that lock up for good ([`Whole`]).
//!
//! ```text
//!   Waiting ── first block, or the end ──▶ Started ── end ──▶ Responded
//!      └─────────── refused, or in use at this moment ─────▶ Gone
//! ```

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write as _};
use std::time::Duration;

use super::scoped_call::Lent;
use super::start_response::{Outline, Write};
use crate::error::{Error, Result};
use crate::python::ffi;
use crate::service::{Body, BodyWriter, Responded, Responder};
use crate::time::MonoTime;

/// How long nothing but empty blocks may come before the client is looked for, and between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of a response's length before it starts.
type Length = Option<u64>;

/// A running call.
pub(super) struct Answer<'w, 'a> {
    write: &'w Write,
    /// Whether the request was HEAD.
    head_only: bool,
    stage: Cell<Stage<'a>>,
    input: Cell<Option<Body<'a>>>,
    /// What the exchange failed with, told to Python as an exception.
    failure: Cell<Option<Error>>,
    /// When the client was last looked for, while nothing but empty blocks came.
    looked: Cell<Option<MonoTime>>,
}

#[derive(Default)]
enum Stage<'a> {
    Waiting(Responder<'a>),
    Started(BodyWriter<'a>),
    #[default]
    Gone,
}

/// A response of one block that was not begun yet: what is left of a call when Python is done with it.
pub(super) struct Whole<'a> {
    pub(super) reply: Responder<'a>,
    pub(super) outline: Box<Outline>,
    pub(super) block: Vec<u8>,
    pub(super) head_only: bool,
}

impl Whole<'_> {
    /// Sends it, and gives the buffers back.
    pub(super) fn send(mut self) -> (Result<Responded>, Box<Outline>, Vec<u8>) {
        let length = Some(self.block.len() as u64);
        let outcome = ffi::unattached(|| {
            begin(self.reply, &mut self.outline, self.head_only, length)?.finish_with(&self.block)
        });
        self.outline.clear();
        (outcome, self.outline, self.block)
    }
}

/// Begins a response, for which `start_response` was called.
fn begin<'a>(
    reply: Responder<'a>,
    outline: &mut Outline,
    head_only: bool,
    length: Length,
) -> Result<BodyWriter<'a>> {
    // The empty body of an answer to HEAD, or of a 304, says nothing of the length that GET would have met
    // (RFC 9110 §8.6).
    let left_out = head_only || outline.status() == 304;
    let length = length.filter(|&length| !(left_out && length == 0));
    outline.mark_sent();
    reply.start(outline.status(), outline.reason(), outline.fields(), length)
}

impl<'w, 'a> Answer<'w, 'a> {
    /// A call whose response is to be given to `reply`. `input` is the request's body if it is still
    /// arriving.
    pub(super) fn new(
        write: &'w Write,
        reply: Responder<'a>,
        input: Option<Body<'a>>,
        head_only: bool,
    ) -> Self {
        Self {
            write,
            head_only,
            stage: Cell::new(Stage::Waiting(reply)),
            input: Cell::new(input),
            failure: Cell::new(None),
            looked: Cell::new(None),
        }
    }

    /// What the exchange failed with, if it did.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.failure.take()
    }

    /// The application's own Content-Length.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.write.with_outline(|outline| outline.content_length())
    }

    /// Starts the response, where that was not done yet.
    pub(super) fn start(&self, length: Length) -> Result<()> {
        ffi::unattached(|| {
            self.stage.set(Stage::Started(self.writer(length)?));
            Ok(())
        })
    }

    /// Sends a block of the body, which must not be delayed. An empty one does not start the response; but an
    /// application that makes nothing else would never find out that its client has gone.
    pub(super) fn block(&self, block: &[u8]) -> Result<()> {
        if block.is_empty() {
            return self.look_now_and_then();
        }
        self.looked.set(None);
        ffi::unattached(|| {
            let mut writer = self.writer(None)?;
            writer.write_all(block)?;
            self.stage.set(Stage::Started(writer));
            Ok(())
        })
    }

    fn look_now_and_then(&self) -> Result<()> {
        let now = MonoTime::now();
        match self.looked.get() {
            Some(before) if now.since(before) >= LOOK => self.looked.set(Some(now)),
            Some(_) => return Ok(()),
            None => {
                self.looked.set(Some(now));
                return Ok(());
            }
        }
        ffi::unattached(|| {
            let stage = self.stage.take();
            let outcome = match &stage {
                Stage::Waiting(reply) => reply.look(),
                Stage::Started(writer) => writer.look(),
                Stage::Gone => Ok(()),
            };
            self.stage.set(stage);
            outcome
        })
    }

    /// Sends the last block, which may be empty.
    pub(super) fn finish(&self, length: Length, block: &[u8]) -> Result<Responded> {
        ffi::unattached(|| self.writer(length)?.finish_with(block))
    }

    /// The responder and what was said, if `start_response` was called and nothing has left yet.
    pub(super) fn take_unbegun(&self) -> Option<(Responder<'a>, Box<Outline>)> {
        match self.stage.take() {
            Stage::Waiting(reply) if self.write.with_outline(|outline| outline.is_said()) => {
                Some((reply, self.write.take_outline().unwrap_or_default()))
            }
            other => {
                self.stage.set(other);
                None
            }
        }
    }

    /// Ends the response with `len` bytes of `file`, from `offset` on.
    pub(super) fn send_file(&self, file: File, offset: u64, len: u64) -> Result<Responded> {
        ffi::unattached(|| self.writer(Some(len))?.send_file(file, offset, len))
    }

    /// Takes the writer out of its cell, for the last act or for the next.
    fn writer(&self, length: Length) -> Result<BodyWriter<'a>> {
        match self.stage.take() {
            Stage::Started(writer) => Ok(writer),
            Stage::Waiting(reply) => self.write.with_outline(|outline| {
                if !outline.is_said() {
                    self.stage.set(Stage::Waiting(reply));
                    return Err(Error::new(
                        "the application did not call start_response before its response's first block",
                    ));
                }
                begin(reply, outline, self.head_only, length)
            }),
            Stage::Gone => Err(Error::new("the response is over, or is being written")),
        }
    }

    /// Keeps a failure, and gives one to show to Python.
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

impl Lent for Answer<'_, '_> {
    fn write(&self, block: &[u8]) -> Result<()> {
        self.block(block).map_err(|error| self.keep(error))
    }

    fn send_informational<'h>(
        &self,
        fields: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        let reply = match self.stage.take() {
            Stage::Waiting(reply) => reply,
            late => {
                self.stage.set(late);
                return Ok(());
            }
        };
        let outcome = ffi::unattached(|| reply.send_informational(103, fields));
        self.stage.set(Stage::Waiting(reply));
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

    /// An exchange that takes as long as somebody else needs to get into Python, and notes whether he did.
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

    /// What the exchange was asked for, and whether Python was free meanwhile.
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
