use super::*;
use crate::service::{Body, Exchange};
use crate::testing::Recorder;
use crate::wsgi::testing::{Script, connection, head, text};

const HELLO: &str = r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Id", "7")])
    return [b"hello\n"]
"#;

// Gunicorn: E46
#[test]
fn hello_leaves_in_one_block_with_its_length() {
    let recorder = Script::new(HELLO).get();
    assert_eq!(recorder.status(), Some(200));
    assert_eq!(recorder.reason(), b"OK");
    assert_eq!(recorder.headers().len(), 2);
    assert_eq!(recorder.header("x-id").unwrap(), b"7");
    assert_eq!(recorder.length(), Some(6));
    assert_eq!(recorder.blocks(), [b"hello\n"]);
    assert!(recorder.is_complete());
}

#[test]
fn an_exception_is_an_error_with_its_traceback() {
    let script = Script::new(
        r#"
calls = []
def app(environ, start_response):
    calls.append(1)
    if len(calls) == 1:
        raise ValueError("too\nlarge")
    start_response("200 OK", [])
    return []
"#,
    );
    let error = script.fail();
    assert_eq!(error.to_string(), "ValueError: too");
    let report = error.report();
    assert!(report.contains("Traceback"), "{report}");
    assert!(report.contains("in app"), "{report}");
    assert!(script.get().is_complete());
}

#[test]
fn leaving_python_in_a_request_is_an_error_like_any_other() {
    let script = Script::new("def app(environ, start_response): raise SystemExit(3)");
    let error = script.fail();
    assert_eq!(error.to_string(), "SystemExit: 3");
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn what_an_application_keeps_does_not_reach_another_request() {
    let script = Script::new(
        r#"
kept = []
def app(environ, start_response):
    write = start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
    kept.append((environ, start_response, write, environ["wsgi.input"]))
    return [b"x"]

def late(call, *arguments):
    try:
        return call(*arguments)
    except Exception as error:
        return type(error).__name__
"#,
    );
    let (first, second) = (Recorder::new(), Recorder::new());
    let _ = script
        .call(&head("POST", "/1", &[]), Body::memory("one".into()), &first)
        .unwrap();
    let _ = script
        .call(
            &head("POST", "/2", &[]),
            Body::memory("two".into()),
            &second,
        )
        .unwrap();
    assert_eq!(second.header("x-path").unwrap(), b"/2");
    assert_eq!(
        script
            .value("len({id(kept[0][i]) for i in range(4)} & {id(kept[1][i]) for i in range(4)})"),
        "0"
    );
    assert_eq!(script.value("kept[0][0]['PATH_INFO']"), "'/1'");
    assert_eq!(script.value("late(kept[0][2], b'x')"), "'ValueError'");
    assert_eq!(script.value("late(kept[0][3].read)"), "'ValueError'");
    assert_eq!(
        script.value("late(kept[0][1], '200 OK', [])"),
        "'AssertionError'"
    );
    assert_eq!(first.body(), b"x");
}

#[cfg(not(Py_GIL_DISABLED))]
#[test]
fn start_response_is_used_again_unless_it_is_kept() {
    let script = Script::new(
        r#"
seen = set()
def app(environ, start_response):
    seen.add(id(start_response))
    start_response("200 OK", [])
    return []
"#,
    );
    for _ in 0..5 {
        script.get();
    }
    assert_eq!(script.value("len(seen)"), "1");
}

/// Calls the application again from within a write, as a handler of a signal might.
struct Inside<'s>(&'s Script, Recorder, Recorder);

impl Exchange for Inside<'_> {
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()> {
        self.1.begin(status, reason, headers, len)
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let _ = self.0.get_into(&self.2)?;
        self.1.write(bytes)
    }

    fn write_last(&self, bytes: &[u8]) -> Result<()> {
        self.1.write_last(bytes)
    }

    fn send_file(&self, _: std::fs::File, _: u64, _: u64) -> Result<()> {
        unreachable!("no file is sent")
    }

    fn read(&self, _: &mut [u8]) -> Result<usize> {
        unreachable!("nothing is read")
    }
}

#[test]
fn a_call_inside_a_call_is_a_call_of_its_own() {
    let script = Script::new(
        r#"
calls = 0
def app(environ, start_response):
    global calls
    calls += 1
    mine = calls
    start_response("200 OK", [("X-Call", str(mine))])
    if mine == 1:
        return (b"outer" for _ in range(1))
    return [b"inner"]
"#,
    );
    let exchange = Inside(&script, Recorder::new(), Recorder::new());
    let _ = script
        .call(&head("GET", "/", &[]), Body::empty(), &exchange)
        .unwrap();
    let Inside(_, outer, inner) = exchange;
    assert_eq!(
        (text(&outer), text(&inner)),
        ("outer".into(), "inner".into())
    );
    assert_eq!(outer.header("x-call").unwrap(), b"1");
    assert_eq!(inner.header("x-call").unwrap(), b"2");
}

#[test]
fn an_application_passes_the_standard_librarys_validator() {
    let script = Script::new(
        r#"
from wsgiref.validate import validator

@validator
def app(environ, start_response):
    body = environ["wsgi.input"].read(3) + environ["wsgi.input"].readline(100)
    for line in environ["wsgi.input"]:
        body += line
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"got ")
    return iter([body])
"#,
    );
    assert_eq!(text(&script.post("hello\nworld\n")), "got hello\nworld\n");
    let recorder = Recorder::new();
    let query = head(
        "GET",
        "/a%20b?c=d",
        &[("cookie", b"a=1"), ("cookie", b"b=2")],
    );
    let _ = script.call(&query, Body::empty(), &recorder).unwrap();
    assert_eq!(text(&recorder), "got ");
}

#[test]
fn threads_call_one_application_at_once() {
    let script = Script::new(
        r#"
import time
def app(environ, start_response):
    start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
    time.sleep(0.001)
    return [environ["PATH_INFO"].encode()]
"#,
    );
    let application = &script.application;
    std::thread::scope(|threads| {
        for thread in 0..4 {
            threads.spawn(move || {
                application.runtime().unwrap().enter(&mut || {
                    for request in 0..20 {
                        let path = format!("/{thread}/{request}");
                        let (recorder, connection) = (Recorder::new(), connection());
                        let head = head("GET", &path, &[]);
                        let request = Request::new(&head, &connection, Body::empty());
                        let _ = application
                            .call(request, Responder::new(&recorder))
                            .unwrap();
                        assert_eq!(recorder.header("x-path").unwrap(), path.as_bytes());
                        assert_eq!(text(&recorder), path);
                    }
                });
            });
        }
    });
}

#[test]
fn an_object_that_an_application_keeps_is_not_anothers() {
    let script = Script::new(
        "
kept = []
def app(environ, start_response):
    if len(kept) > 2:
        kept.append(environ['wsgi.errors'])
    else:
        kept.append(None)
    start_response('200 OK', [])
    return [b'x']
",
    );
    (0..8).for_each(|_| drop(script.get()));
    assert_eq!(script.value("len(set(map(id, kept[3:])))"), "5");
}
