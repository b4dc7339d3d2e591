//! Django and Rust behind one router, in threads of this process and in memory.
#![cfg(all(feature = "wsgi", feature = "cli", feature = "tracing"))]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};

use oxicorn::service::Router;
use oxicorn::testing::Client as Caller;
use oxicorn::wsgi::App;
use oxicorn::{MakeService, Request, Responder, Server};

use support::{Client, PATIENCE, python_env, root};

/// Django is imported once in this process, so all tests have one folder for its data: an empty one in each run.
static DATA: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hybrid");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
});

fn django() -> App {
    App::new("django_site.wsgi:application")
        .venv(python_env())
        .python_path([root().join("examples/apps")])
        .env("DEMO_DATA", &*DATA)
}

/// Django below `/shop`, and a service that tells when it is called and answers when it is let go.
fn site() -> (Router, Receiver<()>, Sender<()>) {
    let (tell, called) = channel();
    let (go, wait) = channel::<()>();
    let held = Arc::new((tell, Mutex::new(wait)));
    let wait = move |_: Request<'_>, reply: Responder<'_>| {
        let _ = held.0.send(());
        let _ = held.1.lock().unwrap().recv();
        reply.text(200, "done\n")
    };
    (
        Router::new().mount("/shop", django()).mount("/wait", wait),
        called,
        go,
    )
}

#[test]
fn a_rust_route_holds_nothing_that_django_needs() {
    let (router, called, go) = site();
    // Middleware in front of both changes nothing of that.
    let router =
        router.wrap(|request, reply, next| next.call(request, reply.header("x-in-front", "1")));
    let server = Server::bind("127.0.0.1:0")
        .unwrap()
        .threads(2)
        .build()
        .unwrap();
    let running = server.in_process(router).unwrap();
    let address = running.listeners()[0].ip().unwrap();
    let mut waiting = Client::connect(address);
    waiting.send_last("/wait");
    called.recv_timeout(PATIENCE).unwrap();
    let mut shop = Client::connect(address);
    shop.send_last("/shop/");
    let page = shop.read_all();
    assert!(
        page.contains("200 OK") && page.contains("x-in-front: 1"),
        "{page}"
    );
    assert!(page.contains("action=\"/shop/sign\""), "{page}");
    go.send(()).unwrap();
    assert!(waiting.read_all().ends_with("done\n"));
    running.stop().unwrap();
}

#[test]
fn django_is_tested_in_memory_with_its_cookies_and_errors() {
    let client = Caller::new(site().0).unwrap().with_cookies();
    let page = client.get("/shop/").send();
    let text = page.text();
    let (_, token) = text
        .split_once("csrfmiddlewaretoken\" value=\"")
        .expect("a form");
    let (token, _) = token.split_once('"').unwrap();
    let form = [
        ("name", "Ada"),
        ("message", "a < b & ü"),
        ("csrfmiddlewaretoken", token),
    ];
    let signed = client.post("/shop/sign").form(form).send();
    assert_eq!(
        (signed.status(), signed.header("location")),
        (302, Some(&b"/shop/"[..])),
        "{signed:?}"
    );
    assert!(
        client
            .get("/shop/")
            .send()
            .text()
            .contains("a &lt; b &amp; ü")
    );
    assert_eq!(
        client
            .post("/shop/sign")
            .form([("name", "Eve")])
            .send()
            .status(),
        403
    );
    let missing = client.get("/shop/none").send();
    assert_eq!((missing.status(), missing.error().is_none()), (404, true));
}
