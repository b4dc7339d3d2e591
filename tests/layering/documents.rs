//! The links of the documents: each leads somewhere, in the package and in the guide.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The document and all that it links to: labels with their files, and links that name a file in place.
struct Links {
    labels: Vec<(String, String)>,
    used: BTreeSet<String>,
    in_place: Vec<String>,
}

/// Reads a document's links; code between fences is not looked at.
fn links(text: &str) -> Links {
    let (mut labels, mut used, mut in_place) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        if let Some((label, target)) = line.strip_prefix('[').and_then(|l| l.split_once("]: ")) {
            labels.push((label.to_owned(), target.to_owned()));
            continue;
        }
        for rest in line.split("][").skip(1) {
            used.extend(rest.split_once(']').map(|(label, _)| label.to_owned()));
        }
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            if !target.starts_with('#') && !target.starts_with("https://") {
                in_place.push(target.to_owned());
            }
        }
    }
    Links {
        labels,
        used,
        in_place,
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = vec![
        Path::new(ROOT).join("README.md"),
        Path::new(ROOT).join("CHANGELOG.md"),
    ];
    for folder in ["docs", "docs/guide"] {
        let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        found.extend(files.filter(|file| file.extension().is_some_and(|e| e == "md")));
    }
    found
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let guide = fs::read_to_string(Path::new(ROOT).join("src/guide/links.md")).unwrap();
    let guide = links(&guide).labels;
    let mut wrong = Vec::new();
    for file in documents() {
        let links = links(&fs::read_to_string(&file).unwrap());
        let name = file.strip_prefix(ROOT).unwrap().display();
        for target in &links.in_place {
            wrong.push(format!(
                "{name}: ({target}) has no label, so the guide cannot follow it"
            ));
        }
        for label in links
            .used
            .iter()
            .filter(|used| !links.labels.iter().any(|(l, _)| l == *used))
        {
            wrong.push(format!("{name}: [{label}] is defined nowhere"));
        }
        for (label, target) in &links.labels {
            let path = file
                .parent()
                .unwrap()
                .join(target.split('#').next().unwrap());
            if !path.exists() {
                wrong.push(format!(
                    "{name}: [{label}] leads to {target}, which is not there"
                ));
            }
            if !guide.iter().any(|(known, _)| known == label) {
                wrong.push(format!(
                    "{name}: src/guide/links.md does not know [{label}]"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_are_read_as_markdown_has_them() {
    let found = links("See [a][x] and [b](c.md), [d](#e).\n```\n[f](g.md)\n```\n\n[x]: y.md#z\n");
    assert_eq!(found.labels, [("x".to_owned(), "y.md#z".to_owned())]);
    assert_eq!(found.used.into_iter().collect::<Vec<_>>(), ["x"]);
    assert_eq!(found.in_place, ["c.md"]);
}
