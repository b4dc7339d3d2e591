//! What a terminal can show: control codes, and colours where the user wants them.

use std::borrow::Cow;
use std::env;
use std::io::IsTerminal;

/// Whether a stream is a terminal that understands control codes (`console_codes(4)`).
pub(crate) fn is_capable(stream: &impl IsTerminal) -> bool {
    let dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    stream.is_terminal() && !dumb
}

/// A text in bold for a stream, where that is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
pub(crate) fn bold<'t>(stream: &impl IsTerminal, text: &'t str) -> Cow<'t, str> {
    styled(stream, "1", text)
}

/// A text in bold red, under the same conditions.
pub(crate) fn red<'t>(stream: &impl IsTerminal, text: &'t str) -> Cow<'t, str> {
    styled(stream, "1;31", text)
}

fn styled<'t>(stream: &impl IsTerminal, style: &str, text: &'t str) -> Cow<'t, str> {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if unwanted || !is_capable(stream) {
        return text.into();
    }
    format!("\x1b[{style}m{text}\x1b[0m").into()
}
