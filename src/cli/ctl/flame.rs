//! A profile as a flame graph, drawn by `inferno`.

use std::fs;
use std::path::Path;

use inferno::flamegraph::{Options, from_lines};

use super::FAILED;
use crate::error::Error;
use crate::json::Json;

/// Draws it into a file. What comes of it is a text, as that of `--help` is.
pub(super) fn draw(answer: &Json, file: &Path) -> Error {
    let folded = answer.get("folded").and_then(Json::text);
    let folded = folded.unwrap_or_default();
    if folded.is_empty() {
        return Error::command_line(
            "no stack was there in any sample: the workers were idle",
            FAILED,
        );
    }
    let mut options = Options::default();
    "Python".clone_into(&mut options.title);
    "samples".clone_into(&mut options.count_name);
    let mut image = Vec::new();
    let drawn = from_lines(&mut options, folded.lines(), &mut image);
    let written = drawn
        .map_err(|error| error.to_string())
        .and_then(|()| fs::write(file, image).map_err(|error| error.to_string()));
    let file = file.display();
    match written {
        Ok(()) => Error::command_line(format!("the flame graph is in {file}"), 0),
        Err(error) => Error::command_line(format!("cannot draw {file}: {error}"), FAILED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flame_graph_has_the_names_of_functions() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.svg");
        let answer = Json::object([("folded", "app (a.py:1);hot (a.py:9) 7\n".into())]);
        assert_eq!(draw(&answer, &file).exit_code(), 0);
        let image = fs::read_to_string(&file).unwrap();
        assert!(
            image.contains("<svg") && image.contains("hot (a.py:9)"),
            "{image}"
        );
        assert_eq!(draw(&Json::Null, &file).exit_code(), 1);
        let nowhere = folder.path().join("no/x.svg");
        assert_eq!(draw(&answer, &nowhere).exit_code(), 1);
    }
}
