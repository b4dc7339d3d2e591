//! `wsgi.early_hints`: interim responses with links that a client can fetch while the response is made (RFC 8297).
//! Each call is sent at once, or ignored where the response has begun.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::scoped_call::ScopedCall;
use crate::python::errors::to_python;
use crate::python::ffi;
use crate::python::greenlet::GreenletId;

/// The callable, which takes `(name, value)` pairs of `str` or `bytes`, any number of times.
#[pyclass(frozen, module = "oxicorn", name = "early_hints")]
#[derive(Debug, Default)]
pub(super) struct EarlyHints {
    call: ScopedCall,
}

#[pymethods]
impl EarlyHints {
    fn __call__(&self, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut fields = Vec::new();
        for field in headers.try_iter()? {
            let (name, value) = field?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            fields.push((octets(&name)?, octets(&value)?));
        }
        let mut fields = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        self.call
            .with(GreenletId::current(headers.py()), |call| {
                call.send_informational(&mut fields)
            })?
            .map_err(|error| {
                if error.is_response() {
                    PyValueError::new_err(format!("wsgi.early_hints: {error}"))
                } else {
                    to_python(error)
                }
            })
    }
}

impl EarlyHints {
    /// The place through which this object reaches the call that runs.
    pub(super) fn call(&self) -> &ScopedCall {
        &self.call
    }

    /// The object for another request, of which this thread has that many references; `None` where the application still
    /// holds it.
    pub(super) fn recycle(py: Python<'_>, this: Py<Self>, references: isize) -> Option<Py<Self>> {
        (!ffi::is_held(py, &this, references)).then_some(this)
    }
}

/// The bytes of a `bytes`, or of a `str` by PEP 3333: one byte a character.
fn octets(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    let text = object.cast::<PyString>().map_err(|_| {
        PyTypeError::new_err("wsgi.early_hints takes pairs of str or bytes, (name, value)")
    })?;
    let octet = |character| {
        u8::try_from(character).map_err(|_| {
            PyValueError::new_err(format!("wsgi.early_hints: {character:?} is not latin-1"))
        })
    };
    text.to_str()?.chars().map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use crate::testing::{Informational, Recorder};

    /// An application that calls `hint` of the environ's early hints before it answers.
    fn hinting(hint: &str) -> Script {
        Script::new(&format!(
            r#"
kept = []
def app(environ, start_response):
    hints = environ["wsgi.early_hints"]
    {hint}
    start_response("200 OK", [])
    return [b"x"]
"#
        ))
    }

    fn link(value: &[u8]) -> Informational {
        Informational {
            status: 103,
            headers: vec![(b"Link".to_vec(), value.to_vec())],
        }
    }

    // Gunicorn: E10
    #[test]
    fn hints_are_sent_each_time_and_may_be_str_or_bytes() {
        let script = hinting("hints([('Link', '\\xe9')]); hints(((b'Link', b'b'),))");
        let recorder = script.get();
        assert_eq!(recorder.interim(), [link(b"\xe9"), link(b"b")]);
        assert_eq!(
            (recorder.status(), recorder.body()),
            (Some(200), b"x".to_vec())
        );
    }

    // Gunicorn: E64
    #[test]
    fn hints_that_come_too_late_are_ignored() {
        let script = hinting("start_response('200 OK', [])(b'y'); hints([('a', 'b')]); return []");
        let recorder = script.get();
        assert!(recorder.interim().is_empty() && recorder.is_complete());
    }

    // Gunicorn: E64
    #[test]
    fn what_is_no_pair_of_texts_raises() {
        for (hint, error) in [
            ("hints([('a', 1)])", "TypeError"),
            ("hints([('a',)])", "ValueError"),
            ("hints([('a', '\\u20ac')])", "ValueError"),
            ("hints(1)", "TypeError"),
        ] {
            let text = hinting(hint).fail().to_string();
            assert!(text.starts_with(error), "{hint}: {text}");
        }
    }

    #[test]
    fn what_an_application_keeps_does_not_reach_another_request() {
        let script = hinting("kept.append(hints); len(kept) > 1 and kept[0]([('a', 'b')])");
        script.get();
        let error = script.get_into(&Recorder::new()).unwrap_err();
        assert_eq!(error.to_string(), "ValueError: the request is over");
    }

    #[test]
    fn the_object_is_used_again_unless_it_is_kept() {
        let script = hinting("kept.append(id(hints))");
        for _ in 0..3 {
            script.get();
        }
        assert_eq!(script.value("len(set(kept))"), "1");
    }
}
