//! Django and Rust in one server: the guestbook of `examples/apps`, its static files, and an interface in Rust.
//!
//! `cargo run --example hybrid [ADDRESS]`, in a virtual environment with Django. Rust's routes need no interpreter: a call
//! of theirs that takes long keeps no request of Django's waiting.

use std::thread;
use std::time::Duration;

use oxicorn::service::{Files, Router};
use oxicorn::time::MonoTime;
use oxicorn::wsgi::App;
use oxicorn::{MakeService, Request, Responder, Result, Server};

fn main() -> Result<()> {
    let apps = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/apps");
    let django = App::new("django_site.wsgi:application").python_path([apps]);
    let api = |request: Request<'_>, reply: Responder<'_>| match request.path() {
        "/version" => reply.text(200, concat!(env!("CARGO_PKG_VERSION"), "\n")),
        "/slow" => {
            thread::sleep(Duration::from_secs(1));
            reply.status(204)
        }
        _ => reply.text(404, "no such call\n"),
    };
    let site = Router::new()
        .mount("/", django)
        .mount("/api", api)
        .mount("/static", Files::new(format!("{apps}/static")))
        .wrap(|request, reply, next| {
            let (path, begun) = (request.path(), MonoTime::now());
            let responded = next.call(request, reply)?;
            println!(
                "{path} {} in {:?}",
                responded.status(),
                MonoTime::now().since(begun)
            );
            Ok::<_, oxicorn::Error>(responded)
        });
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8000");
    Server::bind(address)?.workers(2).threads(4).serve(site)
}
