//! Bodies in chunks, as real frameworks see them.

use crate::support::{Serve, Server, python_env};

const APPS: [&str; 4] = [
    "chunked_flask:app",
    "chunked_django:application",
    "chunked_bottle:app",
    "chunked_pyramid:application",
];

fn serve(app: &str, args: &[&str]) -> Server {
    Serve::app(app)
        .args(["--venv".as_ref(), python_env().as_os_str()])
        .args(args)
        .start()
}

/// A form's text in chunks of 5 bytes.
fn chunked(path: &str, body: &str) -> String {
    let chunk = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).expect("it is ASCII");
        format!("{:x}\r\n{text}\r\n", bytes.len())
    };
    let chunks: Vec<_> = body.as_bytes().chunks(5).map(chunk).collect();
    format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{}0\r\n\r\n",
        chunks.concat()
    )
}

// Gunicorn: E19
#[test]
fn frameworks_read_a_chunked_body_as_one_of_a_known_length() {
    for app in APPS {
        let server = serve(app, &[]);
        let mut client = server.client();
        for (path, body, seen) in [
            ("/data", "name=Ada+Love", "name=Ada+Love"),
            ("/stream", "name=Ada+Love", "name=Ada+Love"),
            ("/form", "name=Ada+Love", "Ada Love"),
            ("/data", "", ""),
            ("/stream", "", ""),
        ] {
            client.send(chunked(path, body));
            let response = client.response().expect(200);
            assert_eq!(response.text(), seen, "{app} {path}");
            // The same with a length.
            client.send(format!(
                "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
                body.len()
            ));
            let response = client.response().expect(200);
            assert_eq!(response.text(), seen, "{app} {path}");
        }
        server.stop();
    }
}

// Gunicorn: E19
#[test]
fn frameworks_own_limits_hold_for_a_chunked_body() {
    let large = format!("name={}", "x".repeat(100));
    for (app, path, status) in [
        ("chunked_flask:app", "/data", 413),
        ("chunked_flask:app", "/form", 413),
        ("chunked_django:application", "/data", 400),
        ("chunked_django:application", "/form", 400),
        ("chunked_bottle:app", "/form", 413),
    ] {
        let server = serve(app, &[]);
        let mut client = server.client();
        client.send(chunked(path, &large));
        client.response().expect(status);
        server.stop();
    }
}

// Gunicorn: E19
#[test]
fn a_streamed_chunked_body_is_shown_as_what_it_is() {
    // Those that rely on `wsgi.input_terminated` read it; the others need a length, which nobody knows.
    for app in ["chunked_flask:app", "chunked_pyramid:application"] {
        let server = serve(app, &["--stream-request-body"]);
        let mut client = server.client();
        for path in ["/data", "/stream"] {
            client.send(chunked(path, "name=Ada"));
            assert_eq!(client.response().expect(200).text(), "name=Ada", "{app}");
        }
        server.stop();
    }
    let server = Serve::app("probe:app")
        .args(["--stream-request-body"])
        .start();
    let mut client = server.client();
    client.send(chunked("/environ", "name=Ada"));
    let environ = client.response().expect(200);
    assert!(
        environ
            .text()
            .contains("\"HTTP_TRANSFER_ENCODING\": \"'chunked'\""),
        "{}",
        environ.text()
    );
    assert!(
        !environ.text().contains("\"CONTENT_LENGTH\""),
        "{}",
        environ.text()
    );
    server.stop();
}
