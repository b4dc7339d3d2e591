//! One name for one thing: what `src/` defines has no retired name, no public type has the name of another, and a
//! test's name can be read at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::rust::{Token, tokens};
use crate::tree::{Item, Tree, all_sources, files_below, is_test};
use crate::{MANIFEST, owned};

/// Names that definitions had once: types, traits, functions, modules, constants; `Enum::Variant` for a variant,
/// `pub:Name` for a name that no public definition may have.
const RETIRED: &str = include_str!("retired.txt");

/// The most characters of a test's name.
const LONGEST: usize = 60;

fn told(item: &Item) -> String {
    format!("{}:{}: {} {}", item.file, item.line, item.kind, item.name)
}

/// The definitions that have one of these names.
fn retired(sources: &[(String, String)], list: &str) -> Vec<String> {
    let tree = Tree::new(sources, MANIFEST);
    let list: BTreeSet<&str> = list.split_whitespace().collect();
    let items = tree.items.iter();
    let found = items.filter(|item| {
        let public = format!("pub:{}", item.name);
        list.contains(item.name.as_str()) || item.public && list.contains(public.as_str())
    });
    found.map(told).collect()
}

/// The names that several public types or traits have, each with its places.
fn twice(sources: &[(String, String)]) -> Vec<String> {
    const KINDS: [&str; 5] = ["struct", "enum", "union", "trait", "type"];
    let tree = Tree::new(sources, MANIFEST);
    let mut public: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for item in tree.items.iter().filter(|item| item.public) {
        if KINDS.contains(&item.kind.as_str()) && !is_test(&item.module) {
            public.entry(&item.name).or_default().push(told(item));
        }
    }
    let twice = public.into_values().filter(|places| places.len() > 1);
    twice.map(|places| places.join(", ")).collect()
}

/// The tests of a file: functions with the attribute, and those that a `tests![…]` lists for another harness.
fn tests(text: &str) -> Vec<(String, usize)> {
    let tokens = tokens(text);
    let texts = |at: usize, count: usize| -> Vec<&str> {
        let some = tokens.iter().skip(at).take(count);
        some.map(|token| token.text.as_str()).collect()
    };
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if texts(at, 4) == ["#", "[", "test", "]"] {
            let name = tokens[at..].iter().skip_while(|t| t.text != "fn").nth(1);
            found.extend(name.map(|name| (name.text.clone(), name.line)));
        } else if texts(at, 3) == ["tests", "!", "["] {
            let listed = &tokens[at + 3..];
            let names = listed.iter().enumerate().filter(|(index, token)| {
                token.is_name() && listed.get(index + 1).is_some_and(ends_an_entry)
            });
            let names =
                names.take_while(|(index, _)| listed[..*index].iter().all(|t| t.text != ";"));
            found.extend(names.map(|(_, token)| (token.text.clone(), token.line)));
        }
    }
    found
}

fn ends_an_entry(token: &Token) -> bool {
    matches!(&*token.text, "," | "]")
}

#[test]
fn the_root_has_at_most_18_names() {
    let root = include_str!("../../src/lib.rs");
    let exports = root.split("\npub use ").skip(1);
    let names = exports.flat_map(|rest| {
        let (path, _) = rest.split_once(';').unwrap_or((rest, ""));
        let list = path.split_once("::{").map_or(path, |(_, list)| list);
        list.split(',')
            .map(|name| name.trim_matches(|c: char| c.is_whitespace() || c == '}'))
    });
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    assert!(names.len() <= 18, "{names:?}");
    assert!(names.contains(&"Server"), "{names:?}");
}

#[test]
fn nothing_has_a_retired_name() {
    let found = retired(&all_sources(), RETIRED);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_public_type_has_the_name_of_another() {
    let found = twice(&all_sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_names_of_tests_are_short() {
    let mut found = Vec::new();
    for (file, text) in ["src", "tests"].into_iter().flat_map(files_below) {
        let long = tests(&text).into_iter();
        let long = long.filter(|(name, _)| name.len() > LONGEST);
        found.extend(long.map(|(name, line)| format!("{file}:{line}: {name}")));
    }
    assert!(
        found.is_empty(),
        "more than {LONGEST} characters:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_glossary_has_few_words() {
    let page = include_str!("../../docs/GLOSSARY.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    // The head of the table is a row too.
    assert!(rows.count() <= 1 + 15);
}

#[test]
fn definitions_are_found_by_name() {
    let text = "pub(crate) struct Desk; pub const fn ring() {} const BELL: *const u8 = 0; mod post { static A: u8 = 0; }\n\
                // struct Comment;\n pub enum E { Bury(Deep), #[x] Dig { a: u8 }, Rest } fn f(a: fn(u8), b: &'static str) {}";
    let files = owned(&[("src/lib.rs", "mod a;"), ("src/a.rs", text)]);
    let names =
        "pub:ring pub:Desk Desk ring BELL post A E::Bury E::Dig E::Rest Deep Comment a u8 b";
    let found = retired(&files, names);
    let names: Vec<_> = found
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(
        names,
        [
            "a", "Desk", "ring", "BELL", "post", "A", "E::Bury", "E::Dig", "E::Rest"
        ]
    );
}

#[test]
fn a_second_public_type_of_a_name_is_found() {
    let lib = ("src/lib.rs", "pub mod a; pub mod b; pub struct One;");
    let a = (
        "src/a.rs",
        "pub struct Two; pub(crate) struct One; pub fn f() {} mod tests { pub struct Three; }",
    );
    let b = (
        "src/b.rs",
        "pub type Two = u8; pub struct Three; pub fn f() {}",
    );
    let found = twice(&owned(&[lib, a, b]));
    assert_eq!(found, ["src/a.rs:1: struct Two, src/b.rs:1: type Two"]);
}

#[test]
fn tests_of_either_harness_are_found() {
    let text = "#[test]\n#[ignore]\nfn one() {}\nfn two() {}\nconst T: &[Test] = tests![\n#[cfg(x)]\nthree,\nfour];\nfn five() {}";
    let names: Vec<_> = tests(text).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["one", "three", "four"]);
}
