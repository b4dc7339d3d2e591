//! Numbers, times and sizes as people write them: `0x10`, `1_000`, `2.5`, `30s`, `8k`.

use std::ffi::OsStr;
use std::time::Duration;

use super::{ParseProblem, text};

/// An integer as Python's `int(text, 0)` reads it, in the range of its type.
pub(super) fn integer<N: TryFrom<u64>>(value: &OsStr) -> Result<N, ParseProblem> {
    const EXPECTED: &str = "a whole number";
    let (negative, magnitude) = signed(text(value, EXPECTED)?.trim());
    let number = digits(magnitude).ok_or(ParseProblem::Expected(EXPECTED))?;
    in_range(negative, number)
}

/// A number of bytes: an integer as above, or one with a unit, such as `8k`, `8 kB`, `64KiB` or `1g`. Each unit is 1024
/// times the one before it.
pub(super) fn bytes<N: TryFrom<u64>>(value: &OsStr) -> Result<N, ParseProblem> {
    let expected = ParseProblem::Expected("a number of bytes, such as 8192 or 8k");
    let (negative, magnitude) = signed(text(value, "a number of bytes")?.trim());
    if let Some(number) = digits(magnitude) {
        return in_range(negative, number);
    }
    let (number, unit) = with_unit(magnitude).ok_or(expected)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(expected),
    };
    let number = digits(number).ok_or(expected)?;
    let number = number.checked_mul(1 << shift).ok_or(expected)?;
    in_range(negative, number)
}

/// A time: a number of seconds, or a number with a unit from milliseconds to days, such as `500ms`, `30s`, `5m`, `1h`.
pub(super) fn time(value: &OsStr) -> Result<Duration, ParseProblem> {
    const EXPECTED: &str = "a time in seconds, or one such as 500ms, 30s, 5m, 1h";
    let expected = ParseProblem::Expected(EXPECTED);
    let (negative, magnitude) = signed(text(value, EXPECTED)?.trim());
    let time = match digits(magnitude) {
        Some(whole) => Duration::from_secs(whole),
        None => fraction(magnitude).ok_or(expected)?,
    };
    if negative && !time.is_zero() {
        return Err(ParseProblem::Negative);
    }
    Ok(time)
}

/// A decimal fraction with a unit of time, or of seconds.
fn fraction(text: &str) -> Option<Duration> {
    let (number, unit) = with_unit(text).unwrap_or((text, "s"));
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "ms" => 1e-3,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let decimal = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let number: f64 = Some(number)
        .filter(|text| text.bytes().all(decimal))?
        .parse()
        .ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

fn in_range<N: TryFrom<u64>>(negative: bool, number: u64) -> Result<N, ParseProblem> {
    if negative && number > 0 {
        return Err(ParseProblem::Negative);
    }
    N::try_from(number).map_err(|_| ParseProblem::Expected("a smaller number"))
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// The number and the unit of a text that ends with a unit.
fn with_unit(text: &str) -> Option<(&str, &str)> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[number.len()..];
    (!unit.is_empty()).then(|| (number.trim_end(), unit))
}

/// An unsigned integer of Python's source language: `0x`, `0o` and `0b` in either case, and single
/// underscores between digits (PEP 515). Unlike there, and like its `int()`, leading zeros mean nothing.
fn digits(text: &str) -> Option<u64> {
    let (radix, body) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        _ => (10, text),
    };
    let body = if radix == 10 {
        body
    } else {
        body.strip_prefix('_').unwrap_or(body)
    };
    let mut groups = body.split('_');
    if !groups.all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_alphanumeric())) {
        return None;
    }
    u64::from_str_radix(&body.replace('_', ""), radix).ok()
}
