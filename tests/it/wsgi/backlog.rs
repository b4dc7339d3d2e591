//! Clients that no worker has accepted, as the side listener tells of them.

use std::fs;
use std::net::TcpListener;

use nix::sys::signal::Signal;

use super::side_listener::Watched;
use crate::support::{Address, Client, Serve, send, suspend, wait_until};

/// The label of an address.
fn label(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn gauge(address: &Address) -> String {
    let listener = label(address);
    format!("oxicorn_listener_backlog{{listener=\"{listener}\"}}")
}

#[test]
fn clients_that_wait_are_counted_at_their_listener() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("socket");
    let mut binds = vec!["127.0.0.1:0".to_owned(), format!("unix:{}", path.display())];
    if TcpListener::bind("[::1]:0").is_ok() {
        binds.push("[::1]:0".to_owned());
    }
    let watched = Watched::start(Serve::app("probe:app").bind(binds));
    watched.await_ready();
    let worker = watched.server.workers(1)[0];
    for address in &watched.server.addresses {
        assert_eq!(watched.metric(&gauge(address)), 0);
    }
    suspend(worker);
    let mut clients = Vec::new();
    for (address, count) in watched.server.addresses.iter().zip([5, 4, 3]) {
        clients.extend((0..count).map(|_| address.client()));
        wait_until("the waiting clients are not counted", || {
            watched.metric(&gauge(address)) == count
        });
    }
    let state = watched.get("/status").expect(200);
    let json: serde_json::Value = serde_json::from_str(state.text()).expect("it is JSON");
    let page = watched.get("/").expect(200);
    for (address, count) in watched.server.addresses.iter().zip([5, 4, 3]) {
        let label = label(address);
        assert_eq!(json["backlog"][&label], count);
        let row = format!("<tr><td>{label}</td><td class=\"n\">{count}</td></tr>");
        assert!(page.text().contains(&row), "{}", page.text());
    }
    send(worker, Signal::SIGCONT);
    for address in &watched.server.addresses {
        wait_until("the clients are not accepted", || {
            watched.metric(&gauge(address)) == 0
        });
    }
    drop(clients);
    watched.server.stop();
}

#[test]
fn queues_of_all_workers_are_one_listeners() {
    let watched = Watched::start(Serve::app("probe:app").workers(2).args(["--reuse-port"]));
    watched.await_ready();
    for worker in watched.server.workers(2) {
        suspend(worker);
    }
    let clients: Vec<Client> = (0..9).map(|_| watched.server.client()).collect();
    let gauge = gauge(watched.server.address());
    wait_until("the waiting clients are not counted", || {
        watched.metric(&gauge) == 9
    });
    for worker in watched.server.workers(2) {
        send(worker, Signal::SIGCONT);
    }
    wait_until("the clients are not accepted", || {
        watched.metric(&gauge) == 0
    });
    drop(clients);
    watched.server.stop();
}

#[test]
fn listeners_of_new_settings_take_the_place_of_the_old_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("conf.py");
    let paths = ["old", "new"].map(|name| Address::Unix(folder.path().join(name)));
    let bind = |address: &Address| {
        fs::write(&config, format!("bind = {:?}\n", label(address))).expect("it is writable");
    };
    bind(&paths[0]);
    let serve = Serve::app("probe:app").bind([] as [&str; 0]);
    let watched = Watched::start(serve.args(["-c".as_ref(), config.as_os_str()]));
    watched.await_ready();
    let [old, new] = paths.each_ref().map(gauge);
    let shown = |gauge: &str| watched.get("/metrics").expect(200).text().contains(gauge);
    assert!(shown(&old) && !shown(&new));
    bind(&paths[1]);
    watched.server.signal(Signal::SIGHUP);
    wait_until("the listeners are not replaced", || {
        shown(&new) && !shown(&old)
    });
    watched.server.stop();
}
