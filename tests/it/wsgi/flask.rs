//! A real Flask application, in a browser's terms.

use crate::support::{Gate, Serve, Server, python_env, root};
use tempfile::TempDir;

struct Site {
    server: Server,
    _data: TempDir,
}

fn site(workers: usize) -> Site {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Serve::app("flask_streaming:app")
        .args([
            "--pythonpath".as_ref(),
            root().join("examples/apps").as_os_str(),
        ])
        .args(["--venv".as_ref(), python_env().as_os_str()])
        .env("DEMO_DATA", data.path())
        .workers(workers)
        .start();
    Site {
        server,
        _data: data,
    }
}

#[test]
fn flask_sessions_forms_and_redirects_work_across_workers() {
    let site = site(2);
    let mut browser = site.server.browser();
    assert!(browser.get("/").expect(200).text().contains("Visit 1."));
    let page = browser.post("/sign", &[("name", "Ada"), ("message", "a < b & ü")]);
    let page = page.expect(200);
    assert!(page.text().contains("Visit 2, Ada."), "{}", page.text());
    assert!(page.text().contains("a &lt; b &amp; ü"), "{}", page.text());
    // Another visitor sees the entry, which is in the database, but is not Ada.
    let page = site.server.browser().get("/").expect(200);
    assert!(page.text().contains("Visit 1."));
    assert!(page.text().contains("a &lt; b &amp; ü"));
    site.server.stop();
}

#[test]
fn flask_upload_of_5_mib_comes_back_identical() {
    let site = site(1);
    let file: Vec<u8> = (0..5 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let back = site
        .server
        .browser()
        .upload("/upload", &[], ("noise.bin", &file));
    assert!(back.expect(200).body == file, "the file has changed");
    site.server.stop();
}

#[test]
fn flask_streamed_page_arrives_piece_by_piece() {
    let site = site(1);
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
fn flask_static_files_error_pages_and_failing_views_work() {
    let site = site(1);
    let css = site.server.get("/static/style.css").expect(200);
    assert_eq!(css.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(
        css.body,
        std::fs::read(root().join("examples/apps/static/style.css")).expect("it is there")
    );
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
            .contains("Internal Server Error")
    );
    site.server
        .stderr()
        .wait_for("RuntimeError: the view that always fails");
    assert_eq!(site.server.workers(1), worker, "the worker lives");
    site.server.stop();
}
