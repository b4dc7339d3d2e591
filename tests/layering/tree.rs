//! The modules of `src/`, and every path that is written in them, followed to the module that defines its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::rust::{Token, tokens};

/// A module's path without `crate`; empty for the root.
pub(crate) type Module = Vec<String>;

/// A path as it was written, and where.
pub(crate) struct Named {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The module that names it, inline modules included.
    pub(crate) from: Module,
    pub(crate) path: Vec<String>,
    /// `pub use`, `pub(crate) use` …
    pub(crate) exported: bool,
    /// The name that a `use` gives it.
    pub(crate) alias: Option<String>,
}

#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) modules: BTreeSet<Module>,
    pub(crate) named: Vec<Named>,
    /// Where there is some: file and line.
    pub(crate) unsafe_code: Vec<(String, usize)>,
    pub(crate) items: Vec<Item>,
    /// What stands under `#[cfg(test)]`: modules with a file of their own, and lines of other files, the first and
    /// the last.
    pub(crate) test_files: Vec<Module>,
    pub(crate) test_lines: Vec<(String, usize, usize)>,
    pub(crate) foreign: BTreeSet<String>,
    pub(crate) dev: BTreeSet<String>,
}

/// What a file defines.
pub(crate) struct Item {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) module: Module,
    /// The word before the name; `variant` for one of an enum, whose name begins with the enum's.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// `pub`, and nothing narrower.
    pub(crate) public: bool,
}

/// Where a path leads.
pub(crate) enum Home {
    Ours(Module),
    Foreign(String),
    Std(String),
    /// A local item, a type's own function, a name of the prelude.
    Local,
    Unknown,
}

impl Tree {
    /// Reads files, each a path from the package's folder and its text, in a package with this manifest.
    pub(crate) fn new(sources: &[(String, String)], manifest: &str) -> Self {
        let mut tree = Self {
            foreign: dependencies(manifest, "dependencies"),
            dev: dependencies(manifest, "dev-dependencies"),
            ..Self::default()
        };
        tree.modules.insert(vec![]);
        tree.modules
            .extend(sources.iter().map(|(file, _)| module_of(file)));
        for (file, text) in sources {
            tree.read(file, text);
        }
        tree
    }

    fn read(&mut self, file: &str, text: &str) {
        let module = module_of(file);
        let tokens = tokens(text);
        // Inline modules, each with the depth of braces at which it ends.
        let (mut inner, mut depth) = (Vec::<(String, usize)>::new(), 0);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let from: Module = module
                .iter()
                .chain(inner.iter().map(|(name, _)| name))
                .cloned()
                .collect();
            self.items.extend(items_at(&tokens, at).into_iter().map(
                |(kind, name, line, public)| Item {
                    file: file.to_owned(),
                    line,
                    module: from.clone(),
                    kind,
                    name,
                    public,
                },
            ));
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if inner.last().is_some_and(|(_, end)| *end == depth) {
                        inner.pop();
                    }
                }
                "mod" if tokens.get(at + 2).is_some_and(|t| t.text == ";") => {
                    if is_for_tests(&tokens[..at]) {
                        let name = tokens[at + 1].text.clone();
                        self.test_files.push([from, vec![name]].concat());
                    }
                    at += 1;
                }
                "mod" if tokens.get(at + 2).is_some_and(|t| t.text == "{") => {
                    if is_for_tests(&tokens[..at]) {
                        let end = closing(&tokens, at + 2);
                        self.test_lines
                            .push((file.to_owned(), token.line, tokens[end].line));
                    }
                    inner.push((tokens[at + 1].text.clone(), depth));
                    self.modules
                        .insert([from, vec![tokens[at + 1].text.clone()]].concat());
                    at += 1;
                }
                "unsafe" | "unsafe_code" => {
                    // The manifest's lint may be repeated anywhere; only `allow` and `expect` lift it.
                    let lifted = at >= 2 && matches!(&*tokens[at - 2].text, "allow" | "expect");
                    if token.text == "unsafe" || lifted {
                        self.unsafe_code.push((file.to_owned(), token.line));
                    }
                }
                // `use<'a>` in a type imports nothing.
                "use" if tokens.get(at + 1).is_none_or(|t| t.text != "<") => {
                    let exported = at > 0 && matches!(&*tokens[at - 1].text, "pub" | ")");
                    let end = at + tokens[at..].iter().take_while(|t| t.text != ";").count();
                    let mut paths = Vec::new();
                    use_tree(&tokens[at + 1..end], &mut Vec::new(), &mut paths);
                    self.named
                        .extend(paths.into_iter().map(|(path, alias)| Named {
                            file: file.to_owned(),
                            line: token.line,
                            from: from.clone(),
                            path,
                            exported,
                            alias: Some(alias),
                        }));
                    at = end;
                }
                _ => {
                    let path = inline_path(&tokens, at);
                    if path.len() > 1 {
                        at += 2 * path.len() - 2;
                        self.named.push(Named {
                            file: file.to_owned(),
                            line: token.line,
                            from,
                            path,
                            exported: false,
                            alias: None,
                        });
                    }
                }
            }
            at += 1;
        }
    }

    /// Follows a path, through aliases and re-exports, to the module that defines its name.
    pub(crate) fn home(&self, from: &[String], path: &[String], hops: usize) -> Home {
        if hops > 16 {
            return Home::Unknown;
        }
        let Some((first, rest)) = path.split_first() else {
            return Home::Ours(from.to_vec());
        };
        match first.as_str() {
            "crate" => self.walk(&[], rest, hops),
            "self" => self.walk(from, rest, hops),
            "super" => match from.split_last() {
                Some((_, parent)) if rest.first().is_some_and(|r| r == "super") => {
                    self.home(parent, rest, hops + 1)
                }
                Some((_, parent)) => self.walk(parent, rest, hops),
                None => Home::Unknown,
            },
            "std" | "core" | "alloc" => Home::Std(rest.first().cloned().unwrap_or_default()),
            name => {
                let alias = self.named.iter().find(|n| {
                    n.from == from && n.alias.as_deref() == Some(name) && n.path[0] != path[0]
                });
                if self.modules.contains(&[from, &path[..1]].concat()) {
                    self.walk(from, path, hops)
                } else if let Some(alias) = alias {
                    self.home(from, &[&alias.path, rest].concat(), hops + 1)
                } else if self.foreign.contains(name) || self.dev.contains(name) {
                    Home::Foreign(name.to_owned())
                } else {
                    Home::Local
                }
            }
        }
    }

    fn walk(&self, from: &[String], path: &[String], hops: usize) -> Home {
        let mut here = from.to_vec();
        for (index, part) in path.iter().enumerate() {
            here.push(part.clone());
            if self.modules.contains(&here) {
                continue;
            }
            here.pop();
            let export = self.named.iter().find(|n| {
                n.exported
                    && n.from == here
                    && n.alias.as_deref() == Some(part)
                    && n.path != [part.clone()]
            });
            return match export {
                Some(export) => {
                    let path = [&export.path, &path[index + 1..]].concat();
                    self.home(&here, &path, hops + 1)
                }
                None if here.is_empty() => Home::Unknown,
                None => Home::Ours(here),
            };
        }
        Home::Ours(here)
    }
}

/// `src/worker/sync.rs` is `worker::sync`, `src/worker/mod.rs` is `worker`, `src/lib.rs` is the root.
pub(crate) fn module_of(file: &str) -> Module {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut path: Module = inner.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] {
        path.pop();
    }
    path
}

/// What a manifest depends on: a line for each, or a table, as Cargo writes it into a package.
pub(crate) fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_within = false;
    for line in manifest.lines() {
        let name = if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            is_within = table == section;
            let name = table.strip_prefix(section);
            name.and_then(|name| name.strip_prefix('.'))
        } else if is_within {
            line.split_once([' ', '=', '.']).map(|(name, _)| name)
        } else {
            None
        };
        found.extend(name.map(|name| name.replace('-', "_")));
    }
    found
}

pub(crate) fn is_test(module: &[String]) -> bool {
    // `crate::testing` is for the tests of others, and no test itself.
    module
        .iter()
        .enumerate()
        .any(|(depth, part)| match part.as_str() {
            "tests" | "simulator" => true,
            "testing" => depth > 0,
            _ => false,
        })
}

pub(crate) fn is_below(module: &[String], ancestor: &str) -> bool {
    let mut module = module.iter();
    ancestor
        .split("::")
        .all(|part| module.next().is_some_and(|m| m == part))
}

/// Whether these tokens, up to a `mod`, end with `#[cfg(test)]` and what may stand between the two.
fn is_for_tests(before: &[Token]) -> bool {
    let start = before
        .iter()
        .rposition(|t| matches!(&*t.text, ";" | "{" | "}"));
    let before = &before[start.map_or(0, |at| at + 1)..];
    before.windows(4).any(|four| {
        let texts = [0, 1, 2, 3].map(|at| four[at].text.as_str());
        texts == ["cfg", "(", "test", ")"]
    })
}

/// Where the brace that is opened there is closed.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len() - 1
}

/// The definition that begins at a token, with the variants of an enum: kind, name, line, whether it is public.
fn items_at(tokens: &[Token], at: usize) -> Vec<(String, String, usize, bool)> {
    const KINDS: [&str; 9] = [
        "struct", "enum", "union", "trait", "type", "fn", "mod", "const", "static",
    ];
    let (kind, Some(name)) = (&tokens[at].text, tokens.get(at + 1)) else {
        return Vec::new();
    };
    // `const fn` is a function, `fn(u8)` a type, `*const T` and `impl const` neither.
    let names_itself = name.is_name() && !["fn", "unsafe", "extern", "mut"].contains(&&*name.text);
    let is_pointer = at > 0 && tokens[at - 1].text == "*";
    if !KINDS.contains(&kind.as_str()) || !names_itself || is_pointer {
        return Vec::new();
    }
    let qualifiers = ["unsafe", "const", "async", "extern", "\"", "mut"];
    let before = tokens[..at]
        .iter()
        .rev()
        .find(|t| !qualifiers.contains(&t.text.as_str()));
    let public = before.is_some_and(|t| t.text == "pub");
    let mut found = vec![(kind.clone(), name.text.clone(), name.line, public)];
    if kind == "enum" {
        let open = at + tokens[at..].iter().take_while(|t| t.text != "{").count();
        let end = closing(tokens, open);
        let mut depth = 0_usize;
        for inner in open..end {
            match tokens[inner].text.as_str() {
                "{" | "(" | "[" | "<" => depth += 1,
                "}" | ")" | "]" | ">" => depth -= 1,
                _ if depth == 1 && tokens[inner].is_name() => {
                    let last = &tokens[inner - 1].text;
                    if ["{", ",", "]"].contains(&last.as_str()) {
                        let name = format!("{}::{}", name.text, tokens[inner].text);
                        found.push(("variant".to_owned(), name, tokens[inner].line, public));
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// `a::{b, c::d as e, self}` as `a::b`, `a::c::d`, `a`, each with the name that it gets.
fn use_tree(tokens: &[Token], prefix: &mut Vec<String>, out: &mut Vec<(Vec<String>, String)>) {
    let start = prefix.len();
    let mut at = 0;
    let mut alias = None;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" | "," => {}
            "{" => {
                let (mut depth, mut from) = (1, at + 1);
                for end in at + 1.. {
                    match tokens.get(end).map(|t| t.text.as_str()) {
                        Some("{") => depth += 1,
                        Some("}") => depth -= 1,
                        Some(_) => {}
                        None => return,
                    }
                    if depth == 0 || depth == 1 && tokens[end].text == "," {
                        if end > from {
                            use_tree(&tokens[from..end], prefix, out);
                        }
                        from = end + 1;
                    }
                    if depth == 0 {
                        break;
                    }
                }
                prefix.truncate(start);
                return;
            }
            "as" => {
                alias = tokens.get(at + 1).map(|t| t.text.clone());
                at += 1;
            }
            "self" if !prefix.is_empty() => {}
            "*" => alias = Some("*".to_owned()),
            name => prefix.push(name.to_owned()),
        }
        at += 1;
    }
    if let Some(last) = prefix.last() {
        out.push((prefix.clone(), alias.unwrap_or_else(|| last.clone())));
    }
    prefix.truncate(start);
}

/// The path that starts at a token, if one does.
fn inline_path(tokens: &[Token], at: usize) -> Vec<String> {
    let starts = at == 0 || tokens[at - 1].text != "::" || at == 1 || !tokens[at - 2].is_name();
    let mut path = Vec::new();
    let mut next = at;
    while starts && tokens.get(next).is_some_and(Token::is_name) {
        path.push(tokens[next].text.clone());
        if tokens.get(next + 1).is_none_or(|t| t.text != "::") {
            break;
        }
        next += 2;
    }
    path
}

fn sources(folder: &Path, name: &str, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let entry = entry.expect("src is readable");
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            sources(&entry.path(), &name, out);
        } else if entry.path().extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(entry.path()).expect("a source is text");
            out.push((name, text));
        }
    }
}

/// All files of `src/`.
pub(crate) fn all_sources() -> Vec<(String, String)> {
    files_below("src")
}

/// The Rust files below a folder of the package, by their path from there.
pub(crate) fn files_below(folder: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    sources(&root.join(folder), folder, &mut all);
    all
}
