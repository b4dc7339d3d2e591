//! Rust source as tokens: just enough to find paths and names in it.
//!
//! Comments and the contents of literals never become tokens.

/// A name, a number, `::`, or one other character; a literal is `"`.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is_name(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Cuts a source into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (len, text) = next(rest, first);
        if let Some(text) = text {
            out.push(Token { text, line });
        }
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    out
}

/// The length of what comes first, and its token if it is one.
fn next(rest: &str, first: char) -> (usize, Option<String>) {
    let literal = |len| (len, Some("\"".to_owned()));
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (comment(rest), None);
    }
    if rest.starts_with("::") {
        return (2, Some("::".to_owned()));
    }
    if first == '"' {
        return literal(string(rest));
    }
    if first == '\'' {
        return match char_literal(rest) {
            Some(len) => literal(len),
            // A lifetime: its name is not a name.
            None => (1 + word(&rest[1..]), None),
        };
    }
    if first.is_alphanumeric() || first == '_' {
        let len = word(rest);
        let (prefix, after) = rest.split_at(len);
        let hashes = after.bytes().take_while(|b| *b == b'#').count();
        let quoted = after[hashes..].starts_with('"');
        return match prefix {
            "r" | "br" | "cr" if quoted => literal(len + raw_string(after, hashes)),
            "b" | "c" if quoted && hashes == 0 => literal(len + string(after)),
            "b" if after.starts_with('\'') => literal(len + char_literal(after).unwrap_or(1)),
            "r" if hashes == 1 => {
                let name = word(&after[1..]);
                (len + 1 + name, Some(format!("r#{}", &after[1..=name])))
            }
            _ => (len, Some(prefix.to_owned())),
        };
    }
    let token = (!first.is_whitespace()).then(|| first.to_string());
    (first.len_utf8(), token)
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len())
}

/// Block comments nest.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

fn raw_string(rest: &str, hashes: usize) -> usize {
    let end = format!("\"{}", "#".repeat(hashes));
    rest[hashes + 1..]
        .find(&end)
        .map_or(rest.len(), |at| hashes + 1 + at + end.len())
}

/// `'a'` and `'\''`, but not `'a`.
fn char_literal(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next();
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars
        .next()
        .filter(|(_, c)| *c == '\'')
        .map(|(at, _)| at + 1)
}
