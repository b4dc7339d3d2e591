//! Paths with `*`, `?` and `[...]` in their names, as a shell expands them (glob(7)), and `**` for any number of folders.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The paths that match. A path without a wildcard is itself, whether it is there or not.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut exact = true;
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !is_wild(&name) {
            for path in &mut found {
                path.push(component);
            }
            continue;
        }
        exact = false;
        found = found
            .iter()
            .flat_map(|folder| inside(folder, &name))
            .collect();
    }
    if !exact {
        // What follows a wildcard may not be there.
        found.retain(|path| path.exists());
    }
    found
}

/// The folder that is above all paths that match.
pub(super) fn folder(pattern: &Path) -> &Path {
    let is_plain = |path: &&Path| !is_wild(&path.to_string_lossy());
    let mut above = pattern.ancestors().skip(1);
    above.find(is_plain).unwrap_or(Path::new(""))
}

fn is_wild(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

fn inside(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let deep = pattern == "**";
    let mut found = Vec::new();
    if deep {
        found.push(folder.to_owned());
    }
    for entry in fs::read_dir(here).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // A wildcard does not match the dot at the beginning of a name (glob(7)).
        let hidden = text.starts_with('.') && !pattern.starts_with('.');
        if hidden {
            continue;
        }
        if deep && is_folder {
            found.extend(inside(&folder.join(&name), pattern));
        } else if !deep {
            let (pattern, text): (Vec<_>, Vec<_>) =
                (pattern.chars().collect(), text.chars().collect());
            if matches(&pattern, &text) {
                found.push(folder.join(&name));
            }
        }
    }
    found
}

/// Whether a name matches a pattern.
fn matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        (['?', rest @ ..], [_, more @ ..]) => matches(rest, more),
        (['[', set @ ..], [first, more @ ..]) => match in_set(set, *first) {
            Some((is_in, rest)) => is_in && matches(rest, more),
            None => *first == '[' && matches(set, more),
        },
        ([one, rest @ ..], [first, more @ ..]) => one == first && matches(rest, more),
        _ => false,
    }
}

/// Whether a set has a character, and what follows the set; `None` where the set has no end.
fn in_set(set: &[char], it: char) -> Option<(bool, &[char])> {
    let (negated, set) = match set {
        ['!' | '^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    // A bracket that comes first is a member.
    let end = 1 + set.iter().skip(1).position(|c| *c == ']')?;
    let (mut members, rest) = (&set[..end], &set[end + 1..]);
    let mut found = false;
    while let [first, after @ ..] = members {
        members = if let ['-', last, after @ ..] = after {
            found |= (*first..=*last).contains(&it);
            after
        } else {
            found |= *first == it;
            after
        };
    }
    Some((found != negated, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.html", "a.html", true),
            ("*.html", "a.htm", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[ab", "[ab", true),
            ("*a*b*", "xaxxbx", true),
            ("*a*b*", "xbxxax", false),
        ] {
            let [one, other] = [pattern, name].map(|text| text.chars().collect::<Vec<_>>());
            assert_eq!(matches(&one, &other), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn wildcards_are_expanded_in_each_part_of_a_path() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        for name in ["a/x.html", "a/deep/y.html", "b/x.txt", "b/.hidden.html"] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), "").unwrap();
        }
        for (pattern, expected) in [
            ("*/*.html", &["a/x.html"][..]),
            ("**/*.html", &["a/deep/y.html", "a/x.html"]),
            ("*/x.txt", &["b/x.txt"]),
            ("not/there.yml", &["not/there.yml"]),
            ("?/.h*", &["b/.hidden.html"]),
        ] {
            let mut found = expand(&root.join(pattern));
            found.sort();
            let expected: Vec<_> = expected.iter().map(|it| root.join(it)).collect();
            assert_eq!(found, expected, "{pattern}");
        }
        assert_eq!(folder(&root.join("a/*/x.html")), root.join("a"));
        assert_eq!(folder(Path::new("*.html")), Path::new(""));
    }
}
