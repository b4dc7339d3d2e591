//! [`ConnectionExchange`]: the [`Exchange`] over a connection, while its request is being answered.
//!
//! Nothing here knows the other connections.

use std::borrow::Cow;
use std::cell::{RefCell, RefMut};
use std::fs::File;
use std::os::fd::AsFd;

use super::Config;
use super::date_header;
use super::host::Host;
use super::http_io::{HttpIo, UNWANTED, in_own_process};
use super::response::Response;
use crate::error::{Error, Kind, Result};
use crate::h1::{BodyLength, ResponseState};
use crate::service::{Exchange, RequestInfo, Upgraded};

/// The field of a request's id.
const REQUEST_ID: &[u8] = b"X-Request-Id";

/// Tells whether so much of a request's body is left when its response begins that the client should know that it is
/// the connection's last. This holds also for a service that reads on after it has begun to answer.
fn leaves_too_much(unread: BodyLength) -> bool {
    match unread {
        BodyLength::Empty => false,
        BodyLength::Known(len) => len > UNWANTED as u64,
        // It may have no end at all.
        BodyLength::Chunked => true,
    }
}

fn misused(text: impl Into<Cow<'static, str>>) -> Error {
    Error::of(Kind::Response, text)
}

/// The [`Exchange`] over a io, while its request is being answered.
pub(super) struct ConnectionExchange<'a> {
    pub(super) io: &'a RefCell<HttpIo>,
    pub(super) config: &'a Config,
    pub(super) host: &'a dyn Host,
    pub(super) request: &'a RequestInfo,
}

impl ConnectionExchange<'_> {
    /// The io, unless a call on it is under way already: an application's iterable may come back here
    /// from another thread while the interpreter was given up. Nor has a child of the process any: both would write.
    fn io(&self) -> Result<RefMut<'_, HttpIo>> {
        in_own_process(self.host)?;
        self.io
            .try_borrow_mut()
            .map_err(|_| misused("the response is being written already"))
    }

    /// The io of a response whose body may be written.
    fn started(&self) -> Result<RefMut<'_, HttpIo>> {
        let io = self.io()?;
        match io.http.response() {
            ResponseState::Started => Ok(io),
            ResponseState::Idle | ResponseState::Due => {
                Err(misused("the response has not been started"))
            }
            ResponseState::Complete => Err(misused("the response is complete already")),
            ResponseState::Upgraded => Err(misused("the call has taken the connection over")),
            ResponseState::Aborted => Err(io.in_time().err().unwrap_or_else(Error::disconnected)),
        }
    }
}

impl Exchange for ConnectionExchange<'_> {
    fn begin<'h>(
        &self,
        status: u16,
        reason: &[u8],
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
        len: Option<u64>,
    ) -> Result<()> {
        let io = &mut *self.io()?;
        if io.http.response() != ResponseState::Due {
            return Err(misused("the response was started already"));
        }
        if !self.host.keeps() || leaves_too_much(io.http.unread()) {
            io.http.close_after();
        }
        let mut head = io.http.begin(&mut io.encoded, status, reason)?;
        let now = self.host.now();
        date_header::with_lines(&self.config.settings.server_header, now, |lines| {
            head.preamble(lines);
        });
        io.recorded.response_fields.clear();
        let mut id = self.request.id.as_deref();
        id = id.filter(|_| self.config.sends_request_id());
        for (name, value) in headers {
            head.field(name, value)?;
            if id.is_some() && name.eq_ignore_ascii_case(REQUEST_ID) {
                // The service has said it itself.
                id = None;
            }
            // A 204 is sent without one (RFC 9110 section 8.6).
            let unsent = status == 204 && name.eq_ignore_ascii_case(b"content-length");
            if !unsent && self.config.records(name) {
                let field = (name.to_vec(), value.to_vec());
                io.recorded.response_fields.push(field);
            }
        }
        if let Some(id) = id {
            head.field(REQUEST_ID, id.as_bytes())?;
        }
        head.finish(len)?;
        io.response = Response::started(status, now);
        Ok(())
    }

    fn send_informational<'h>(
        &self,
        status: u16,
        headers: &mut dyn Iterator<Item = (&'h [u8], &'h [u8])>,
    ) -> Result<()> {
        let io = &mut *self.io()?;
        if !(102..200).contains(&status) {
            let text = format!("status {status} is not that of an interim response");
            return Err(misused(text));
        }
        if io.http.response() != ResponseState::Due {
            return Ok(());
        }
        let mut head = io.http.begin(&mut io.encoded, status, b"")?;
        for (name, value) in headers {
            head.field(name, value)?;
        }
        // Errors are reported first, so that they show up before production, too.
        if !self.config.settings.early_hints {
            return Ok(());
        }
        head.finish(None)?;
        let sent = io.send_informational_head(self.config);
        sent.map_err(|error| io.broken(error))?;
        io.hold_back(self.config, self.host)
    }

    fn record_variable(&self, name: &str, value: &[u8]) {
        if let Ok(mut io) = self.io() {
            let variable = (name.as_bytes().to_vec(), value.to_vec());
            io.recorded.variables.push(variable);
        }
    }

    fn look(&self) -> Result<()> {
        let io = &mut *self.io()?;
        io.in_time()?;
        if io.http.response() == ResponseState::Upgraded {
            return Ok(());
        }
        if io.transport.stream.has_hung_up().unwrap_or(false) {
            io.http.abort();
            return Err(Error::disconnected());
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let io = &mut *self.started()?;
        let frame = io.frame(bytes.len())?;
        if frame.take == 0 {
            return Ok(());
        }
        let block = [frame.prefix.as_ref(), &bytes[..frame.take], frame.suffix];
        let sent = if io.http.has_whole_body() {
            io.completing(self.host)
                .and_then(|()| io.send_last(block, self.config))
        } else {
            io.send(block, self.config)
        };
        sent.map_err(|error| io.broken(error))?;
        self.host.progress();
        io.hold_back(self.config, self.host)
    }

    fn write_last(&self, bytes: &[u8]) -> Result<()> {
        let io = &mut *self.started()?;
        let frame = io.frame(bytes.len())?;
        // Where the body is shorter than was promised, what there is of it leaves all the same.
        let end = io.http.finish();
        let last = end.as_ref().map_or(b"" as &[u8], |last| last);
        // A block's own suffix and the last chunk are 7 octets together.
        let mut tail = [0; 8];
        let (suffix, rest) = tail.split_at_mut(frame.suffix.len());
        suffix.copy_from_slice(frame.suffix);
        rest[..last.len()].copy_from_slice(last);
        let tail = &tail[..frame.suffix.len() + last.len()];
        let block = [frame.prefix.as_ref(), &bytes[..frame.take], tail];
        let sent = io
            .completing(self.host)
            .and_then(|()| io.send_last(block, self.config));
        sent.map_err(|error| io.broken(error))?;
        end?;
        io.complete();
        Ok(())
    }

    fn send_file(&self, file: File, offset: u64, len: u64) -> Result<()> {
        let io = &mut *self.started()?;
        let whole = usize::try_from(len).unwrap_or(usize::MAX);
        let frame = io.frame(whole)?;
        let sent = io.send([frame.prefix.as_ref(), b"", b""], self.config);
        sent.map_err(|error| io.broken(error))?;
        io.transport.copies_files = !self.config.settings.sendfile;
        io.outbox.push_file(file, offset, frame.take as u64);
        io.encoded.extend_from_slice(frame.suffix);
        let end = io.http.finish()?;
        io.encoded.extend_from_slice(end);
        let sent = io
            .completing(self.host)
            .and_then(|()| io.flush(self.config));
        sent.map_err(|error| io.broken(error))?;
        io.complete();
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.io()?.read_body(buffer, self.config, self.host)
    }

    fn may_take_over(&self) -> Result<(), &'static str> {
        if !self.host.spares_threads() {
            return Err("this worker has no thread to spare for it: see threads");
        }
        let io = self.io.try_borrow();
        if io.is_ok_and(|io| io.transport.is_encrypted()) {
            return Err("the connection is encrypted");
        }
        Ok(())
    }

    fn take_over<'h>(
        &self,
        switching: Option<&mut dyn Iterator<Item = (&'h [u8], &'h [u8])>>,
    ) -> Result<Upgraded> {
        self.may_take_over()
            .map_err(|reason| misused(format!("the connection cannot be taken over: {reason}")))?;
        let io = &mut *self.io()?;
        if io.http.response() != ResponseState::Due {
            return Err(misused("the response was started already"));
        }
        if io.http.unread() != BodyLength::Empty {
            return Err(misused("the request's body was not read to its end"));
        }
        let socket = io.transport.stream.as_fd().try_clone_to_owned();
        let socket = socket
            .map_err(|error| Error::io("no second descriptor of the client's socket", error))?;
        if let Some(headers) = switching {
            let mut head = io.http.switch_protocols(&mut io.encoded)?;
            let now = self.host.now();
            date_header::with_lines(&self.config.settings.server_header, now, |lines| {
                head.preamble(lines);
            });
            for (name, value) in headers {
                head.field(name, value)?;
            }
            head.finish(None)?;
        }
        io.take_over(socket, self.config, self.host)
    }
}
