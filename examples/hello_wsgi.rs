//! The five lines that serve a WSGI application: `examples/apps/hello.py`, on port 8000.
//!
//! Run it from the project's folder: `cargo run --release --example hello_wsgi`.

fn main() -> oxicorn::Result<()> {
    let app = oxicorn::wsgi::App::new("hello:app").python_path(["examples/apps"]);
    oxicorn::Server::bind("127.0.0.1:8000")?
        .workers(2)
        .serve(app)
}
