//! HTTP/1.1 as a client sees it, through every layer.

use crate::support::Serve;

// Gunicorn: E51
#[test]
fn head_gets_the_headers_of_get_and_no_body() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    let get = client.get("/unread");
    let head = client
        .send("HEAD /unread HTTP/1.1\r\nHost: test\r\n\r\n")
        .head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), get.header("content-length"));
    // Had a body come, it would be taken for the start of the next response.
    assert_eq!(client.get("/unread").expect(200).body, get.body);
    server.stop();
}

// Gunicorn: E49
#[test]
fn http_1_0_connection_closes_after_its_response_unless_asked() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    let response = client.send("GET /unread HTTP/1.0\r\n\r\n").response();
    assert_eq!(response.expect(200).text(), "not read");
    client.expect_end();

    let mut client = server.client();
    for _ in 0..2 {
        client.send("GET /unread HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response().expect(200);
        assert_eq!(response.header("connection"), Some("keep-alive"));
    }

    // Without a length only the end of the connection ends the body: RFC 9112 section 6.3.
    let mut client = server.client();
    client.send("GET /big?1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = client.response().expect(200);
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(response.body.len(), 1 << 20);
    server.stop();
}

// Gunicorn: P42
#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    let request = |number| {
        let body = format!("number {number}");
        let length = body.len();
        format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    client.send((0..20).map(request).collect::<String>());
    for number in 0..20 {
        assert_eq!(
            client.response().expect(200).text(),
            format!("number {number}")
        );
    }
    server.stop();
}

#[test]
fn client_that_expects_100_continue_gets_it_before_the_body() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.response().status, 100);
    assert_eq!(client.send("body").response().expect(200).text(), "body");
    // RFC 9110 section 10.1.1: not where the body comes without waiting.
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody");
    assert_eq!(client.response().expect(200).text(), "body");
    server.stop();
}

#[test]
fn chunked_request_body_reaches_the_application_decoded() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("4\r\nbody\r\n");
    client.send("A;extension=1\r\n in chunks\r\n0\r\nX-Sum: 7\r\n\r\n");
    assert_eq!(client.response().expect(200).text(), "body in chunks");
    assert_eq!(client.get("/unread").expect(200).text(), "not read");
    server.stop();
}

#[test]
fn body_beyond_the_memory_buffer_reaches_the_application_whole() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    let body: Vec<u8> = (0..3_000_001_u32).map(|i| (i % 251) as u8).collect();
    assert!(client.post("/echo", &body).expect(200).body == body);
    assert!(client.post("/echo", &body[..70_000]).expect(200).body == body[..70_000]);
    server.stop();
}

#[test]
fn body_left_unread_does_not_disturb_the_next_request() {
    let server = Serve::app("probe:app").start();
    let mut client = server.client();
    for length in [10, 100_000] {
        assert_eq!(
            client
                .post("/unread", &vec![b'x'; length])
                .expect(200)
                .text(),
            "not read"
        );
        assert_eq!(client.get("/unread").expect(200).text(), "not read");
    }
    server.stop();
}

#[test]
fn malformed_requests_are_answered_400_and_closed() {
    let server = Serve::app("probe:app").start();
    let worker = server.workers(1);
    for request in [
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: test\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut client = server.client();
        let response = client.send(request).response();
        assert_eq!(response.status, 400, "{request:?}");
        assert_eq!(response.header("connection"), Some("close"), "{request:?}");
        client.expect_end();
    }
    assert_eq!(server.workers(1), worker);
    server.stop();
}

// Gunicorn: E10, E64
#[test]
fn early_hints_precede_the_answer_and_skip_http_1_0() {
    let silent = Serve::app("probe:app").start();
    let answer = silent.get("/hints").expect(200);
    assert_eq!(answer.text(), "hinted");
    silent.stop();
    let server = Serve::app("probe:app").args(["--early-hints"]).start();
    let mut client = server.client();
    let hint = client
        .send("GET /hints HTTP/1.1\r\nHost: test\r\n\r\n")
        .head();
    assert_eq!(hint.status, 103);
    assert_eq!(hint.header("link"), Some("</a.css>; rel=preload"));
    assert_eq!(hint.header("x-bytes"), Some("b"));
    assert_eq!(client.response().expect(200).text(), "hinted");
    let mut old = server.client();
    let answer = old.send("GET /hints HTTP/1.0\r\n\r\n").response();
    assert_eq!(answer.expect(200).text(), "hinted");
    server.stop();
}
