//! What must hold of `h1` for any request and any response, however the bytes are cut.

use bytes::BytesMut;
use oxicorn::h1::{BodyLength, CloseReason, Conn, ConnConfig, Event};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A request that a client may send.
#[derive(Clone, Debug)]
struct Responded {
    method: &'static str,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Sized(Vec<u8>),
    Chunked(Vec<Vec<u8>>, bool),
}

impl Responded {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            format!("{} {} HTTP/1.1\r\nHost: a\r\n", self.method, self.target).as_bytes(),
        );
        for (name, value) in &self.fields {
            out.extend_from_slice(format!("{name}:\t").as_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(b" \r\n");
        }
        match &self.body {
            Body::None => out.extend_from_slice(b"\r\n"),
            Body::Sized(body) => {
                out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                out.extend_from_slice(body);
            }
            Body::Chunked(chunks, trailer) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    out.extend_from_slice(format!("{:x};a=\"b\"\r\n", chunk.len()).as_bytes());
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                }
                let trailer = if *trailer { "X-Sum: 1\r\n" } else { "" };
                out.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
            }
        }
    }

    fn body(&self) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Sized(body) => body.clone(),
            Body::Chunked(chunks, _) => chunks.concat(),
        }
    }
}

fn any_sent() -> impl Strategy<Value = Responded> {
    let method = select(vec!["GET", "POST", "PUT", "DELETE", "OPTIONS", "M-SEARCH"]);
    let origin = prop_oneof![Just(""), Just("http://shop.example:80"), Just("s://[::1]")];
    let target = (origin, r"/[!-~&&[^#?]]{0,20}(\?[!-~&&[^#]]{0,9})?")
        .prop_map(|(origin, path)| format!("{origin}{path}"));
    // Names that mean nothing to the protocol.
    let name = "[Xx]-[A-Za-z0-9!#$%&'*+.^`|~-]{0,12}";
    let value = prop_oneof![
        Just(Vec::new()),
        "[!-~]([ -~\t]{0,30}[!-~])?".prop_map(String::into_bytes),
        vec(0x80..=0xffu8, 1..8),
    ];
    let bytes = || vec(any::<u8>(), 1..200);
    let body = prop_oneof![
        Just(Body::None),
        bytes().prop_map(Body::Sized),
        (vec(bytes(), 0..5), any::<bool>())
            .prop_map(|(chunks, trailer)| Body::Chunked(chunks, trailer)),
    ];
    (method, target, vec((name, value), 0..30), body).prop_map(|(method, target, fields, body)| {
        Responded {
            method,
            target,
            fields,
            body,
        }
    })
}

/// `bytes`, cut at these places.
fn pieces<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut points: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    points.extend([0, bytes.len()]);
    points.sort_unstable();
    points
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Gunicorn: P42
    #[test]
    fn pipelined_requests_come_out_as_they_went_in(
        mut sent in vec(any_sent(), 1..4),
        alike in any::<bool>(),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        // As most clients do it: what is known of the fields is not read once more.
        if alike {
            let fields = sent[0].fields.clone();
            for request in &mut sent {
                request.fields.clone_from(&fields);
            }
        }
        let mut bytes = Vec::new();
        for request in &sent {
            request.encode(&mut bytes);
        }
        let mut pieces = pieces(&bytes, &cuts).into_iter();
        let mut conn = Conn::server(ConnConfig::default());
        let mut out = BytesMut::new();
        let mut expected = sent.iter();
        let mut current = None;
        let mut body = Vec::new();
        loop {
            let mut complete = false;
            match conn.next_event().unwrap() {
                Event::NeedMore => match pieces.next() {
                    Some(piece) => conn.receive(piece),
                    None => conn.end_of_input(),
                },
                Event::Request(head) => {
                    let request = expected.next().unwrap();
                    prop_assert_eq!(head.method(), request.method);
                    prop_assert_eq!(head.target(), &request.target);
                    prop_assert!(head.keep_alive());
                    let fields: Vec<_> = head
                        .fields()
                        .filter(|(name, _)| name.starts_with(b"X-") || name.starts_with(b"x-"))
                        .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec()))
                        .collect();
                    prop_assert_eq!(&fields, &request.fields);
                    complete = head.length() == BodyLength::Empty;
                    current = Some(request);
                    conn.recycle(head);
                }
                Event::Data(data) => body.extend_from_slice(&data),
                Event::EndOfBody => complete = true,
                Event::ExpectContinue => prop_assert!(false, "nobody expects"),
                Event::Closed(reason) => {
                    prop_assert_eq!(reason, CloseReason::EndOfInput);
                    break;
                }
            }
            if complete {
                prop_assert_eq!(&body, &current.unwrap().body());
                body.clear();
                conn.begin(&mut out, 200, b"").unwrap().finish(Some(0)).unwrap();
                conn.finish().unwrap();
            }
        }
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn arbitrary_bytes_end_alike_however_they_are_cut(
        start in select(vec!["", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5"]),
        rest in "[ -~\\r\\n\t:;=\"0-9\\x00\\x7f]{0,60}(\r\n){0,2}",
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let bytes = [start.as_bytes(), rest.as_bytes()].concat();
        let first = outcome(&[&bytes]);
        prop_assert_eq!(&first, &outcome(&pieces(&bytes, &cuts)));
        // Parts of it are known now.
        prop_assert_eq!(&first, &outcome(&[&bytes]));
    }

    #[test]
    fn a_response_is_framed_as_its_blocks_demand(
        blocks in vec(vec(any::<u8>(), 0..300), 0..6),
        length in prop_oneof![Just(None), any::<Index>().prop_map(Some)],
    ) {
        let whole = blocks.concat();
        let length = length.map(|index| index.index(whole.len() + 20));
        let mut conn = Conn::server(ConnConfig::default());
        conn.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        prop_assert!(matches!(conn.next_event(), Ok(Event::Request(_))));
        let mut out = BytesMut::new();
        conn.begin(&mut out, 200, b"").unwrap().finish(length.map(|n| n as u64)).unwrap();
        out.clear();
        for block in &blocks {
            let frame = conn.frame(block.len()).unwrap();
            out.extend_from_slice(frame.prefix.as_ref());
            out.extend_from_slice(&block[..frame.take]);
            out.extend_from_slice(frame.suffix);
        }
        match (conn.finish(), length) {
            (Ok(end), None) => {
                out.extend_from_slice(end);
                prop_assert_eq!(&unchunk(&out), &whole);
                prop_assert!(conn.is_idle());
            }
            (end, Some(length)) => {
                prop_assert_eq!(&out[..], &whole[..length.min(whole.len())]);
                prop_assert_eq!(end.is_ok(), length <= whole.len());
                // What exceeds the length is dropped, and the connection is in step.
                prop_assert_eq!(conn.is_idle(), length <= whole.len());
            }
            (Err(error), None) => prop_assert!(false, "{}", error),
        }
    }
}

/// How a client's words end: the number of requests and bodies' bytes, and what stopped it.
fn outcome(pieces: &[&[u8]]) -> (usize, Vec<u8>, String) {
    let mut conn = Conn::server(ConnConfig::default());
    let mut out = BytesMut::new();
    let (mut requests, mut content, mut pieces) = (0, Vec::new(), pieces.iter());
    let end = loop {
        let mut complete = false;
        match conn.next_event() {
            Ok(Event::NeedMore) => match pieces.next() {
                Some(piece) => conn.receive(piece),
                None => conn.end_of_input(),
            },
            Ok(Event::Request(head)) => {
                requests += 1;
                complete = head.length() == BodyLength::Empty;
            }
            Ok(Event::ExpectContinue) => {}
            Ok(Event::Data(data)) => content.extend_from_slice(&data),
            Ok(Event::EndOfBody) => complete = true,
            Ok(Event::Closed(reason)) => break reason.to_string(),
            Err(error) => break error.to_string(),
        }
        if complete {
            conn.begin(&mut out, 204, b"")
                .unwrap()
                .finish(None)
                .unwrap();
            conn.finish().unwrap();
        }
    };
    (requests, content, end)
}

/// A plain reader of the chunked coding, for what we write ourselves.
fn unchunk(mut coded: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let end = coded.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&coded[..end]).unwrap(), 16).unwrap();
        coded = &coded[end + 2..];
        assert_eq!(&coded[size..size + 2], b"\r\n");
        if size == 0 {
            assert_eq!(coded.len(), 2, "nothing follows the last chunk");
            return content;
        }
        content.extend_from_slice(&coded[..size]);
        coded = &coded[size + 2..];
    }
}
