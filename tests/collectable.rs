//! Every Python class of ours that can be part of a cycle lets Python's collector see it and break it.
//!
//! A class can be part of one if it holds objects whose types are not its own to choose. That is read from the
//! source, through all types that a class is made of, so that a new class cannot be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What a folder's sources define.
#[derive(Default)]
struct Sources {
    /// The words of each struct's and enum's body, by file and name.
    types: BTreeMap<(String, String), Vec<String>>,
    /// Those that are Python classes.
    classes: BTreeSet<(String, String)>,
    /// The names of the functions in `impl` blocks, by file and type.
    functions: BTreeMap<(String, String), BTreeSet<String>>,
    /// The module that a file has a name from.
    imports: BTreeMap<(String, String), String>,
    /// How many times the attribute of a Python class was met, however it was written.
    attributes: usize,
}

impl Sources {
    fn add(&mut self, file: &str, text: &str) {
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
        let code: Vec<&str> = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or(""))
            .collect();
        let code = code.join("\n");
        self.attributes += code.matches("pyclass(").count() + code.matches("pyclass]").count();
        let words = words(&code);
        let mut is_class = false;
        for (at, word) in words.iter().enumerate() {
            match word.as_str() {
                "pyclass" => is_class = true,
                "struct" | "enum" => {
                    let key = (file.to_owned(), words[at + 1].clone());
                    self.types
                        .insert(key.clone(), block(&words[at + 2..], &["{", "("]));
                    if std::mem::take(&mut is_class) {
                        self.classes.insert(key);
                    }
                }
                "use" => {
                    for (name, module) in imported(&words[at + 1..]) {
                        self.imports.insert((file.to_owned(), name), module);
                    }
                }
                "impl" => {
                    let end = words[at..].iter().position(|word| word == "{");
                    let head = &words[at..at + end.unwrap_or(0)];
                    // Of a trait for a type, the type; else what follows `impl`.
                    let name = head
                        .iter()
                        .rposition(|word| word == "for")
                        .map_or(head.get(1), |at| head.get(at + 1));
                    let body = block(&words[at..], &["{"]);
                    let functions = body.windows(2).filter(|pair| pair[0] == "fn");
                    let functions = functions.map(|pair| pair[1].clone());
                    let key = (file.to_owned(), name.cloned().unwrap_or_default());
                    self.functions.entry(key).or_default().extend(functions);
                }
                _ => {}
            }
        }
    }

    /// Whether a type holds an object that may hold any other.
    fn leads_anywhere(&self, file: &str, name: &str, seen: &mut BTreeSet<String>) -> bool {
        let Some(body) = self.types.get(&(file.to_owned(), name.to_owned())) else {
            return false;
        };
        let word = |at: usize| body.get(at).map_or("", String::as_str);
        (0..body.len()).any(|at| {
            let is_object = matches!(word(at), "Py" | "Bound") && word(at + 1) == "<";
            let held = if is_object { at + 2 } else { at };
            let module = (held > 2 && word(held - 1) == ":").then(|| word(held - 3));
            match self.home(file, module, word(held)) {
                Some(home) => {
                    let held = word(held);
                    seen.insert(format!("{home} {held}")) && self.leads_anywhere(home, held, seen)
                }
                // Python's own types hold what they like.
                None => is_object,
            }
        })
    }

    /// The file that defines what another calls `name`: itself, or the module that it has the name from.
    fn home(&self, file: &str, module: Option<&str>, name: &str) -> Option<&str> {
        let imported = self.imports.get(&(file.to_owned(), name.to_owned()));
        let module = module.or(imported.map(String::as_str));
        let known = self.types.keys().filter(|(_, known)| known == name);
        let mut paths = known.map(|(path, _)| path.as_str());
        paths.find(|path| match module {
            Some(module) => stem(path) == module,
            None => *path == file,
        })
    }

    /// The classes that can be part of a cycle, and whether they can be collected then.
    fn holders(&self) -> BTreeMap<&str, bool> {
        let leads = |(file, name): &&(String, String)| {
            self.leads_anywhere(file, name, &mut BTreeSet::new())
        };
        let holders = self.classes.iter().filter(leads);
        let collected = holders.map(|key| {
            let has = |function: &str| {
                let functions = self.functions.get(key);
                functions.is_some_and(|all| all.contains(function))
            };
            (key.1.as_str(), has("__traverse__") && has("__clear__"))
        });
        collected.collect()
    }
}

/// The identifiers and the signs of a source text.
fn words(code: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut joined = false;
    for c in code.chars() {
        let is_word = c.is_alphanumeric() || c == '_';
        match words.last_mut() {
            Some(word) if joined && is_word => word.push(c),
            _ if !c.is_whitespace() => words.push(c.to_string()),
            _ => {}
        }
        joined = is_word;
    }
    words
}

/// The names of a `use`, up to its semicolon, each with the last module of its path.
fn imported(words: &[String]) -> Vec<(String, String)> {
    let mut names = Vec::new();
    let mut path = Vec::new();
    let mut outer = Vec::new();
    for word in words.iter().take_while(|word| *word != ";") {
        match word.as_str() {
            ":" => {}
            "{" => outer.push(path.clone()),
            "}" => {
                outer.pop();
            }
            "," => path = outer.last().cloned().unwrap_or_default(),
            name => {
                if let Some(module) = path.last() {
                    names.push((name.to_owned(), String::clone(module)));
                }
                path.push(name.to_owned());
            }
        }
    }
    names
}

fn stem(path: &str) -> &str {
    let stem = Path::new(path).file_stem();
    stem.and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// What lies between the first of these opening signs and the one that closes it; nothing where a semicolon
/// comes before.
fn block(words: &[String], opening: &[&str]) -> Vec<String> {
    let is = |word: &String, signs: &[&str]| signs.contains(&word.as_str());
    let start = words
        .iter()
        .position(|word| is(word, opening) || word == ";");
    let mut depth = 0_usize;
    let mut body = Vec::new();
    for word in &words[start.unwrap_or(words.len())..] {
        if is(word, &["{", "("]) {
            depth += 1;
        } else if is(word, &["}", ")"]) {
            depth -= 1;
        }
        if depth == 0 {
            break;
        }
        body.push(word.clone());
    }
    body
}

/// The sources of a folder and its folders, by path.
fn read(folder: &Path) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources.extend(read(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            sources.push((path.to_string_lossy().into_owned(), text));
        }
    }
    sources
}

/// The sources of the layers that know Python.
fn python() -> Sources {
    let mut sources = Sources::default();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(src).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let files = read(&folder);
        if files.iter().any(|(_, text)| text.contains("pyo3")) {
            for (path, text) in &files {
                sources.add(path, text);
            }
        }
    }
    sources
}

#[test]
fn every_class_that_holds_objects_visits_and_clears_them() {
    let sources = python();
    assert_eq!(
        sources.classes.len(),
        sources.attributes,
        "a class is written oddly"
    );
    let holders = sources.holders();
    assert!(holders.contains_key("FileWrapper"), "{holders:?}");
    let forgotten: Vec<_> = holders
        .iter()
        .filter(|(_, collected)| !**collected)
        .collect();
    assert!(
        forgotten.is_empty(),
        "neither visited nor cleared: {forgotten:?}"
    );
}

#[test]
fn what_a_class_holds_is_found_however_deep_it_lies() {
    let mut sources = Sources::default();
    sources.add(
        "a",
        "
#[pyclass]
struct Plain { number: u8 }
#[pyclass(frozen)]
pub(super) struct Deep(Mutex<Inner>);
enum Inner { Empty, Full(Vec<Source>) }
struct Source { object: Option<Py<PyAny>> }
#[pyclass(frozen)]
struct OfOurs { plain: Py<Plain> }
#[pyclass]
struct OfAHolder { deep: Py<Deep> }
#[pyclass]
struct Right { list: Py<PyList> }
use super::{b::Slot, c::Other};
#[pyclass]
struct Lends { slot: Slot, kind: Kind }
enum Kind { Other, More }
#[pyclass]
struct Qualified { slot: super::d::Slot }

impl Right {
    fn __traverse__(&self) {}
    fn __clear__(&self) {}
}
",
    );
    sources.add("b.rs", "struct Slot { place: usize }");
    sources.add(
        "d.rs",
        "struct Slot { value: Py<PyAny> } struct More(Slot);",
    );
    assert_eq!(sources.classes.len(), sources.attributes);
    let expected = [
        ("Deep", false),
        ("OfAHolder", false),
        ("Qualified", false),
        ("Right", true),
    ];
    assert_eq!(sources.holders(), BTreeMap::from(expected));
}
