//! Many clients at once that are slow on purpose: what they may take, and whose place another gets.

use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::Client;
use crate::{Serving, config, mirror, serve};

#[test]
fn heads_that_are_not_complete_have_a_total_of_memory() {
    let patient = config(|config| config.head_timeout = Duration::from_secs(3));
    let serving = serve(patient, mirror);
    let field = format!("X: {}\r\n", "x".repeat(8000));
    let half = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", field.repeat(25));
    let mut clients: Vec<Client> = (0..120)
        .map(|_| {
            let mut stream = serving.connect();
            stream.send(&half);
            stream
        })
        .collect();
    // A head of a usual size is not concerned.
    let mut other = serving.connect();
    other.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    other.read_until("GET /a ");
    let answers: Vec<String> = clients.iter_mut().map(Client::read_all).collect();
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.starts_with(status))
            .count()
    };
    let (late, refused) = (count("HTTP/1.1 408 "), count("HTTP/1.1 503 "));
    assert_eq!(late + refused, 120, "{answers:?}");
    assert!(
        late * half.len() <= 16 * 1024 * 1024 && late > 20,
        "{late} were kept"
    );
    assert!(
        answers
            .iter()
            .any(|answer| answer.contains("Retry-After: "))
    );
}

// Gunicorn: W18
#[test]
fn a_body_that_drips_makes_room_when_there_is_no_place_left() {
    for rate in [0, 500] {
        let full = config(|config| {
            config.worker_connections = 1;
            config.body_rate = rate;
            config.body_grace = Duration::from_millis(200);
            config.body_timeout = Duration::from_secs(4);
        });
        let serving = serve(full, mirror);
        let mut slow = serving.connect();
        slow.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n");
        slow.send([b'x'; 4000]);
        let mut other = serving.connect();
        other.send(b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(other.read_all().ends_with("GET /other "));
        // Fast enough by far for its rate; where any rate will do, it has its time.
        let answer = slow.read_all();
        assert_eq!(answer.starts_with("HTTP/1.1 408 "), rate == 0, "{answer}");
    }
}

/// A client whose system takes little for it: all that it takes counts as the client's own pace.
fn with_little_room(serving: &Serving) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&serving.address.into()).unwrap();
    Client::tcp(socket.into())
}

// Gunicorn: W18
#[test]
fn an_answer_not_taken_makes_room_where_no_place_is_left() {
    let full = config(|config| {
        config.worker_connections = 1;
        config.send_grace = Duration::from_millis(200);
    });
    let serving = serve(full, |request, reply| {
        let len = if request.path() == "/large" {
            32 << 20
        } else {
            5
        };
        reply.send(200, &[], &vec![b'x'; len])
    });
    let mut deaf = with_little_room(&serving);
    deaf.send(b"GET /large HTTP/1.0\r\n\r\n");
    deaf.read_until("200 OK");
    let answer = serving.ask("GET /other HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("xxxxx"));
}

// Gunicorn: W18
#[test]
fn who_has_had_a_last_answer_makes_room_first() {
    let full = config(|config| {
        config.worker_connections = 2;
        config.keepalive = Duration::from_secs(60);
    });
    let serving = serve(full, mirror);
    let mut kept = serving.connect();
    kept.send(b"GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
    kept.read_until("GET /kept ");
    let mut refused = serving.connect();
    refused.send(b"GET\r\n\r\n");
    assert!(refused.read_all().starts_with("HTTP/1.1 400 "));
    let mut other = serving.connect();
    other.send(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    other.read_until("GET /other ");
    kept.send(b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    kept.read_until("GET /again ");
}
