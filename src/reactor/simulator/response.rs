//! What a client makes of the bytes that it gets: a reader of responses that shares nothing with `h1`.

/// A response.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    /// The request that is due.
    pub(super) number: usize,
    /// What it is the answer to, where a service gave it.
    pub(super) id: Option<(usize, usize)>,
    pub(super) body: Vec<u8>,
    /// Whether the connection ends with it.
    pub(super) close: bool,
    /// Whether its end was seen, as its framing tells.
    pub(super) is_whole: bool,
}

/// Takes one response off the front. `None` where more has to come, if that is still possible.
pub(super) fn parse(bytes: &mut Vec<u8>, is_head: bool, is_end: bool) -> Option<Got> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap_or("").to_owned();
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let status = status.unwrap_or(0);
    let field = |name: &str| {
        let mut lines = head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned())
    };
    let id = field("x-id").and_then(|id| {
        let (client, request) = id.split_once('-')?;
        Some((client.parse().ok()?, request.parse().ok()?))
    });
    let mut got = Got {
        status,
        number: 0,
        id,
        body: Vec::new(),
        close: field("connection").is_some_and(|value| value.contains("close")),
        is_whole: true,
    };
    let rest = &bytes[end..];
    let used = if is_head || status < 200 {
        Some(0)
    } else if let Some(len) = field("content-length").and_then(|len| len.parse().ok()) {
        let there = rest.len().min(len);
        got.body.extend_from_slice(&rest[..there]);
        (there == len).then_some(len)
    } else if field("transfer-encoding").is_some() {
        chunks(rest, &mut got.body)
    } else {
        got.body.extend_from_slice(rest);
        got.close = true;
        is_end.then_some(rest.len())
    };
    match used {
        Some(used) => drop(bytes.drain(..end + used)),
        None if is_end => {
            bytes.clear();
            got.is_whole = false;
            got.close = true;
        }
        None => return None,
    }
    Some(got)
}

/// Takes chunks apart; the length of all of them, once the last is there.
fn chunks(bytes: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let chunk = rest.get(line + 2..)?;
        if size == 0 {
            return chunk.starts_with(b"\r\n").then_some(at + line + 4);
        }
        if chunk.len() < size + 2 {
            into.extend_from_slice(&chunk[..size.min(chunk.len())]);
            return None;
        }
        into.extend_from_slice(&chunk[..size]);
        at += line + 2 + size + 2;
    }
}
