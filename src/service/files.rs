//! [`Files`]: a folder's files as a service; and one file as an answer, [`Responder::file`].
//!
//! *Invariants*: no name that a client gives leads out of the folder; a response has the length that its head says, or
//! is cut.

mod conditions;
mod media_type;
mod ranges;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use httpdate::HttpDate;
use percent_encoding::percent_decode_str;

use super::{Request, Responded, Responder, Service};
use crate::error::{Error, Result};
use crate::sys::open_below::open_below;
use conditions::{Precondition, Validators};
use media_type::media_type;
use ranges::{Multipart, Range, Ranges};

/// A block of a range, where several are sent.
const BLOCK: usize = 64 * 1024;
/// The first second that HTTP's dates cannot say: that of the year 10000.
const LAST_SECOND: i64 = 253_402_300_800;

/// A service that answers GET and HEAD with the files below a folder, as [`Responder::file`] does.
///
/// A folder is answered with its `index.html`; without a slash at the end of the path, the client is first sent to where
/// there is one. A path without a file gets 404, and so does one that no name can be (`..`, an encoded slash).
///
/// No symbolic link below the folder is followed: it gets 404, too. The folder itself may be one, and is looked up at each
/// request. Names that begin with a dot are not shown, except `.well-known` (RFC 8615).
///
/// ```no_run
/// use oxicorn::MakeService;
/// use oxicorn::service::{Files, Router};
///
/// let assets = Files::new("static").wrap(|request, reply, next| {
///     next.call(request, reply.header("cache-control", "max-age=3600"))
/// });
/// let site = Router::new().mount("/static", assets);
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// The files below `root`. Nothing is opened yet; where the folder is missing, a request is answered with 500.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl Service for Files {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        if !matches!(request.method(), "GET" | "HEAD") {
            return reply.header("allow", "GET, HEAD").status(405);
        }
        let path = request.path().trim_start_matches('/');
        let is_absolute = request.path().len() == path.len() + 1;
        let mut names: Vec<_> = path
            .split('/')
            .map(|name| percent_decode_str(name).collect::<Vec<u8>>())
            .collect();
        // After the slash at the end there is no name.
        if names.last().is_some_and(Vec::is_empty) {
            names.pop();
        }
        let is_hidden = |name: &Vec<u8>| name.starts_with(b".") && name != b".well-known";
        if !is_absolute || names.iter().any(is_hidden) {
            return not_found(reply);
        }
        let open = |names: &[Vec<u8>]| {
            let opened = open_below(&self.root, names.iter().map(Vec::as_slice));
            opened.map_err(|error| Error::io(format!("cannot open {}", self.root.display()), error))
        };
        let mut opened = open(&names)?;
        let own_path = request.head().path();
        if opened.as_ref().is_ok_and(is_folder) {
            if !own_path.ends_with('/') {
                return reply.redirect(301, with_slash(own_path, request.query()));
            }
            names.push(b"index.html".to_vec());
            opened = open(&names)?;
        } else if own_path.ends_with('/') {
            return not_found(reply);
        }
        let name = names.last().map_or(&b""[..], |name| name);
        answer(
            reply,
            &request,
            opened,
            media_type(Path::new(&*String::from_utf8_lossy(name))),
        )
    }
}

fn is_folder(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// The reference to the path with a slash, relative to the path: of the last segment only, so that it cannot name another
/// server.
fn with_slash(path: &str, query: &str) -> String {
    let (_, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("./{last}/{mark}{query}")
}

fn not_found(reply: Responder<'_>) -> Result<Responded> {
    reply.text(404, "There is no such file here\n")
}

impl Responder<'_> {
    /// Answers with the file at `path`, with its type, by the end of its name, and its time and length.
    ///
    /// Conditional requests (`If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`; RFC 9110 §13) and
    /// requests for ranges (`Range`, `If-Range`; §14) get what they ask for: 304, 412, 206 or 416, and several ranges in
    /// several parts. A file that is not there, or is no file, is answered with 404. The request is a GET or HEAD; for
    /// another method its conditions and ranges count for nothing.
    ///
    /// `path` is the program's own: nothing of it may come from the client. For that there is [`Files`].
    ///
    /// # Errors
    ///
    /// A file that cannot be opened or read, and a client that has gone.
    ///
    /// ```no_run
    /// use oxicorn::{Request, Responded, Responder, Result};
    ///
    /// fn report(request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
    ///     reply.header("content-disposition", "attachment").file(&request, "/srv/reports/today.pdf")
    /// }
    /// ```
    pub fn file(self, request: &Request<'_>, path: impl AsRef<Path>) -> Result<Responded> {
        let path = path.as_ref();
        answer(self, request, File::open(path), media_type(path))
    }
}

fn answer(
    reply: Responder<'_>,
    request: &Request<'_>,
    opened: io::Result<File>,
    media_type: &str,
) -> Result<Responded> {
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound => not_found(reply),
                io::ErrorKind::PermissionDenied => reply.text(403, "This file may not be read\n"),
                _ => Err(Error::io("cannot open a file", error)),
            };
        }
    };
    let metadata = file
        .metadata()
        .map_err(|error| Error::io("cannot look at a file", error))?;
    if !metadata.is_file() {
        return not_found(reply);
    }
    let size = metadata.len();
    // HTTP's dates begin with 1970, and a file may be from tomorrow (RFC 9110 §8.8.2.1).
    let modified = (0..LAST_SECOND)
        .contains(&metadata.mtime())
        .then(|| metadata.modified().ok());
    let modified = modified
        .flatten()
        .map(|modified| HttpDate::from(modified.min(SystemTime::now())));
    let validators = Validators {
        etag: format!(
            "\"{:x}-{:x}-{size:x}\"",
            metadata.mtime(),
            metadata.mtime_nsec()
        ),
        modified,
    };
    let is_get = request.method() == "GET";
    let mut reply = reply.header("etag", &*validators.etag);
    if let Some(modified) = modified {
        reply = reply.header("last-modified", modified.to_string());
    }
    if is_get || request.method() == "HEAD" {
        match validators.judge(request) {
            Precondition::Send => {}
            Precondition::NotModified => return reply.status(304),
            Precondition::Failed => return reply.status(412),
        }
    }
    let field = request
        .header("range")
        .filter(|_| is_get && validators.allow_range(request));
    let reply = reply.header("accept-ranges", "bytes");
    match Ranges::parse(field, size) {
        Ranges::Ignored => {
            let whole = Range {
                start: 0,
                len: size,
            };
            send(
                reply,
                request,
                200,
                &[("content-type", media_type)],
                file,
                whole,
            )
        }
        Ranges::Unsatisfiable => reply
            .header("content-range", format!("bytes */{size}"))
            .status(416),
        Ranges::Some(ranges) => match ranges[..] {
            [range] => {
                let content_range = range.content_range(size);
                let headers = [
                    ("content-type", media_type),
                    ("content-range", &content_range),
                ];
                send(reply, request, 206, &headers, file, range)
            }
            _ => send_parts(
                reply,
                &file,
                &ranges,
                &Multipart::new(&ranges, size, media_type),
            ),
        },
    }
}

fn bytes<'h>(headers: &'h [(&'h str, &'h str)]) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

/// Sends one part of a file.
fn send(
    reply: Responder<'_>,
    request: &Request<'_>,
    status: u16,
    headers: &[(&str, &str)],
    file: File,
    Range { start, len }: Range,
) -> Result<Responded> {
    let body = reply.start(status, b"", bytes(headers), Some(len))?;
    if len == 0 || request.method() == "HEAD" {
        return body.finish();
    }
    body.send_file(file, start, len)
}

/// Sends several parts of a file.
fn send_parts(
    reply: Responder<'_>,
    file: &File,
    ranges: &[Range],
    parts: &Multipart,
) -> Result<Responded> {
    let content_type = parts.content_type();
    let headers = [("content-type", &*content_type)];
    let mut body = reply.start(206, b"", bytes(&headers), Some(parts.len(ranges)))?;
    let mut block = vec![0; BLOCK];
    for (range, head) in ranges.iter().zip(parts.heads()) {
        body.write_all(head.as_bytes())?;
        let (mut at, end) = (range.start, range.start + range.len);
        while at < end {
            let len = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
            file.read_exact_at(&mut block[..len], at)
                .map_err(|error| Error::io("cannot read a file", error))?;
            body.write_all(&block[..len])?;
            at += len as u64;
        }
    }
    body.finish_with(parts.end().as_bytes())
}
