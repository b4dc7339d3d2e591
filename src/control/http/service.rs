//! What is answered at each path.

use super::history::History;
use super::{page, state};
use crate::arbiter::Handle;
use crate::error::Result;
use crate::metrics::{Applications, Format, Readiness, Snapshot};
use crate::service::{Request, Responded, Responder};

const NOWHERE: &str = "there are /, /livez, /readyz, /metrics and /status\n";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers one request. None changes anything.
pub(super) fn answer(
    handle: &Handle,
    applications: &Applications,
    history: &History,
    request: &Request<'_>,
    reply: Responder<'_>,
) -> Result<Responded> {
    if !matches!(request.method(), "GET" | "HEAD") {
        let reply = reply.header("allow", "GET, HEAD");
        return send(reply, 405, TEXT, "only GET and HEAD are answered here\n");
    }
    match request.path() {
        // The arbiter lives as long as this process.
        "/livez" => send(reply, 200, TEXT, "alive\n"),
        "/readyz" => {
            let readiness = Readiness::now(handle);
            let status = if readiness.is_ready() { 200 } else { 503 };
            send(reply, status, TEXT, &format!("{readiness}\n"))
        }
        "/metrics" => {
            let accept = request.header("accept").unwrap_or_default();
            let format = Format::preferred(&String::from_utf8_lossy(accept));
            let text = format.write(&Snapshot::of(handle), applications);
            send(reply, 200, format.content_type(), &text)
        }
        "/status" => {
            let text = format!("{}\n", state::json(&Snapshot::of(handle)));
            send(reply, 200, "application/json", &text)
        }
        "/" => {
            let reply = reply
                .header("content-security-policy", page::POLICY)
                .header("referrer-policy", "no-referrer");
            let text = page::html(&Snapshot::of(handle), history);
            send(reply, 200, "text/html; charset=utf-8", &text)
        }
        "/style.css" => send(reply, 200, "text/css; charset=utf-8", page::STYLE),
        "/refresh.js" => send(reply, 200, "text/javascript; charset=utf-8", page::SCRIPT),
        _ => send(reply, 404, TEXT, NOWHERE),
    }
}

fn send(reply: Responder<'_>, status: u16, kind: &str, text: &str) -> Result<Responded> {
    let fields = [
        ("content-type", kind),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ];
    reply.send(status, &fields, text.as_bytes())
}
