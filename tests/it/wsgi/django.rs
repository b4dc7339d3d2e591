//! A real Django application, in a browser's terms.

use crate::support::{Browser, Gate, Serve, Server, python_env, root};
use tempfile::TempDir;

struct Site {
    server: Server,
    _data: TempDir,
}

fn site(workers: usize, debug: &str) -> Site {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("django_streaming:application")
        .args([
            "--pythonpath".as_ref(),
            root().join("examples/apps").as_os_str(),
        ])
        .args(["--venv".as_ref(), python_env().as_os_str()])
        .env("DEMO_DATA", data.path())
        .env("DJANGO_DEBUG", debug)
        .workers(workers)
        .start();
    Site {
        server,
        _data: data,
    }
}

/// The token of a page's form (the page was asked for by this browser).
fn token(browser: &mut Browser) -> String {
    let page = browser.get("/").expect(200);
    let (_, rest) = page
        .text()
        .split_once("csrfmiddlewaretoken\" value=\"")
        .expect("a token");
    rest.split('"').next().expect("a value").to_owned()
}

#[test]
fn django_sessions_forms_and_redirects_work_across_workers() {
    let site = site(2, "0");
    let mut browser = site.server.browser();
    let token = token(&mut browser);
    let fields = [
        ("name", "Ada"),
        ("message", "a < b & ü"),
        ("csrfmiddlewaretoken", token.as_str()),
    ];
    let page = browser.post("/sign", &fields).expect(200);
    assert!(page.text().contains("Visit 2, Ada."), "{}", page.text());
    assert!(page.text().contains("a &lt; b &amp; ü"), "{}", page.text());
    let page = site.server.browser().get("/").expect(200);
    assert!(page.text().contains("Visit 1."));
    assert!(page.text().contains("a &lt; b &amp; ü"));
    site.server.stop();
}

#[test]
fn django_refuses_a_form_without_its_token() {
    let site = site(1, "0");
    let mut browser = site.server.browser();
    let token = token(&mut browser);
    browser
        .post("/sign", &[("name", "Ada"), ("message", "hi")])
        .expect(403);
    let fields = [
        ("name", ""),
        ("message", "hi"),
        ("csrfmiddlewaretoken", token.as_str()),
    ];
    let page = browser.post("/sign", &fields).expect(422);
    assert!(page.text().contains("This field is required."));
    site.server.stop();
}

#[test]
fn django_upload_of_5_mib_comes_back_identical() {
    let site = site(1, "0");
    let mut browser = site.server.browser();
    let token = token(&mut browser);
    let file: Vec<u8> = (0..5 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let fields = [("csrfmiddlewaretoken", token.as_str())];
    let back = browser.upload("/upload", &fields, ("noise.bin", &file));
    assert!(back.expect(200).body == file, "the file has changed");
    site.server.stop();
}

#[test]
fn django_streamed_page_arrives_piece_by_piece() {
    let site = site(1, "0");
    let gate = Gate::new();
    let mut client = site.server.client();
    client.send(format!(
        "GET {} HTTP/1.1\r\nHost: test\r\n\r\n",
        gate.at("/gated")
    ));
    let head = client.head().expect(200);
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(client.chunk().as_deref(), Some(&b"first\n"[..]));
    // The view goes on only now, with the first piece in the client's hands.
    drop(gate.arrival());
    assert_eq!(client.chunk().as_deref(), Some(&b"second\n"[..]));
    assert_eq!(client.chunk(), None);
    site.server.stop();
}

#[test]
fn django_static_files_error_pages_and_failing_views_work() {
    let site = site(1, "0");
    let css = site.server.get("/static/style.css").expect(200);
    assert_eq!(css.header("content-type"), Some("text/css"));
    assert!(css.text().contains("color-scheme"));
    assert!(
        site.server
            .get("/nope")
            .expect(404)
            .text()
            .contains("No such page")
    );
    let worker = site.server.workers(1);
    assert!(
        site.server
            .get("/boom")
            .expect(500)
            .text()
            .contains("Server Error (500)")
    );
    site.server
        .stderr()
        .wait_for("RuntimeError: the view that always fails");
    assert_eq!(site.server.workers(1), worker, "the worker lives");
    site.server.stop();
}

#[test]
fn django_exception_page_shows_the_traceback_where_debug_is_on() {
    let site = site(1, "1");
    let page = site.server.get("/boom").expect(500);
    for shown in [
        "RuntimeError",
        "the view that always fails",
        "Traceback",
        "views.py",
    ] {
        assert!(page.text().contains(shown), "no {shown}");
    }
    site.server.stop();
}
