//! The crate without Python, in one worker of one thread: `hello ADDRESS`.

use oxicorn::{Request, Responder, Result, Server};

fn main() -> Result<()> {
    let address = std::env::args().nth(1).expect("an address");
    Server::bind(&address)?
        .workers(1)
        .serve(|_: Request<'_>, reply: Responder<'_>| reply.text(200, "Hello, World!"))
}
