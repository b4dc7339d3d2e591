//! Many clients at once that are slow on purpose: what they may take, and whose place another gets.

use std::time::Duration;

use crate::desk::Desk;
use crate::support::Client;
use crate::{config, mirror, serve};

#[test]
fn heads_that_are_not_complete_have_a_total_of_memory() {
    let patient = config(|config| config.settings.head_timeout = Duration::from_secs(60));
    let mut desk = Desk::open(patient, |_, request, reply| mirror(request, reply));
    let field = format!("X: {}\r\n", "x".repeat(8000));
    let half = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", field.repeat(25));
    let soon = Some(Duration::from_millis(1));
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..120 {
        let mut client = desk.connect();
        std::thread::scope(|threads| {
            let sender = threads.spawn(|| client.send(&half));
            while !sender.is_finished() {
                desk.reactor.poll(&desk.host, soon).unwrap();
            }
        });
        clients.push(client);
    }
    // A head of a usual size is not concerned.
    let mut other = desk.sending("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    desk.answer_all(1);
    other.read_until("GET /a ");
    desk.pass(61);
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
fn a_client_with_its_last_answer_makes_room_first() {
    let full = config(|config| {
        config.settings.worker_connections = 2;
        config.settings.keepalive = Duration::from_secs(60);
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
