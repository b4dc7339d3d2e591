//! Gunicorn's frames: a length of four bytes, the most significant first, and so many bytes of JSON.
//!
//! ```text
//!   {"id": 1, "command": "worker add", "args": [2]}
//!   {"id": 1, "status": "ok", "data": {..}}        {"id": 1, "status": "error", "error": ".."}
//! ```

use crate::json::Json;

/// The length of the length.
pub(crate) const PREFIX: usize = 4;

/// The longest request, in bytes. Gunicorn takes 16 MiB, and no command needs them.
pub(super) const LONGEST_REQUEST: usize = 64 << 10;

/// The longest response that Gunicorn's client takes, in bytes.
pub(crate) const LONGEST_RESPONSE: usize = 16 << 20;

#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) id: Json,
    /// Those of the command, and the arguments.
    pub(super) words: Vec<String>,
}

/// The length that a prefix says, once there is one.
pub(crate) fn length(input: &[u8]) -> Option<usize> {
    let prefix = input.first_chunk::<PREFIX>()?;
    Some(u32::from_be_bytes(*prefix) as usize)
}

/// A value as a frame.
pub(crate) fn frame(value: &Json) -> Vec<u8> {
    let text = value.to_string();
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Takes the first request out of what has come; `None` where it is not complete.
///
/// # Errors
///
/// What is no request, with the sentence for the client: no other request can be found behind it.
pub(super) fn take_request(input: &mut Vec<u8>) -> Result<Option<Request>, String> {
    let Some(length) = length(input) else {
        return Ok(None);
    };
    if length > LONGEST_REQUEST {
        return Err(format!(
            "a request of {length} bytes is longer than {LONGEST_REQUEST}"
        ));
    }
    if input.len() < PREFIX + length {
        return Ok(None);
    }
    let frame: Vec<u8> = input.drain(..PREFIX + length).collect();
    let text = std::str::from_utf8(&frame[PREFIX..]).ok();
    let value = text.and_then(Json::parse);
    let value = value.ok_or("a request is a frame of JSON, at most 16 levels deep")?;
    let command = value.get("command").and_then(Json::text);
    let command = command.ok_or("a request has a \"command\", which is a text")?;
    let args = value.get("args").into_iter().flat_map(Json::list);
    let args = args.map(|arg| arg.text().map_or_else(|| arg.to_string(), str::to_owned));
    Ok(Some(Request {
        id: value.get("id").cloned().unwrap_or(Json::Null),
        words: command
            .split_whitespace()
            .map(str::to_owned)
            .chain(args)
            .collect(),
    }))
}

/// The frame of an answer.
pub(super) fn response(id: &Json, outcome: Result<Json, String>) -> Vec<u8> {
    let answer = |outcome| {
        let [status, (name, value)] = match outcome {
            Ok(data) => [("status", "ok".into()), ("data", data)],
            Err(error) => [("status", "error".into()), ("error", Json::Text(error))],
        };
        frame(&Json::object([("id", id.clone()), status, (name, value)]))
    };
    let whole = answer(outcome);
    if whole.len() <= PREFIX + LONGEST_RESPONSE {
        return whole;
    }
    answer(Err(format!(
        "the answer is longer than the {LONGEST_RESPONSE} bytes of a frame"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<Option<Request>, String> {
        let length = u32::try_from(text.len()).unwrap();
        take_request(&mut [&length.to_be_bytes(), text.as_bytes()].concat())
    }

    #[test]
    fn a_request_is_taken_once_it_is_complete() {
        let request = Json::object([
            ("id", 7.into()),
            ("command", "worker add".into()),
            ("args", Json::List(vec![2.into(), "x y".into()])),
        ]);
        let both = [frame(&request), frame(&request)].concat();
        let mut input = Vec::new();
        for byte in &both[..both.len() / 2] {
            assert_eq!(take_request(&mut input), Ok(None));
            input.push(*byte);
        }
        input.push(0);
        let first = take_request(&mut input).unwrap().unwrap();
        assert_eq!(first.words, ["worker", "add", "2", "x y"]);
        assert_eq!(first.id, 7.into());
        assert_eq!(input, [0]);
    }

    #[test]
    fn what_is_no_request_is_refused_before_it_is_there() {
        for text in ["", "[]", "{\"command\":1}", "{", "\u{e9}"] {
            assert!(taken(text).is_err(), "{text}");
        }
        assert!(take_request(&mut vec![0, 1, 0, 1]).is_err());
        assert!(take_request(&mut b"GET / HTTP/1.1".to_vec()).is_err());
        assert_eq!(
            taken("{\"command\":\" \"}").unwrap().unwrap().words,
            [""; 0]
        );
    }

    #[test]
    fn an_answer_that_is_too_long_says_so() {
        let text = "x".repeat(LONGEST_RESPONSE);
        let answer = response(&1.into(), Ok(Json::Text(text)));
        let answer = std::str::from_utf8(&answer[PREFIX..]).unwrap();
        assert!(answer.contains("\"status\":\"error\""), "{answer}");
    }
}
