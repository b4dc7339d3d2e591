//! No two files of `src/` import each other, directly or through others.
//!
//! A module and those below it are one at this: a child may name what its parent defines, and the other way round.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Home, Module, Tree, all_sources, is_test, module_of};
use crate::{MANIFEST, owned};

/// The files that each file imports from.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

fn imports(sources: &[(String, String)]) -> Imports {
    let tree = Tree::new(sources, MANIFEST);
    let files: BTreeSet<Module> = sources.iter().map(|(file, _)| module_of(file)).collect();
    let file_of = |module: &[String]| {
        let lengths = (0..=module.len()).rev();
        lengths
            .map(|length| module[..length].to_vec())
            .find(|module| files.contains(module))
            .unwrap_or_default()
    };
    let mut imports = Imports::new();
    for named in tree.named.iter().filter(|named| !is_test(&named.from)) {
        let Home::Ours(home) = tree.home(&named.from, &named.path, 0) else {
            continue;
        };
        let (from, to) = (file_of(&named.from), file_of(&home));
        if !is_test(&to) && !from.starts_with(&to) && !to.starts_with(&from) {
            imports.entry(from).or_default().insert(to);
        }
    }
    imports
}

/// All that a file imports, and what those import, and so on.
fn reached<'a>(imports: &'a Imports, from: &'a Module) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        next.extend(
            imports
                .get(file)
                .into_iter()
                .flatten()
                .filter(|to| reached.insert(*to)),
        );
    }
    reached
}

/// Every import that is part of a circle.
fn circles(sources: &[(String, String)]) -> Vec<String> {
    let imports = imports(sources);
    let all: BTreeMap<_, _> = imports
        .keys()
        .map(|file| (file, reached(&imports, file)))
        .collect();
    let mut found = Vec::new();
    for (from, direct) in &imports {
        for to in direct {
            if all.get(to).is_some_and(|reached| reached.contains(from)) {
                found.push(format!("{} -> {}", from.join("::"), to.join("::")));
            }
        }
    }
    found
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = circles(&all_sources());
    assert!(
        found.is_empty(),
        "these close a circle:\n{}",
        found.join("\n")
    );
}

#[test]
fn planted_circles_are_found() {
    let lib = ("src/lib.rs", "mod h1; mod net;");
    let folder = ("src/net.rs", "mod a; mod b; mod c; pub use b::B;");
    for (a, b, c, expected) in [
        ("use super::b::B;", "pub struct B;", "", 0),
        ("use super::B;", "use super::a::f;", "", 2),
        (
            "use super::b::B;",
            "use crate::net::c::g;",
            "fn g() { super::a::f() }",
            3,
        ),
        (
            "use super::b::B;",
            "mod tests { use super::super::a::f; }",
            "",
            0,
        ),
        ("use super::b::B;", "use crate::net::outer;", "", 0),
    ] {
        let files = [
            lib,
            folder,
            ("src/net/a.rs", a),
            ("src/net/b.rs", b),
            ("src/net/c.rs", c),
        ];
        let found = circles(&owned(&files));
        assert_eq!(found.len(), expected, "{a:?} {b:?} {c:?} gave {found:?}");
    }
}
