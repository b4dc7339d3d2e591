//! Answers of a control socket as text for people.

use std::fmt::Write as _;
use std::time::Duration;

use crate::json::Json;

/// The answer to this command.
pub(super) fn text(command: &str, answer: &Json) -> String {
    match command {
        "status" => status(answer),
        "config" => config(answer),
        "stacks" => stacks(answer),
        "profile" => answer
            .get("folded")
            .and_then(Json::text)
            .unwrap_or_default()
            .to_owned(),
        _ => {
            let word = |name| answer.get(name).and_then(Json::text).unwrap_or("?");
            format!("{}: {}", word("command"), word("status"))
        }
    }
    .trim_end()
    .to_owned()
}

/// The arbiter on the first lines, and a table of the workers.
pub(super) fn status(answer: &Json) -> String {
    let word = |name: &str| shown(answer.get(name));
    let listeners = answer.get("listeners").map_or(&[][..], Json::list);
    let listeners: Vec<String> = listeners.iter().map(|it| shown(Some(it))).collect();
    let mut text = format!(
        "{} for {}, pid {}, at {}\n{} of {} workers ready, {} connections, {} requests",
        word("state"),
        time(answer.get("uptime")),
        word("pid"),
        listeners.join(", "),
        word("ready"),
        word("target"),
        word("connections"),
        word("requests"),
    );
    if let Some(Json::Object(restarts)) = answer.get("restarts") {
        let restarts = restarts
            .iter()
            .map(|(cause, count)| format!("{count} {cause}"));
        let restarts: Vec<String> = restarts.collect();
        if !restarts.is_empty() {
            // Writing to memory cannot fail.
            let _ = write!(text, "\nworkers replaced: {}", restarts.join(", "));
        }
    }
    let head = ["WORKER", "PID", "STATE", "AGE", "CONN", "REQUESTS", "NOW"];
    let mut rows = vec![head.map(str::to_owned)];
    let workers = answer.get("workers").map_or(&[][..], Json::list);
    for worker in workers {
        let word = |name: &str| shown(worker.get(name));
        let name = match word("group") {
            main if main == "main" => word("id"),
            group => format!("{} {group}", word("id")),
        };
        rows.push([
            name,
            word("pid"),
            word("state"),
            time(worker.get("age")),
            word("connections"),
            word("requests"),
            current(worker),
        ]);
    }
    text.push_str("\n\n");
    table(&mut text, &rows);
    text
}

/// The oldest request of a worker, and how many more there are.
fn current(worker: &Json) -> String {
    let requests = worker.get("current").map_or(&[][..], Json::list);
    let Some(first) = requests.first() else {
        return String::new();
    };
    let word = |name: &str| shown(first.get(name));
    let more = match requests.len() {
        1 => String::new(),
        all => format!(" and {} more", all - 1),
    };
    let (method, path) = (word("method"), word("path"));
    format!("{method} {path} for {}{more}", time(first.get("seconds")))
}

fn config(answer: &Json) -> String {
    let mut text = String::new();
    for setting in answer.get("settings").map_or(&[][..], Json::list) {
        let word = |name: &str| shown(setting.get(name));
        let (name, value, origin) = (word("name"), word("value"), word("origin"));
        // As `--print-config` has it.
        let _ = writeln!(text, "{name} = {value}  ({origin})");
    }
    text
}

fn stacks(answer: &Json) -> String {
    let mut text = String::new();
    for worker in answer.get("workers").map_or(&[][..], Json::list) {
        let word = |name: &str| shown(worker.get(name));
        let stacks = match worker.get("stacks").and_then(Json::text) {
            Some(stacks) => lines(stacks),
            None => "  it shows none\n".to_owned(),
        };
        let _ = write!(
            text,
            "Worker {} (pid {})\n{stacks}\n",
            word("id"),
            word("pid")
        );
    }
    text
}

fn lines(text: &str) -> String {
    let lines = text.lines().map(|line| harmless(line) + "\n");
    lines.collect()
}

/// A text without control codes: what a client sent may be in it, and is to do nothing to a terminal.
fn harmless(text: &str) -> String {
    let characters = text.chars().map(|c| match c {
        c if c.is_control() => c.escape_debug().to_string(),
        c => c.to_string(),
    });
    characters.collect()
}

/// A value as a word.
fn shown(value: Option<&Json>) -> String {
    match value {
        Some(Json::Text(text)) => harmless(text),
        Some(value) => value.to_string(),
        None => "?".to_owned(),
    }
}

/// `850ms`, `12.3s`, `5m 3s`, `2h 4m`, `3d 7h`.
fn time(seconds: Option<&Json>) -> String {
    let time = match seconds {
        Some(Json::Float(seconds)) => Duration::try_from_secs_f64(*seconds).ok(),
        _ => None,
    };
    let Some(time) = time else {
        return "?".to_owned();
    };
    let whole = time.as_secs();
    match whole {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3_600 => format!("{}m {}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h {}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// Adds rows with columns as wide as they need; numbers are not aligned.
fn table<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(line, "{cell:width$}  ", width = width(column).unwrap_or(0));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_table_that_does_nothing_to_a_terminal() {
        let answer = r#"{"state":"serving","pid":7,"uptime":93784.5,"target":2,"ready":1,"connections":3,"requests":12,
            "restarts":{"requests":4},"listeners":["http://127.0.0.1:8000"],"workers":[
            {"id":1,"group":"main","pid":8,"age":63.0,"state":"busy","connections":3,"requests":12,"current":[
                {"method":"GET","path":"/a\u001b[2J","seconds":1.25},{"method":"GET","path":"/b","seconds":0.5}]},
            {"id":2,"group":"jobs","pid":9,"age":0.25,"state":"starting","connections":0,"requests":0,"current":[]}]}"#;
        let text = text("status", &Json::parse(answer).unwrap());
        assert_eq!(
            text,
            "serving for 1d 2h, pid 7, at http://127.0.0.1:8000\n\
             1 of 2 workers ready, 3 connections, 12 requests\n\
             workers replaced: 4 requests\n\n\
             WORKER  PID  STATE     AGE    CONN  REQUESTS  NOW\n\
             1       8    busy      1m 3s  3     12        GET /a\\u{1b}[2J for 1.2s and 1 more\n\
             2 jobs  9    starting  250ms  0     0"
        );
    }

    #[test]
    fn other_answers_are_a_line_or_the_text_itself() {
        let render = |command, answer: &str| text(command, &Json::parse(answer).unwrap());
        assert_eq!(
            render("reload", r#"{"command":"reload","status":"done"}"#),
            "reload: done"
        );
        let answer = r#"{"settings":[{"name":"workers","value":"4","origin":"flag"}]}"#;
        assert_eq!(render("config", answer), "workers = 4  (flag)");
        let answer = r#"{"workers":[{"id":1,"pid":8,"stacks":"Thread 1:\n  File \"a.py\""},{"id":2,"pid":9,"stacks":null}]}"#;
        assert_eq!(
            render("stacks", answer),
            "Worker 1 (pid 8)\nThread 1:\n  File \"a.py\"\n\nWorker 2 (pid 9)\n  it shows none"
        );
    }
}
