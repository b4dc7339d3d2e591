//! In which order requests are handed out, and how many between two turns. The reactor turns on the test's thread.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::time::Duration;

use oxicorn::net::{Listener, Listeners, QueuePolicy};
use oxicorn::reactor::{Config, Host, Reactor};
use oxicorn::time::MonoTime;

use crate::config;
use crate::desk::Desk;
use crate::support::{Client, await_arrival};

fn open() -> Desk {
    open_with(Config::default())
}

fn open_with(config: Config) -> Desk {
    Desk::open(config, |_, _, reply| reply.text(200, ""))
}

impl Desk {
    /// A client whose request for this path has arrived, and is neither read nor accepted.
    fn client(&self, path: &str) -> Client {
        self.sending(requests(&[path]))
    }

    /// A client whose first request has been answered.
    fn kept(&mut self) -> Client {
        let client = self.client("/first");
        assert_eq!(self.answer_all(1), ["/first"]);
        client
    }

    /// So many milliseconds pass.
    fn pass_millis(&mut self, millis: u64) {
        self.host.pass(Duration::from_millis(millis));
    }
}

/// Sends requests, and waits until the system has them for the reactor.
fn send(client: &mut Client, paths: &[&str]) {
    client.send(requests(paths));
    await_arrival(client);
}

fn requests(paths: &[&str]) -> String {
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    paths.iter().map(request).collect()
}

// Gunicorn: W1
#[test]
fn a_request_sent_at_once_goes_behind_all_sent_before() {
    let mut desk = open();
    let [mut first, mut second] = [desk.kept(), desk.kept()];
    send(&mut first, &["/a1", "/a2", "/a3"]);
    desk.turn();
    let ready = desk.reactor.next_request(&desk.host).unwrap();
    // Readable and not read; not even accepted.
    send(&mut second, &["/b"]);
    let _newcomers = [desk.client("/c"), desk.client("/d")];
    assert_eq!(desk.answer(ready), "/a1");
    assert_eq!(desk.answer_all(5), ["/b", "/c", "/d", "/a2", "/a3"]);
}

#[test]
fn between_two_polls_no_request_after_the_first_is_handed_out() {
    let mut desk = open();
    let mut clients = [desk.kept(), desk.kept(), desk.kept()];
    for (client, paths) in clients.iter_mut().zip([["/a"; 9], ["/b"; 9], ["/c"; 9]]) {
        send(client, &paths);
    }
    for _ in 0..9 {
        desk.turn();
        assert!(desk.reactor.has_pending());
        assert_eq!(desk.lap(), ["/a", "/b", "/c"]);
        assert!(!desk.reactor.has_pending());
    }
}

#[test]
fn what_asks_the_worker_is_heard_though_a_client_never_pauses() {
    let mut desk = open();
    let (mut bell, heard) = UnixStream::pair().unwrap();
    desk.reactor.watch(heard.as_fd()).unwrap();
    let mut client = desk.kept();
    send(&mut client, &["/"; 100]);
    desk.turn();
    bell.write_all(b"!").unwrap();
    assert_eq!(desk.lap(), ["/"]);
    assert!(desk.reactor.poll(&desk.host, None).unwrap().woken);
    desk.reactor.drain(desk.host.now.get(), QueuePolicy::Drain);
    // The one that is ready, and the one that is told that it is the last.
    assert_eq!(desk.answer_all(2), ["/", "/"]);
    client.end_output();
    while !desk.reactor.is_done(MonoTime::now()) {
        desk.turn();
        assert_eq!(desk.lap(), [""; 0]);
    }
}

#[test]
fn a_drain_keeps_an_idle_client_for_as_long_as_keepalive() {
    let mut desk = open();
    let [mut early, mut idle] = [desk.kept(), desk.kept()];
    desk.pass_millis(500);
    desk.reactor.drain(desk.host.now.get(), QueuePolicy::Keep);
    desk.pass_millis(1499);
    send(&mut early, &["/last"]);
    desk.turn();
    assert_eq!(desk.lap(), ["/last"]);
    assert_eq!(desk.reactor.open(), 1);
    desk.pass_millis(1);
    desk.turn();
    assert!(desk.reactor.is_done(desk.host.now.get()));
    assert!(early.read_all().contains("Connection: close\r\n"));
    let answers = idle.read_all();
    assert!(answers.ends_with("Content-Length: 0\r\n\r\n") && !answers.contains("close"));
}

#[test]
fn a_drain_bounds_the_idle_time_where_keepalive_is_long() {
    let mut desk = open_with(config(|config| {
        config.settings.keepalive = Duration::from_secs(60);
    }));
    let _idle = desk.kept();
    desk.pass_millis(500);
    desk.reactor.drain(desk.host.now.get(), QueuePolicy::Keep);
    desk.pass_millis(1999);
    desk.reactor.poll(&desk.host, Some(Duration::ZERO)).unwrap();
    assert_eq!(desk.reactor.open(), 1);
    desk.pass_millis(1);
    desk.turn();
    assert!(desk.reactor.is_done(desk.host.now.get()));
}

/// A host whose thread is stopped for an hour when its poll has ended; a client sends a request meanwhile.
struct Stopped {
    since: MonoTime,
    client: RefCell<Client>,
    resumed: Cell<bool>,
}

impl Host for Stopped {
    fn now(&self) -> MonoTime {
        let hours = u64::from(self.resumed.get());
        self.since + Duration::from_secs(3600 * hours)
    }

    fn wait(&self, poll: &mut (dyn FnMut() + Send)) {
        poll();
        if !self.resumed.replace(true) {
            send(&mut self.client.borrow_mut(), &["/in-time"]);
        }
    }
}

#[test]
fn a_request_that_came_while_the_thread_was_stopped_is_in_time() {
    let mut desk = open();
    let client = desk.kept();
    desk.turn();
    desk.reactor.drain(desk.host.now.get(), QueuePolicy::Keep);
    let stopped = Stopped {
        since: desk.host.now.get(),
        client: RefCell::new(client),
        resumed: Cell::new(false),
    };
    let soon = Some(Duration::from_millis(1));
    desk.reactor.poll(&stopped, soon).unwrap();
    assert!(stopped.resumed.get(), "it has waited for nothing");
    assert_eq!(desk.lap(), ["/in-time"]);
}

// Gunicorn: W1
#[test]
fn newcomers_have_their_places_among_clients_that_never_rest() {
    let mut desk = open();
    let mut kept = [desk.kept(), desk.kept(), desk.kept()];
    let mut newcomers = Vec::new();
    for round in 0..4 {
        for client in &mut kept {
            send(client, &["/kept"]);
        }
        // More than there are kept, each time: those of this round come before the next round.
        newcomers.extend((0..5).map(|_| desk.client(&format!("/{round}"))));
        desk.turn();
        let answered = desk.lap();
        let mut expected = vec!["/kept".to_owned(); 3];
        expected.extend(vec![format!("/{round}"); 5]);
        assert_eq!(answered, expected);
    }
}

#[test]
fn unannounced_newcomers_come_one_with_each_kept_connection() {
    let name = format!("oxicorn-test-line-{}", std::process::id());
    let address = format!("unix:@{name}").parse().unwrap();
    let listener = Listener::bind(&address, 64).unwrap();
    let mut desk = open();
    desk.reactor = Reactor::new(&Listeners::from(listener), Config::default()).unwrap();
    let address = UnixAddress::from_abstract_name(&name).unwrap();
    let ask = |mut client: &UnixStream, path| {
        client.write_all(requests(&[path]).as_bytes()).unwrap();
    };
    let connect = |path| {
        let client = UnixStream::connect_addr(&address).unwrap();
        ask(&client, path);
        client
    };
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push(connect("/first"));
        desk.answer_all(1);
    }
    let _newcomers: Vec<_> = (0..4).map(|_| connect("/new")).collect();
    for _ in 0..2 {
        for client in &kept {
            ask(client, "/kept");
        }
        desk.turn();
        assert_eq!(desk.lap(), ["/kept", "/kept", "/new", "/new"]);
    }
}

#[test]
fn a_newcomer_with_a_place_stays_in_the_queue_until_its_turn() {
    let mut desk = open();
    let mut kept = desk.kept();
    let _newcomers = [desk.client("/a"), desk.client("/b")];
    send(&mut kept, &["/kept"]);
    desk.turn();
    for open in 1..=3 {
        let ready = desk.reactor.next_request(&desk.host).unwrap();
        assert_eq!(desk.reactor.open(), open);
        desk.answer(ready);
    }
}

#[test]
fn newcomers_left_to_others_keep_their_places_and_are_accepted() {
    let mut desk = open();
    let mut kept = [desk.kept(), desk.kept()];
    desk.host.polite = true;
    let _newcomers = [desk.client("/new"), desk.client("/new")];
    // Others may come for them.
    for _ in 0..4 {
        for client in &mut kept {
            send(client, &["/kept"]);
        }
        desk.turn();
        assert_eq!(desk.lap(), ["/kept", "/kept"]);
        assert_eq!(desk.reactor.open(), 2);
        desk.pass_millis(1);
    }
    // They did not.
    for client in &mut kept {
        send(client, &["/kept"]);
    }
    let _another = desk.client("/another");
    desk.pass_millis(1);
    desk.turn();
    assert_eq!(desk.lap(), ["/new", "/new", "/kept", "/kept"]);
    assert_eq!(desk.reactor.open(), 4);
}

#[test]
fn newcomers_left_to_others_come_first_where_no_other_comes() {
    let mut desk = open();
    let mut kept = desk.kept();
    desk.host.polite = true;
    let _newcomer = desk.client("/new");
    send(&mut kept, &["/kept"]);
    desk.turn();
    assert_eq!(desk.lap(), ["/kept"]);
    desk.host.polite = false;
    send(&mut kept, &["/kept"]);
    desk.turn();
    assert_eq!(desk.lap(), ["/new", "/kept"]);
}

#[test]
fn newcomers_whose_place_comes_up_late_are_accepted() {
    let mut desk = open();
    let mut kept = desk.kept();
    desk.host.polite = true;
    let _newcomer = desk.client("/new");
    send(&mut kept, &["/kept"]);
    desk.turn();
    let ready = desk.reactor.next_request(&desk.host).unwrap();
    desk.pass_millis(5);
    assert_eq!(desk.answer(ready), "/kept");
    desk.turn();
    assert_eq!(desk.lap(), ["/new"]);
}

#[test]
fn long_calls_have_a_turn_after_each() {
    let mut desk = open();
    let mut clients = [desk.kept(), desk.kept(), desk.kept()];
    for client in &mut clients {
        send(client, &["/"]);
    }
    for _ in 0..3 {
        desk.turn();
        let ready = desk.reactor.next_request(&desk.host).unwrap();
        desk.pass_millis(2);
        desk.answer(ready);
        assert!(desk.reactor.next_request(&desk.host).is_none());
    }
    assert!(!desk.reactor.has_pending());
}
