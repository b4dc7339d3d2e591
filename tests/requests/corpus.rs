//! The cases of `tests/data/requests`, as its README describes them.
//!
//! What the description does not allow is a panic that names the file and the line.

use std::fs;
use std::path::Path;

use oxicorn::h1::{ConnConfig, Leniency, Limits, Names, Underscores};

/// A case.
pub(crate) struct Case {
    /// `valid/NAME` or `invalid/NAME`.
    pub(crate) name: String,
    settings: Vec<(String, String)>,
    sent: Vec<u8>,
    pub(crate) requests: Vec<Request>,
}

/// A request that must come out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// The cases of `valid` or `invalid`, in the order of their names.
pub(crate) fn cases(kind: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/requests");
    let files = fs::read_dir(folder.join(kind)).expect("the cases are there");
    let mut cases: Vec<Case> = files
        .map(|file| {
            let path = file.expect("the folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.and_then(|name| name.strip_suffix(".txt"));
            let name = format!("{kind}/{}", name.expect("only cases are here"));
            let text = fs::read_to_string(&path).expect("a case is text");
            Case::read(name, &text)
        })
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    cases
}

impl Case {
    fn read(name: String, text: &str) -> Self {
        let mut case = Self {
            name,
            settings: Vec::new(),
            sent: Vec::new(),
            requests: Vec::new(),
        };
        let mut refused = 0;
        let mut lines = text.split_inclusive('\n').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let at = format!("{}:{}", case.name, number + 1);
            let section = line.strip_prefix("=== ").and_then(|s| s.strip_suffix('\n'));
            let section = section.unwrap_or_else(|| panic!("{at}: no section begins here"));
            let mut content = Vec::new();
            while let Some((number, line)) = lines.next_if(|(_, line)| !line.starts_with('=')) {
                let at = format!("{}:{}", case.name, number + 1);
                let line = line.strip_suffix('\n');
                let line = line.unwrap_or_else(|| panic!("{at}: the line has no end"));
                assert!(!line.is_empty() && !line.ends_with(' '), "{at}: a blank");
                content.push((at, line));
            }
            assert!(!content.is_empty(), "{at}: an empty section");
            match section {
                "settings" => case.settings.extend(content.iter().map(|(at, line)| {
                    let pair = line.split_once(" = ");
                    let (name, value) = pair.unwrap_or_else(|| panic!("{at}: no setting"));
                    (name.to_owned(), value.to_owned())
                })),
                "sent" => case.sent = bytes(&content),
                "request" => case.requests.push(Request::read(&at, &content)),
                "body" => {
                    let request = case.requests.last_mut();
                    let request = request.unwrap_or_else(|| panic!("{at}: of no request"));
                    assert!(request.body.is_empty(), "{at}: a second body");
                    request.body = bytes(&content);
                }
                "refused" => refused += content.len(),
                _ => panic!("{at}: an unknown section"),
            }
        }
        let is_valid = case.name.starts_with("valid/");
        let name = &case.name;
        assert!(!case.sent.is_empty(), "{name}: nothing is sent");
        assert_eq!(!case.requests.is_empty(), is_valid, "{name}: requests");
        assert_eq!(refused, usize::from(!is_valid), "{name}: refused");
        case
    }

    /// What arrives, without a well-formed PROXY header: that precedes the protocol and is another layer's.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let is_looked_for = self
            .settings
            .iter()
            .any(|(name, _)| name == "proxy_protocol");
        if is_looked_for {
            without_proxy_header(&self.sent).to_vec()
        } else {
            self.sent.clone()
        }
    }

    /// The settings as Gunicorn takes them: 0 is the default of a field's size.
    pub(crate) fn config(&self) -> ConnConfig {
        let mut limits = Limits::default();
        let mut leniency = Leniency {
            // The corpus is read as from a trusted peer.
            forwarder_headers: Names::new("SCRIPT_NAME,PATH_INFO"),
            ..Leniency::default()
        };
        for (name, value) in &self.settings {
            let number = || value.parse::<usize>().expect("a number");
            let switch = || value.parse::<bool>().expect("true or false");
            match name.as_str() {
                "limit_request_line" => limits.request_line = number(),
                "limit_request_fields" => limits.fields = number(),
                "limit_request_field_size" if value == "0" => {}
                "limit_request_field_size" => limits.field_size = number(),
                "permit_obsolete_folding" => leniency.obsolete_folding = switch(),
                "strip_header_spaces" => leniency.header_spaces = switch(),
                "permit_unconventional_http_method" => leniency.unconventional_method = switch(),
                "permit_unconventional_http_version" => leniency.unconventional_version = switch(),
                "casefold_http_method" => leniency.casefold_method = switch(),
                "header_map" => {
                    leniency.underscores = match value.as_str() {
                        "drop" => Underscores::Drop,
                        "refuse" => Underscores::Refuse,
                        "dangerous" => Underscores::Dangerous,
                        _ => panic!("{}: header_map {value}", self.name),
                    }
                }
                // Settings of other layers.
                "proxy_protocol" | "forwarded_allow_ips" => {}
                _ => panic!("{}: the setting {name} is unknown", self.name),
            }
        }
        ConnConfig { limits, leniency }
    }
}

impl Request {
    fn read(at: &str, content: &[(String, &str)]) -> Self {
        let mut lines = vec![Vec::new()];
        for (at, line) in content {
            let last = lines.last_mut().expect("there is one");
            if !unescape(at, line, last) {
                lines.push(Vec::new());
            }
        }
        assert_eq!(lines.pop(), Some(Vec::new()), "{at}: the last line goes on");
        let mut lines = lines.iter().map(|line| latin1(line));
        let first = lines.next().unwrap_or_default();
        let [method, target, version] = first.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{at}: {first:?} is no request line");
        };
        let header = |line: String| {
            let empty = line.strip_suffix(':').map(|name| (name, ""));
            let pair = line.split_once(": ").or(empty);
            let (name, value) = pair.unwrap_or_else(|| panic!("{at}: {line:?} is no header"));
            (name.to_owned(), value.to_owned())
        };
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            headers: lines.map(header).collect(),
            body: Vec::new(),
        }
    }
}

/// The text that these bytes are in latin-1.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The bytes of a section in which the ends of lines mean nothing.
fn bytes(content: &[(String, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, line) in content {
        let goes_on = unescape(at, line, &mut bytes);
        assert!(!goes_on, "{at}: a backslash alone");
    }
    bytes
}

/// Adds what a line stands for; whether it ends with a backslash of its own.
fn unescape(at: &str, line: &str, out: &mut Vec<u8>) -> bool {
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            assert!(matches!(byte, b' '..=b'~'), "{at}: not escaped: {byte:#x}");
            out.push(byte);
            continue;
        }
        out.push(match rest.next() {
            None => return true,
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                let byte = u8::from_str_radix(&digits, 16).ok();
                byte.filter(|_| digits.len() == 2 && !digits.starts_with('+'))
                    .unwrap_or_else(|| panic!("{at}: \\x{digits}"))
            }
            Some(other) => panic!("{at}: the escape of {:?}", char::from(other)),
        });
    }
    false
}

fn without_proxy_header(bytes: &[u8]) -> &[u8] {
    if bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        return &bytes[16 + length..];
    }
    match bytes.iter().position(|&b| b == b'\n') {
        Some(end) if bytes.starts_with(b"PROXY ") && end + 1 < bytes.len() => &bytes[end + 1..],
        _ => bytes,
    }
}

#[test]
fn a_case_against_its_description_is_refused() {
    let sent = "=== sent\nGET / HTTP/1.1\\r\\n\n";
    let refused = "=== refused\nInvalidHeader\n";
    Case::read("invalid/right".into(), &format!("{sent}{refused}"));
    for (index, wrong) in [
        refused.to_owned(),
        sent.to_owned(),
        format!("{sent}\n{refused}"),
        format!("{sent}\u{e4}\n{refused}"),
        format!("{sent}\t\n{refused}"),
        format!("{sent}blank \n{refused}"),
        format!("{sent}\\q\n{refused}"),
        format!("{sent}\\x+1\n{refused}"),
        format!("{sent}\\x1\n{refused}"),
        format!("{sent}goes on\\\n{refused}"),
        format!("{sent}=== body\na\n{refused}"),
        format!("{sent}=== sentence\na\n{refused}"),
        format!("{sent}=== request\nGET /\n{refused}"),
        format!("{sent}=== request\nGET / HTTP/1.1\nHOST\n"),
        format!("{sent}{refused}another\n"),
        format!("{sent}{}", refused.trim_end()),
        format!("=== settings\nproxy_protocol\n{sent}{refused}"),
    ]
    .into_iter()
    .enumerate()
    {
        let read = || drop(Case::read("invalid/wrong".into(), &wrong));
        assert!(std::panic::catch_unwind(read).is_err(), "{index}: {wrong}");
    }
}
