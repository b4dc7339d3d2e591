//! Holds `docs/GUNICORN.md` to its word: every row that is due is there, and every test that it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "support/rust.rs"]
#[expect(
    dead_code,
    reason = "where a token stands is for the guard of the layers"
)]
mod rust;

/// The sections done so far, as ranges of row ids.
const DUE: &[(&str, &[(u32, u32)])] = &[
    ("G", &[(1, 68)]),
    ("E", &[(1, 24), (28, 38), (44, 67)]),
    ("P", &[(1, 44)]),
    ("W", &[(1, 26)]),
    (
        "S",
        &[
            (6, 7),
            (9, 12),
            (28, 28),
            (30, 30),
            (32, 39),
            (65, 65),
            (76, 77),
        ],
    ),
    ("HUP", &[(1, 10)]),
    ("H", &[(1, 15)]),
    ("B", &[(2, 3), (6, 7), (11, 11), (14, 15)]),
];

struct Row<'a> {
    id: &'a str,
    verdict: &'a str,
    tests: Vec<&'a str>,
}

/// The rows `| id | verdict | text | tests |`.
fn rows(page: &str) -> Vec<Row<'_>> {
    page.lines()
        .filter_map(|line| {
            let cells: Vec<_> = line
                .strip_prefix('|')?
                .strip_suffix('|')?
                .split('|')
                .map(str::trim)
                .collect();
            let [id, verdict, _, tests] = cells[..] else {
                return None;
            };
            id.ends_with(|c: char| c.is_ascii_digit()).then(|| Row {
                id,
                verdict,
                tests: tests.split('`').skip(1).step_by(2).collect(),
            })
        })
        .collect()
}

/// The names of all functions below a folder.
fn functions(folder: &Path, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            functions(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let tokens = rust::tokens(&fs::read_to_string(&path).expect("a source is text"));
            let pairs = tokens.windows(2).filter(|pair| pair[0].text == "fn");
            out.extend(pairs.map(|pair| pair[1].text.clone()));
        }
    }
}

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("docs/GUNICORN.md")).expect("the page is there")
}

#[test]
fn every_row_that_is_due_is_there_once() {
    let page = page();
    let rows = rows(&page);
    let ids: BTreeSet<_> = rows.iter().map(|row| row.id.to_owned()).collect();
    assert_eq!(ids.len(), rows.len(), "an id is there twice");
    for (section, ranges) in DUE {
        for id in ranges.iter().flat_map(|(first, last)| *first..=*last) {
            let id = format!("{section}{id}");
            assert!(ids.contains(&id), "no row {id}");
        }
    }
}

#[test]
fn every_test_that_a_row_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    functions(&root.join("tests"), &mut known);
    functions(&root.join("src"), &mut known);
    for row in rows(&page()) {
        for test in &row.tests {
            assert!(known.contains(*test), "{}: no test {test}", row.id);
        }
        match row.verdict {
            "same" | "better" => assert!(!row.tests.is_empty(), "{}: shown by no test", row.id),
            "not" => {}
            other => panic!("{}: {other:?} is neither same, better nor not", row.id),
        }
    }
}
