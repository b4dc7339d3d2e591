//! Responses of one turn, which leave together.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use oxicorn::time::MonoTime;

use crate::support::{Client, Serve, await_arrival, send, suspend, wait_until};

const CLIENTS: usize = 10;

#[test]
fn a_worker_that_dies_has_sent_what_it_had_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    for way in ["/exit", "/crash", "/kill"] {
        for round in 0..3 {
            let answered = folder.path().join(format!("{}-{round}", &way[1..]));
            let server = Serve::app("dies:app").env("ANSWERED", &answered).start();
            let worker = server.workers(1)[0];
            let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
            let mut last = server.client();
            last.get("/?first").expect(200);
            for _ in 0..3 {
                for client in &mut clients {
                    client.get("/?early").expect(200);
                }
            }
            // One poll finds all requests, in the order in which they came.
            suspend(worker);
            for (number, client) in clients.iter_mut().enumerate() {
                client.send_get(&format!("/?{number}"));
                await_arrival(client);
            }
            last.send_get(way);
            send(worker, Signal::SIGCONT);
            assert!(last.try_response().is_err(), "{way} was answered");
            let noted = fs::read_to_string(&answered).expect("the application's notes");
            let noted = noted.lines().filter(|line| line.parse::<usize>().is_ok());
            assert_eq!(noted.count(), CLIENTS, "answered before {way}");
            for mut client in clients {
                assert_eq!(client.response().expect(200).text(), "ok");
            }
            server.stop();
        }
    }
}

#[test]
fn no_response_of_a_worker_with_threads_waits_for_a_long_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let answered = folder.path().join("answered");
    let server = Serve::app("dies:app")
        .args(["--threads", "2"])
        .env("ANSWERED", &answered)
        .start();
    let blocks = folder.path().join("answered.blocks");
    let worker = server.workers(1)[0];
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    // By itself the kernel sends what is held back after 200 ms. A busy machine may take as long, but not each time.
    let most = Duration::from_millis(150);
    let mut shortest = Duration::MAX;
    for _ in 0..100 {
        let mut last = server.client();
        last.get("/").expect(200);
        for _ in 0..3 {
            for client in &mut clients {
                client.get("/").expect(200);
            }
        }
        suspend(worker);
        for client in &mut clients {
            client.send_get("/");
            await_arrival(client);
        }
        last.send_get("/blocks");
        send(worker, Signal::SIGCONT);
        let begun = MonoTime::now();
        for client in &mut clients {
            client.response().expect(200);
        }
        shortest = shortest.min(MonoTime::now().since(begun));
        // On a slow machine the responses may all be there before the long call begins.
        wait_until("the long call does not begin", || blocks.exists());
        fs::remove_file(&blocks).expect("its file");
        last.response().expect(200);
        if shortest < most {
            break;
        }
    }
    assert!(shortest < most, "{shortest:?}");
    server.stop();
}
