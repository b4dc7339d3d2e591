//! A reactor beside other things in a poll of the program's own.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oxicorn::Result;
use oxicorn::reactor::{Host, PollOutcome, Reactor};
use oxicorn::time::MonoTime;

use crate::{config, mirror, serve_with};

/// Waits with poll(2) for the reactor's descriptor, until its deadline at the most.
fn own_poll(reactor: &mut Reactor, host: &dyn Host) -> Result<PollOutcome> {
    let wait = reactor.next_deadline().map(|at| at.since(MonoTime::now()));
    let wait = wait.map_or(PollTimeout::NONE, |wait| {
        // poll(2) counts milliseconds.
        PollTimeout::try_from(wait + Duration::from_micros(999)).unwrap()
    });
    match poll(&mut [PollFd::new(reactor.as_fd(), PollFlags::POLLIN)], wait) {
        Ok(_) | Err(Errno::EINTR) => reactor.poll(host, Some(Duration::ZERO)),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_program_with_its_own_poll_answers_and_drains() {
    let serving = serve_with(config(|_| ()), mirror, own_poll);
    let mut clients: Vec<_> = (0..20).map(|_| serving.connect()).collect();
    for round in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/a").expect(200).text(), "GET /a ", "{round}");
        }
    }
    assert_eq!(serving.finish().len(), 60);
}

#[test]
fn deadlines_are_kept_by_a_program_with_its_own_poll() {
    let impatient = config(|config| config.settings.head_timeout = Duration::from_millis(50));
    let serving = serve_with(impatient, mirror, own_poll);
    let mut client = serving.connect();
    client.send(b"GET / HTTP/1.1\r\n");
    let answer = client.read_all();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}
