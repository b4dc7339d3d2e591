//! The status on a terminal, written over every second until the user ends the program or the server ends.

use std::fmt::Write as _;
use std::io;
use std::thread;
use std::time::Duration;

use super::client::Client;
use super::{PATIENCE, render};
use crate::error::Error;
use crate::json::Json;
use crate::sys::sigpipe;
use crate::time::MonoTime;

const EVERY: Duration = Duration::from_secs(1);

/// Goes to the first line, and erases all (`console_codes(4)`).
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Shows it until that is not possible any more: then the text is empty, or says why.
pub(super) fn run(client: &mut Client) -> Error {
    let mut before: Option<(MonoTime, i64)> = None;
    loop {
        let answer = match client.ask("status", &[], Some(PATIENCE)) {
            Ok(answer) => answer,
            Err(error) => return error,
        };
        let now = MonoTime::now();
        let requests = answer.get("requests").and_then(Json::integer).unwrap_or(0);
        let rate = before.map(|(then, count)| {
            let more = u32::try_from(requests - count).unwrap_or(0);
            f64::from(more) / now.since(then).as_secs_f64().max(0.001)
        });
        before = Some((now, requests));
        let mut text = render::status(&answer);
        if let Some(rate) = rate {
            // Writing to memory cannot fail.
            let _ = writeln!(text, "\n{rate:.0} requests/s");
        }
        // The terminal cuts lines that are too long.
        let text = format!("{CLEAR}\x1b[?7l{text}\x1b[?7h");
        if sigpipe::write_all(io::stdout(), text.as_bytes()).is_err() {
            return Error::command_line("", 0);
        }
        thread::sleep(EVERY);
    }
}
