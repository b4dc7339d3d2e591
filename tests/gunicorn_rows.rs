//! Holds `docs/GUNICORN.md` to its word: every row that is due is there, and names the tests that show it.
//!
//! Which rows a test shows stands before it, in a line `// Gunicorn: G1, G3`. A row's last column has the names of
//! these tests, in any order, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The sections done so far, as ranges of row ids.
const DUE: &[(&str, &[(u32, u32)])] = &[
    ("G", &[(1, 68)]),
    ("E", &[(1, 74)]),
    ("P", &[(1, 44)]),
    ("W", &[(1, 26)]),
    (
        "S",
        &[
            (1, 13),
            (19, 24),
            (26, 43),
            (46, 47),
            (51, 65),
            (72, 74),
            (76, 84),
            (108, 110),
        ],
    ),
    ("L", &[(1, 2), (4, 4), (6, 7), (12, 27)]),
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

/// The rows that the tests below a folder show, each with the names of these tests.
fn shown(folder: &Path, out: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            shown(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let source = fs::read_to_string(&path).expect("a source is source");
            for (ids, test) in marks(&source) {
                let test =
                    test.unwrap_or_else(|| panic!("{}: no test after {ids:?}", path.display()));
                for id in ids {
                    out.entry(id).or_default().insert(test.clone());
                }
            }
        }
    }
}

/// Each line of row ids in a source, with the function that follows before any other code.
fn marks(source: &str) -> Vec<(Vec<String>, Option<String>)> {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let marked = lines.iter().enumerate();
    let marked = marked.filter_map(|(at, line)| Some((at, line.strip_prefix("// Gunicorn: ")?)));
    marked
        .map(|(at, ids)| {
            let test = lines[at + 1..].iter().take(8).find_map(|line| {
                let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
                let (name, _) = line.strip_prefix("fn ")?.split_once('(')?;
                Some(name.to_owned())
            });
            (ids.split(", ").map(str::to_owned).collect(), test)
        })
        .collect()
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
fn every_row_names_the_tests_that_show_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut marked = BTreeMap::new();
    shown(&root.join("tests"), &mut marked);
    shown(&root.join("src"), &mut marked);
    let page = page();
    let rows = rows(&page);
    let mut wrong = Vec::new();
    for row in &rows {
        let named: BTreeSet<String> = row.tests.iter().map(|&test| test.to_owned()).collect();
        let marked = marked.remove(row.id).unwrap_or_default();
        let lacks = |names: Vec<&String>, where_| match names[..] {
            [] => None,
            _ => Some(format!("{}, {where_}: {names:?}", row.id)),
        };
        wrong.extend(lacks(marked.difference(&named).collect(), "not named"));
        wrong.extend(lacks(named.difference(&marked).collect(), "not marked"));
        match row.verdict {
            "same" | "better" if named.is_empty() => wrong.push(format!("{}: no test", row.id)),
            "same" | "better" | "not" => {}
            other => panic!("{}: {other:?} is neither same, better nor not", row.id),
        }
    }
    wrong.extend(marked.keys().map(|id| format!("{id}: no such row")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_line_before_a_test_is_read() {
    let text = "// Gunicorn: G1, HUP3\n#[test]\n#[cfg(x)]\nfn one() {}\n    // Gunicorn: E2\n";
    let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        marks(text),
        [
            (ids(&["G1", "HUP3"]), Some("one".to_owned())),
            (ids(&["E2"]), None)
        ]
    );
}
