//! The first thing that a newcomer does, and the ways to name an application.

use crate::support::{Serve, root};

fn demo(app: &str) -> Serve {
    Serve::command_line(["--bind", "127.0.0.1:0", "--chdir", "examples/apps", app])
        .started_in(root())
}

#[test]
fn the_demo_page_shows_the_request() {
    let server = demo("hello:app").start();
    let page = server.get("/a%20b?x=%3C1%3E").expect(200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let text = page.text();
    for shown in ["<dd>GET</dd>", "<dd>/a b</dd>", "QUERY_STRING", "x=%3C1%3E"] {
        assert!(text.contains(shown), "no {shown} in {text}");
    }
    let workers = server.workers(1);
    assert!(text.contains(&format!("<dd>pid {}</dd>", workers[0])));
    server.stop();
}

#[test]
fn an_application_is_named_in_every_way_that_gunicorn_knows() {
    for (app, answer) in [
        ("names:hello", "hello"),
        ("names", "application"),
        ("only_app", "app"),
        ("names:site.admin", "admin"),
        ("names:make()", "made"),
        ("names:make('a', name='b')", "a and b"),
        ("package.wsgi:application", "package"),
        ("names:site.make('x')", "x"),
    ] {
        let server = Serve::app(app).start();
        assert_eq!(server.get("/").expect(200).text(), answer, "{app}");
        server.stop();
    }
}
