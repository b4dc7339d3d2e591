//! Sends the iterable of `bytes` that an application returned (PEP 3333, "Buffering and Streaming").
//!
//! No block is delayed: each is written before the next one is produced. None is copied, except a short one that is the
//! whole response. `close` is called exactly once, whatever happened. Nothing is sent where the call has taken the
//! connection over.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::failure::Failure;
use super::file_wrapper::FileWrapper;
use super::response::Response;
use crate::python::{errors, ffi};
use crate::service::Responded;

/// The longest block that is copied, in bytes. To release the interpreter's lock for sending it would cost more.
const COPIED_BLOCK: usize = 8 * 1024;

/// How the body was delivered.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The response was sent.
    Sent(Responded),
    /// The one block of the response was copied, and is to be sent when Python is done with the call.
    Copied,
}

/// Sends the blocks of `result`, ends the response and closes the iterable. One short block that is the whole response
/// is copied into `copy` instead, where the iterable has no `close` that would have to follow it.
pub(super) fn send(
    result: &Bound<'_, PyAny>,
    response: &Response<'_, '_>,
    copy: &mut Vec<u8>,
) -> Result<Delivery, Failure> {
    if let Some(responded) = response.end_of_upgraded() {
        close(result);
        return Ok(Delivery::Sent(responded));
    }
    // Lists and tuples have no `close`, and finding that out costs more than the whole environ.
    if let Ok(list) = result.cast_exact::<PyList>() {
        return match list.len() {
            1 => one(&list.get_item(0)?, response, copy),
            _ => all(&list.iter().collect::<Vec<_>>(), response).map(Delivery::Sent),
        };
    }
    if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        return match tuple.len() {
            1 => one(&tuple.get_item(0)?, response, copy),
            _ => all(&tuple.iter().collect::<Vec<_>>(), response).map(Delivery::Sent),
        };
    }
    let outcome = file(result, response).unwrap_or_else(|| stream(result, response));
    close(result);
    outcome.map(Delivery::Sent)
}

/// A response of one block, which leaves with its head in one write.
fn one(
    item: &Bound<'_, PyAny>,
    response: &Response<'_, '_>,
    copy: &mut Vec<u8>,
) -> Result<Delivery, Failure> {
    let block = bytes(item)?;
    if block.len() <= COPIED_BLOCK {
        copy.clear();
        copy.extend_from_slice(block);
        return Ok(Delivery::Copied);
    }
    Ok(Delivery::Sent(
        response.finish(Some(block.len() as u64), block)?,
    ))
}

/// A response whose blocks are all there, so that its length is known.
fn all(items: &[Bound<'_, PyAny>], response: &Response<'_, '_>) -> Result<Responded, Failure> {
    let mut total = 0;
    for item in items {
        total += bytes(item)?.len() as u64;
    }
    let Some((last, others)) = items.split_last() else {
        return Ok(response.finish(Some(0), b"")?);
    };
    if !others.is_empty() {
        response.start(Some(total))?;
    }
    for item in others {
        response.write_block(bytes(item)?)?;
    }
    Ok(response.finish(Some(total), bytes(last)?)?)
}

/// A response that is produced while it is sent, unless its iterable only hides a list, as Django's responses do.
fn stream(result: &Bound<'_, PyAny>, response: &Response<'_, '_>) -> Result<Responded, Failure> {
    let blocks = result.try_iter()?;
    if ffi::is_iterator_of_list(&blocks) {
        let blocks = blocks.collect::<PyResult<Vec<_>>>()?;
        return all(&blocks, response);
    }
    for item in blocks {
        response.write_block(bytes(&item?)?)?;
    }
    // The length counts only where there was no block at all.
    Ok(response.finish(Some(0), b"")?)
}

/// A response that the system sends from a file, behind `wsgi.file_wrapper`. `None` for anything else.
fn file(
    result: &Bound<'_, PyAny>,
    response: &Response<'_, '_>,
) -> Option<Result<Responded, Failure>> {
    let wrapper = result.cast_exact::<FileWrapper>().ok()?;
    let real = wrapper.get().real_file(result.py())?;
    // A file that is shorter than the application has announced may still grow: it is read through Python.
    let len = response.content_length().unwrap_or(real.len);
    if len > real.len {
        return None;
    }
    let sent = response.send_file(real.file, real.offset, len);
    Some(sent.map_err(Failure::from))
}

fn bytes<'a>(item: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    match item.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a response's body must be made of bytes, not {}",
            item.get_type()
        ))),
    }
}

/// Calls the iterable's `close`, if it has one. Its failure changes nothing about the response.
fn close(result: &Bound<'_, PyAny>) {
    let py = result.py();
    let closed = result
        .getattr_opt(intern!(py, "close"))
        .and_then(|close| close.map_or(Ok(()), |close| close.call0().map(drop)));
    if let Err(error) = closed {
        errors::log_exception(py, "Error in the close() of a response", &error);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::testing::{Script, head, text};
    use crate::error::Result;
    use crate::service::{Body, Exchange};
    use crate::testing::Recorder;

    /// An exchange that notes each write in the script's own list of events.
    struct Noting<'s>(&'s Script, Recorder);

    impl Noting<'_> {
        fn note(&self, what: &str) {
            self.0.value(&format!("events.append('{what}')"));
        }
    }

    impl Exchange for Noting<'_> {
        fn begin<'h>(
            &self,
            status: u16,
            reason: &[u8],
            headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
            len: Option<u64>,
        ) -> Result<()> {
            self.note("begun");
            self.1.begin(status, reason, headers, len)
        }

        fn write(&self, bytes: &[u8]) -> Result<()> {
            self.note("sent");
            self.1.write(bytes)
        }

        fn write_last(&self, bytes: &[u8]) -> Result<()> {
            self.note("ended");
            self.1.write_last(bytes)
        }

        fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()> {
            self.1.send_file(file, offset, len)
        }

        fn read(&self, buffer: &mut [u8]) -> Result<usize> {
            self.1.read(buffer)
        }
    }

    const CLOSABLE: &str = r#"
events = []
class Body:
    def __init__(self, blocks): self.blocks = iter(blocks)
    def __iter__(self): return self
    def __next__(self):
        block = next(self.blocks)
        events.append("made")
        if block is None: raise ValueError("broken")
        return block
    def close(self): events.append("closed")
"#;

    fn closable(blocks: &str) -> Script {
        Script::new(&format!(
            "{CLOSABLE}
def app(environ, start_response):
    start_response('200 OK', [])
    return Body({blocks})
"
        ))
    }

    // Gunicorn: E46, E56
    #[test]
    fn each_block_is_sent_before_the_next_and_close_comes_last() {
        let script = closable("[b'', b'one', b'', b'two']");
        let exchange = Noting(&script, Recorder::new());
        let _ = script
            .call(&head("GET", "/", &[]), Body::empty(), &exchange)
            .unwrap();
        assert_eq!(
            script.value("' '.join(events)"),
            "'made made begun sent made made sent ended closed'"
        );
        assert_eq!(exchange.1.blocks(), [b"one", b"two"]);
        assert_eq!(exchange.1.length(), None);
    }

    // Gunicorn: E48
    #[test]
    fn an_object_that_hides_a_list_is_sent_with_its_whole_length() {
        for (blocks, sent) in [
            ("[b'one']", &["one"][..]),
            ("(b'one', b'two')", &["one", "two"]),
        ] {
            let script = Script::new(&format!(
                "
events = []
class Body:
    def __iter__(self): return iter({blocks})
    def close(self): events.append('closed')
def app(environ, start_response):
    start_response('200 OK', [])
    return Body()
"
            ));
            let exchange = Noting(&script, Recorder::new());
            let _ = script
                .call(&head("GET", "/", &[]), Body::empty(), &exchange)
                .unwrap();
            let events = if sent.len() == 1 {
                "begun ended closed"
            } else {
                "begun sent ended closed"
            };
            assert_eq!(script.value("' '.join(events)"), format!("'{events}'"));
            assert_eq!(exchange.1.length(), Some(sent.concat().len() as u64));
            assert_eq!(text(&exchange.1), sent.concat());
        }
    }

    // Gunicorn: E55
    #[test]
    fn close_is_called_once_when_the_iterable_raises() {
        let script = closable("[b'one', None]");
        let recorder = Recorder::new();
        let error = script.get_into(&recorder).unwrap_err();
        assert_eq!(error.to_string(), "ValueError: broken");
        assert_eq!(script.value("events"), "['made', 'made', 'closed']");
        assert_eq!(recorder.body(), b"one");
        assert!(!recorder.is_complete());
    }

    // Gunicorn: E55
    #[test]
    fn close_is_called_once_when_the_client_has_gone() {
        let script = closable("[b'one', b'two', b'three']");
        let recorder = Recorder::new();
        recorder.disconnect_after(3);
        assert!(script.get_into(&recorder).unwrap_err().is_disconnected());
        assert_eq!(script.value("events"), "['made', 'made', 'closed']");
    }

    #[test]
    fn a_lost_client_is_noticed_though_every_block_is_empty() {
        for begun in ["", "yield b'one'"] {
            let script = Script::new(&format!(
                r#"
events = []
def app(environ, start_response):
    start_response("200 OK", [])
    try:
        {begun}
        while True:
            yield b""
    finally:
        events.append("closed")
"#
            ));
            let recorder = Recorder::new();
            recorder.disconnect_after(begun.len() / 4);
            assert!(script.get_into(&recorder).unwrap_err().is_disconnected());
            assert_eq!(script.value("events"), "['closed']");
            assert_eq!(recorder.status().is_some(), !begun.is_empty());
        }
    }

    // Gunicorn: E55
    #[test]
    fn a_generator_is_closed() {
        let script = Script::new(
            r#"
events = []
def app(environ, start_response):
    start_response("200 OK", [])
    try:
        yield b"one"
        yield b"two"
    finally:
        events.append("closed")
"#,
        );
        let recorder = Recorder::new();
        recorder.disconnect_after(3);
        assert!(script.get_into(&recorder).unwrap_err().is_disconnected());
        assert_eq!(script.value("events"), "['closed']");
        assert_eq!(text(&script.get()), "onetwo");
    }

    #[test]
    fn a_close_that_fails_does_not_spoil_the_response() {
        let script = Script::new(
            r#"
class Body(list):
    def close(self): raise ValueError("too late")
def app(environ, start_response):
    start_response("200 OK", [])
    return Body([b"whole"])
"#,
        );
        assert_eq!(text(&script.get()), "whole");
    }

    // Gunicorn: E48
    #[test]
    fn a_list_is_sent_with_its_whole_length() {
        let script = Script::new(
            r#"
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"one", b"", b"three"]
"#,
        );
        let recorder = script.get();
        assert_eq!(recorder.length(), Some(8));
        assert_eq!(recorder.blocks(), [&b"one"[..], b"three"]);
    }

    // Gunicorn: E52
    #[test]
    fn an_empty_body_has_no_length_where_it_stands_for_another() {
        let script = Script::new(
            r#"
def app(environ, start_response):
    start_response(environ["QUERY_STRING"], [])
    return []
"#,
        );
        let length = |method, target| {
            let recorder = Recorder::new();
            let _ = script
                .call(&head(method, target, &[]), Body::empty(), &recorder)
                .unwrap();
            recorder.length()
        };
        assert_eq!(length("GET", "/?200"), Some(0));
        assert_eq!(length("HEAD", "/?200"), None);
        assert_eq!(length("GET", "/?304"), None);
    }

    #[test]
    fn what_is_not_bytes_is_refused_before_anything_is_sent() {
        for (result, kind) in [
            ("['text']", "str"),
            ("[b'one', bytearray(b'two')]", "bytearray"),
            ("b'bytes'", "int"),
            ("(x for x in [1])", "int"),
        ] {
            let script = Script::new(&format!(
                "
def app(environ, start_response):
    start_response('200 OK', [])
    return {result}
"
            ));
            let recorder = Recorder::new();
            let error = script.get_into(&recorder).unwrap_err().to_string();
            assert!(error.starts_with("TypeError: "), "{error}");
            assert!(error.contains(kind), "{error}");
            assert_eq!(recorder.status(), None, "{result}");
        }
        let none = Script::new("def app(environ, start_response): start_response('200 OK', [])");
        assert_eq!(
            none.fail().to_string(),
            "TypeError: 'NoneType' object is not iterable"
        );
    }

    // Gunicorn: E53
    #[test]
    fn an_application_that_starts_no_response_is_told_so() {
        for result in ["[]", "[b'x']", "iter([b'x'])", "iter([])"] {
            let script = Script::new(&format!(
                "def app(environ, start_response): return {result}"
            ));
            assert!(
                script
                    .fail()
                    .to_string()
                    .contains("did not call start_response")
            );
        }
    }

    #[test]
    fn a_generator_may_start_its_response_late() {
        let script = Script::new(
            r#"
def app(environ, start_response):
    yield b""
    start_response("201 Created", [("A", "1")])
    yield b"x"
"#,
        );
        let recorder = script.get();
        assert_eq!(recorder.status(), Some(201));
        assert_eq!(recorder.header("a").unwrap(), b"1");
    }
}
