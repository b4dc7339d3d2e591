//! [`Client`]: a connection to a control socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{FAILED, UNREACHABLE, acknowledged};
use crate::control::{LONGEST_RESPONSE, PREFIX, frame, length};
use crate::error::{Error, Result};
use crate::json::Json;

pub(super) struct Client {
    path: PathBuf,
    stream: UnixStream,
}

impl Client {
    pub(super) fn connect(path: PathBuf) -> Result<Self> {
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Self { path, stream }),
            Err(error) => Err(unreachable(&path, &error)),
        }
    }

    /// The answer to a command, for which nobody waits for longer than `patience`.
    ///
    /// # Errors
    ///
    /// The server's own sentence, where it refuses the command or has failed with it; and where it does not answer.
    pub(super) fn ask(
        &mut self,
        command: &str,
        args: &[String],
        patience: Option<Duration>,
    ) -> Result<Json> {
        let lost = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Error::command_line(
                "the server has ended, or closed the connection, before it answered",
                UNREACHABLE,
            ),
            io::ErrorKind::WouldBlock => {
                Error::command_line("the server does not answer in time", UNREACHABLE)
            }
            _ => unreachable(&self.path, &error),
        };
        let answer = exchange(&mut self.stream, command, args, patience).map_err(lost)?;
        let is_ok = answer.get("status").and_then(Json::text) == Some("ok");
        if let Some(data) = answer.get("data").filter(|_| is_ok) {
            return Ok(data.clone());
        }
        let error = answer.get("error").and_then(Json::text);
        let error = error.unwrap_or("what answers there is no control socket");
        Err(Error::command_line(error.to_owned(), FAILED))
    }

    /// Has the server stop, and waits until it has ended: it then closes the connection.
    pub(super) fn ask_for_the_end(&mut self, args: &[String]) -> Result<Json> {
        match self.ask("stop", args, None) {
            Err(error) if error.exit_code() == UNREACHABLE => Ok(acknowledged("stop", "done")),
            Ok(answer) => {
                // No worker is left, and the arbiter is about to go.
                let _ = self.stream.read(&mut [0]);
                Ok(answer)
            }
            Err(error) => Err(error),
        }
    }
}

fn exchange(
    stream: &mut UnixStream,
    command: &str,
    args: &[String],
    patience: Option<Duration>,
) -> io::Result<Json> {
    stream.set_read_timeout(patience)?;
    let request = Json::object([
        ("id", 1.into()),
        ("command", command.into()),
        ("args", args.iter().map(String::as_str).collect()),
    ]);
    stream.write_all(&frame(&request))?;
    let mut prefix = [0; PREFIX];
    stream.read_exact(&mut prefix)?;
    let length = length(&prefix).filter(|length| *length <= LONGEST_RESPONSE);
    let mut text = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    stream.read_exact(&mut text)?;
    let text = std::str::from_utf8(&text).ok();
    let answer = text.and_then(Json::parse);
    answer.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn unreachable(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    Error::command_line(format!("no server answers at {path}: {error}"), UNREACHABLE)
}
