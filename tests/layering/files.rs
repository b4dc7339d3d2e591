//! How the files of `src/` are cut: their length, their place, and what the crate's root offers.

use crate::tree::{Home, Tree, all_sources, module_of};
use crate::{MANIFEST, owned};

/// The most lines of a file, its unit tests not counted.
const MOST_LINES: usize = 450;

/// The most names at the crate's root, modules not counted.
const MOST_NAMES: usize = 18;

fn too_long(sources: &[(String, String)]) -> Vec<String> {
    let tree = Tree::new(sources, MANIFEST);
    let mut found = Vec::new();
    for (file, text) in sources {
        let module = module_of(file);
        let is_simulator = module.iter().any(|part| part == "simulator");
        if !is_simulator && tree.test_files.iter().any(|test| module.starts_with(test)) {
            continue;
        }
        let tests = tree.test_lines.iter().filter(|(other, ..)| other == file);
        // The attribute's line too.
        let tests: usize = tests.map(|(_, first, last)| last - first + 2).sum();
        let lines = text.lines().count() - tests;
        if lines > MOST_LINES {
            found.push(format!("{file}: {lines}"));
        }
    }
    found
}

#[test]
fn no_file_is_too_long() {
    let found = too_long(&all_sources());
    assert!(
        found.is_empty(),
        "more than {MOST_LINES} lines:\n{}",
        found.join("\n")
    );
}

#[test]
fn tests_do_not_count_as_lines() {
    let code = "fn f() {}\n".repeat(MOST_LINES);
    let tests = "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
    let lib = ("src/lib.rs", "mod a;");
    for (text, expected) in [
        (code.clone() + tests, 0),
        (code + tests + "const C: u8 = 0;\n", 1),
    ] {
        let found = too_long(&owned(&[lib, ("src/a.rs", &text)]));
        assert_eq!(found.len(), expected, "{found:?}");
    }
}

#[test]
fn a_module_with_others_below_it_is_a_file_beside_a_folder() {
    let sources = all_sources();
    let old = sources.iter().filter(|(file, _)| file.ends_with("/mod.rs"));
    let old: Vec<_> = old.map(|(file, _)| file.as_str()).collect();
    assert!(old.is_empty(), "{}", old.join("\n"));
}

#[test]
fn the_root_has_few_names() {
    let tree = Tree::new(&all_sources(), MANIFEST);
    let is_module = |home: &Home, name: &str| matches!(home, Home::Ours(module) if module.last().is_some_and(|last| last == name));
    let exports = tree
        .named
        .iter()
        .filter(|n| n.exported && n.from.is_empty());
    let exports = exports.filter_map(|n| Some((n, n.alias.as_deref()?)));
    let mut names: Vec<_> = exports
        .filter(|(n, alias)| !is_module(&tree.home(&[], &n.path, 0), alias))
        .map(|(_, alias)| alias.to_owned())
        .collect();
    let items = tree.items.iter();
    let items = items.filter(|i| i.module.is_empty() && i.public && i.kind != "mod");
    names.extend(items.map(|item| item.name.clone()));
    assert!(
        !names.iter().any(|name| name == "*"),
        "a glob hides how many there are"
    );
    assert!(
        names.len() <= MOST_NAMES,
        "{} names: {names:?}",
        names.len()
    );
}
