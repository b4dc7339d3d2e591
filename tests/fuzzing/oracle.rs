//! A second reader of requests, written from the steps of RFC 9112 and sharing nothing with `h1`.
//!
//! It knows what matters to framing only: where a head ends, whether it may be served, and where the body
//! ends. Whoever disagrees with it on that can be made to disagree with a proxy: request smuggling.

/// Where a body ends, or why its request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Empty,
    Length(u64),
    Chunked,
    /// With 400, or with 501 for a coding that is not known. Where more than one thing is wrong either will
    /// do, so the oracle does not tell them apart.
    Refused,
}

/// The framing of a request of this version with these raw lines after its request line.
pub(crate) fn framing(http_11: bool, section: &[u8]) -> Verdict {
    let Some(fields) = fields_of(section) else {
        return Verdict::Refused;
    };
    let values = |name: &str| -> Vec<String> {
        let same = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.clone()).collect()
    };
    // RFC 9112 §3.2: one Host, and in HTTP/1.1 no fewer.
    let hosts = values("host").len();
    if hosts > 1 || (http_11 && hosts == 0) {
        return Verdict::Refused;
    }
    let lengths = values("content-length");
    let codings: Vec<String> = values("transfer-encoding")
        .iter()
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim_matches([' ', '\t']).to_ascii_lowercase())
        .collect();
    if !codings.is_empty() {
        return coded(http_11, &lengths, &codings);
    }
    // §6.3, step 5: invalid is an error; equal repetitions may be refused, and are.
    match &lengths[..] {
        // Step 7.
        [] => Verdict::Empty,
        [length] if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            match length.parse() {
                Ok(0) => Verdict::Empty,
                // Step 6.
                Ok(length) => Verdict::Length(length),
                // §6.2: beware of overflows.
                Err(_) => Verdict::Refused,
            }
        }
        _ => Verdict::Refused,
    }
}

/// The framing where there is a `Transfer-Encoding`.
fn coded(http_11: bool, lengths: &[String], codings: &[String]) -> Verdict {
    // §6.1: what is not understood is refused.
    let known = ["chunked", "identity", "gzip", "deflate", "compress"];
    let understood = codings.iter().all(|coding| known.contains(&&coding[..]));
    // §6.3, step 4: `chunked` last; §7.1: and once.
    let position = codings.iter().position(|coding| coding == "chunked");
    let framed = position == Some(codings.len() - 1);
    // §6.1: in HTTP/1.0 the framing is faulty; §6.3, step 3: with a length it is an attack.
    if understood && framed && http_11 && lengths.is_empty() {
        Verdict::Chunked
    } else {
        Verdict::Refused
    }
}

/// The fields of a section that ends in an empty line, if RFC 9112 §2.2 and §5 have them taken.
fn fields_of(section: &[u8]) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    for line in section.split_inclusive(|&b| b == b'\n') {
        // §2.2: a line ends in CRLF, and CR is nowhere else.
        let line = line.strip_suffix(b"\r\n")?;
        if line.is_empty() {
            return Some(fields);
        }
        let text: String = line.iter().copied().map(char::from).collect();
        // §5.2: no folds. §5.1: no blank before the colon.
        let (name, value) = text.split_once(':')?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return None;
        }
        // RFC 9110 §5.5: neither CR, LF nor NUL, nor other controls.
        let is_content = |c: char| c == '\t' || (c >= ' ' && c != '\u{7f}');
        if !value.chars().all(is_content) {
            return None;
        }
        // Not the RFC's but a gateway's rule: an underscore makes it another field, which is dropped.
        if !name.contains('_') {
            let value = value.trim_matches([' ', '\t']);
            fields.push((name.to_owned(), value.to_owned()));
        }
    }
    None
}

/// The content of a chunked body and what follows it, if it is complete and RFC 9112 §7.1 has it taken.
pub(crate) fn chunked(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    loop {
        let end = bytes.iter().position(|&b| b == b'\n')?;
        let line = bytes[..end].strip_suffix(b"\r")?;
        bytes = &bytes[end + 1..];
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits]).ok()?;
        let size = u64::from_str_radix(size, 16).ok()?;
        extensions(&line[digits..])?;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok()?;
        content.extend_from_slice(bytes.get(..size)?);
        bytes = bytes[size..].strip_prefix(b"\r\n")?;
    }
    let forbidden = [
        "host",
        "content-length",
        "transfer-encoding",
        "trailer",
        "authorization",
        "te",
    ];
    // RFC 9110 §6.5.1: nothing of framing, routing or credentials.
    let trailers = fields_of(bytes)?;
    let is_forbidden = |name: &String| forbidden.contains(&&name.to_ascii_lowercase()[..]);
    if trailers.iter().any(|(name, _)| is_forbidden(name)) {
        return None;
    }
    let end = if bytes.starts_with(b"\r\n") {
        2
    } else {
        bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4
    };
    Some((content, &bytes[end..]))
}

/// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )` (§7.1.1), one octet at a time.
fn extensions(text: &[u8]) -> Option<()> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let is_text = |b: u8| b == b'\t' || (b >= b' ' && b != 0x7f);
    let mut at = 0;
    let peek = |at: usize| text.get(at).copied();
    let blanks = |at: &mut usize| {
        while matches!(peek(*at), Some(b' ' | b'\t')) {
            *at += 1;
        }
    };
    let token = |at: &mut usize| {
        let start = *at;
        while peek(*at).is_some_and(is_token) {
            *at += 1;
        }
        (*at > start).then_some(())
    };
    while at < text.len() {
        blanks(&mut at);
        if peek(at) != Some(b';') {
            return None;
        }
        at += 1;
        blanks(&mut at);
        token(&mut at)?;
        let after_name = at;
        blanks(&mut at);
        if peek(at) != Some(b'=') {
            at = after_name;
            continue;
        }
        at += 1;
        blanks(&mut at);
        if peek(at) != Some(b'"') {
            token(&mut at)?;
            continue;
        }
        at += 1;
        loop {
            match peek(at)? {
                b'"' => break,
                b'\\' => at += 1,
                _ => {}
            }
            if !is_text(peek(at)?) {
                return None;
            }
            at += 1;
        }
        at += 1;
    }
    Some(())
}
