//! Holds every path in `src/` against the table of layers.
//!
//! Not only `use` lines: inline `crate::…`, `super::…` and foreign paths count, re-exports are followed to
//! the module that defines the name, and a module that the table does not know fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "support/rust.rs"]
mod rust;

use rust::{Token, tokens};

/// What one module may name. A row covers the modules below it that have no row of their own.
struct Layer {
    module: &'static str,
    /// Modules of ours, by path; what is below them and has a row of its own is not meant.
    ours: &'static [&'static str],
    /// Crates other than `std`. In unit tests those of `[dev-dependencies]` are free.
    foreign: &'static [&'static str],
}

const fn layer(
    module: &'static str,
    ours: &'static [&'static str],
    foreign: &'static [&'static str],
) -> Layer {
    Layer {
        module,
        ours,
        foreign,
    }
}

/// The table of the layers, lowest first.
const LAYERS: &[Layer] = &[
    layer("clock", &[], &["nix"]),
    layer("error", &[], &[]),
    layer("forked", &[], &[]),
    layer("trace", &["sys"], &["tracing"]),
    layer(
        "h1",
        &[],
        &["bytes", "httparse", "memchr", "itoa", "thiserror"],
    ),
    layer(
        "sys",
        &["clock", "error", "forked"],
        &["bytes", "libc", "nix", "tempfile"],
    ),
    layer(
        "net",
        &["error", "sys", "trace"],
        &[
            "bytes",
            "ipnet",
            "libc",
            "mio",
            "nix",
            "socket2",
            "thiserror",
        ],
    ),
    layer("service", &["error", "forked", "h1::head"], &["bytes"]),
    layer(
        "observe",
        &["clock", "error", "h1::head", "service"],
        &["nix"],
    ),
    layer("recorder", &["error", "service"], &[]),
    layer(
        "reactor",
        &[
            "clock",
            "error",
            "h1",
            "net",
            "net::forwarded",
            "net::networks",
            "net::proxy",
            "observe",
            "service",
            "trace",
        ],
        &[
            "bytes",
            "httpdate",
            "mio",
            "nix",
            "slab",
            "tempfile",
            "thiserror",
        ],
    ),
    layer(
        "worker",
        &["clock", "error", "forked", "net", "sys", "trace"],
        &["nix"],
    ),
    layer(
        "worker::sync",
        &[
            "clock",
            "error",
            "forked",
            "h1::head",
            "log",
            "net",
            "observe",
            "reactor",
            "service",
            "sys",
            "trace",
            "worker",
            "worker::serving",
        ],
        &[],
    ),
    layer(
        "worker::threaded",
        &[
            "clock",
            "error",
            "forked",
            "h1::head",
            "log",
            "net",
            "observe",
            "reactor",
            "service",
            "sys",
            "trace",
            "worker",
            "worker::serving",
        ],
        &["crossbeam_channel"],
    ),
    layer(
        "worker::in_process",
        &["error", "net", "service", "sys", "worker"],
        &[],
    ),
    layer(
        "worker::serving",
        &[
            "clock", "error", "h1", "log", "observe", "reactor", "service", "sys", "trace",
            "worker",
        ],
        &[],
    ),
    layer(
        "arbiter",
        &["clock", "error", "forked", "net", "sys", "trace", "worker"],
        &["mio", "nix"],
    ),
    layer(
        "python",
        &["error", "forked", "service", "sys", "trace"],
        &["libc", "pyo3"],
    ),
    layer(
        "wsgi",
        &[
            "clock", "error", "forked", "h1::head", "python", "service", "trace",
        ],
        &["bytes", "itoa", "memchr", "percent_encoding", "pyo3"],
    ),
    layer(
        "log",
        &[
            "clock", "error", "h1::head", "observe", "service", "sys", "trace",
        ],
        &["itoa", "memchr", "nix", "tracing", "tracing_subscriber"],
    ),
    // Data of the network, and nothing that opens a socket.
    layer("net::networks", &[], &["ipnet", "thiserror"]),
    layer("net::proxy", &[], &["thiserror"]),
    layer("net::forwarded", &["net::networks"], &["thiserror"]),
    layer(
        "config",
        &["error", "net::forwarded", "net::networks", "net::proxy"],
        &["thiserror"],
    ),
    // Of the arbiter it knows what it tells, of workers what runs them.
    layer(
        "hooks",
        &[
            "arbiter", "error", "forked", "h1::head", "net", "service", "trace", "worker",
        ],
        &[],
    ),
    layer("notify", &["arbiter", "trace"], &["sd_notify"]),
    layer("server", &["*"], &[]),
    layer("cli", &["*"], &["clap"]),
];

/// What unit tests may name wherever they are, besides `[dev-dependencies]`.
const TESTS_OURS: &[&str] = &["recorder"];
const TESTS_FOREIGN: &[&str] = &["bytes", "tempfile", "tracing", "tracing_subscriber"];

/// The only places that may hold `unsafe` code.
const UNSAFE: &[&str] = &[
    "sys",
    "python::ffi",
    "python::threads::work",
    "wsgi::scoped_call",
    "net::inherit",
];

/// Parts of the standard library that a layer must not see.
const NEVER_STD: &[(&str, &[&str])] = &[
    (
        "h1",
        &["fs", "net", "os", "process", "sync", "thread", "time"],
    ),
    ("service", &["process", "thread", "time"]),
];

/// A module's path without `crate`; empty for the root.
type Module = Vec<String>;

/// A path as it was written, and where.
struct Named {
    file: String,
    line: usize,
    /// The module that names it, inline modules included.
    from: Module,
    path: Vec<String>,
    /// `pub use`, `pub(crate) use` …
    exported: bool,
    /// The name that a `use` gives it.
    alias: Option<String>,
}

#[derive(Default)]
struct Tree {
    modules: BTreeSet<Module>,
    named: Vec<Named>,
    wrong: Vec<String>,
    foreign: BTreeSet<String>,
    dev: BTreeSet<String>,
}

/// Where a path leads.
enum Home {
    Ours(Module),
    Foreign(String),
    Std(String),
    /// A local item, a type's own function, a name of the prelude.
    Local,
    Unknown,
}

fn check(sources: &[(String, String)], manifest: &str) -> Vec<String> {
    let mut tree = Tree {
        foreign: dependencies(manifest, "dependencies"),
        dev: dependencies(manifest, "dev-dependencies"),
        ..Tree::default()
    };
    tree.modules.insert(vec![]);
    tree.modules
        .extend(sources.iter().map(|(file, _)| module_of(file)));
    for (file, text) in sources {
        tree.read(file, text);
    }
    let verdicts: Vec<String> = tree.named.iter().filter_map(|n| tree.judge(n)).collect();
    let mut wrong = tree.wrong;
    wrong.extend(verdicts);
    wrong.sort();
    wrong.dedup();
    wrong
}

/// `src/worker/sync.rs` is `worker::sync`, `src/worker/mod.rs` is `worker`, `src/lib.rs` is the root.
fn module_of(file: &str) -> Module {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut path: Module = inner.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] {
        path.pop();
    }
    path
}

/// What a manifest depends on: a line for each, or a table, as Cargo writes it into a package.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
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

fn is_test(module: &[String]) -> bool {
    module
        .iter()
        .any(|part| part == "tests" || part == "testing")
}

fn layer_of(module: &[String]) -> Option<&'static Layer> {
    LAYERS
        .iter()
        .filter(|layer| is_below(module, layer.module))
        .max_by_key(|layer| layer.module.len())
}

fn is_below(module: &[String], ancestor: &str) -> bool {
    let mut module = module.iter();
    ancestor
        .split("::")
        .all(|part| module.next().is_some_and(|m| m == part))
}

impl Tree {
    fn read(&mut self, file: &str, text: &str) {
        let module = module_of(file);
        if !module.is_empty() && layer_of(&module).is_none() {
            self.wrong
                .push(format!("{file}: not in the table of layers"));
        }
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
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if inner.last().is_some_and(|(_, end)| *end == depth) {
                        inner.pop();
                    }
                }
                "mod" if tokens.get(at + 2).is_some_and(|t| t.text == "{") => {
                    inner.push((tokens[at + 1].text.clone(), depth));
                    self.modules
                        .insert([from, vec![tokens[at + 1].text.clone()]].concat());
                    at += 1;
                }
                "unsafe" | "unsafe_code" if !UNSAFE.iter().any(|m| is_below(&module, m)) => {
                    // The manifest's lint may be repeated anywhere; only `allow` and `expect` lift it.
                    let lifted = at >= 2 && matches!(&*tokens[at - 2].text, "allow" | "expect");
                    if token.text == "unsafe" || lifted {
                        self.wrong
                            .push(format!("{file}:{}: unsafe code", token.line));
                    }
                }
                "use" => {
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

    fn judge(&self, named: &Named) -> Option<String> {
        let wrong = |what: String| Some(format!("{}:{}: {what}", named.file, named.line));
        let written = named.path.join("::");
        let layer = layer_of(&named.from)?;
        match self.home(&named.from, &named.path, 0) {
            Home::Ours(home) => {
                let renamed = named.alias.as_deref().is_some_and(|alias| alias != "*");
                let theirs = match layer_of(&home) {
                    Some(theirs) => theirs,
                    // `use crate as c`: the paths that begin with `c` are followed.
                    None if renamed => return None,
                    None => return wrong(format!("{written} is the crate's root")),
                };
                // A folder's `mod.rs` re-exports names of its own modules.
                let own = named.exported && home.starts_with(&named.from);
                let test = is_test(&named.from) && TESTS_OURS.contains(&theirs.module);
                let allowed = layer.ours.iter().any(|entry| {
                    *entry == "*" || is_below(&home, entry) && theirs.module.len() <= entry.len()
                });
                (theirs.module != layer.module && !own && !allowed && !test)
                    .then(|| wrong(format!("{} must not name {written}", layer.module)))?
            }
            Home::Foreign(name) => {
                let test = is_test(&named.from)
                    && (self.dev.contains(&name) || TESTS_FOREIGN.contains(&&*name));
                let allowed = layer.foreign.contains(&&*name) || test;
                (!allowed)
                    .then(|| wrong(format!("{} must not name the crate {name}", layer.module)))?
            }
            Home::Std(part) => NEVER_STD
                .iter()
                .any(|(module, never)| *module == layer.module && never.contains(&&*part))
                .then(|| wrong(format!("{} must not name std::{part}", layer.module)))?,
            Home::Local => None,
            Home::Unknown => wrong(format!("cannot find where {written} is from")),
        }
    }

    /// Follows a path, through aliases and re-exports, to the module that defines its name.
    fn home(&self, from: &[String], path: &[String], hops: usize) -> Home {
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
        } else {
            let text = fs::read_to_string(entry.path()).expect("a source is text");
            out.push((name, text));
        }
    }
}

const MANIFEST: &str = include_str!("../Cargo.toml");

fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files
        .iter()
        .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
        .collect();
    check(&files, MANIFEST)
}

#[test]
fn every_path_in_src_keeps_to_the_layers() {
    let mut all = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    sources(&root.join("src"), "src", &mut all);
    let wrong = check(&all, MANIFEST);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for layer in LAYERS {
        assert!(
            all.iter()
                .any(|(file, _)| is_below(&module_of(file), layer.module)),
            "the table has a row for {}, which does not exist",
            layer.module
        );
    }
}

#[test]
fn planted_violations_are_found() {
    let lib = (
        "src/lib.rs",
        "mod error; mod clock; pub mod h1; pub use error::{Error, Result}; pub use clock::Tick;",
    );
    let clock = ("src/clock.rs", "pub struct Tick;");
    let error = ("src/error.rs", "pub struct Error;");
    let service = ("src/service.rs", "");
    let h1 = ("src/h1/mod.rs", "mod head; pub use head::Head;");
    for (file, text, expected) in [
        (
            "src/h1/mod.rs",
            "use crate::clock::Tick;",
            "h1 must not name crate::clock::Tick",
        ),
        (
            "src/h1/conn.rs",
            "fn f() -> crate::Tick { todo!() }",
            "h1 must not name crate::Tick",
        ),
        (
            "src/h1/conn.rs",
            "use super::super::clock;",
            "h1 must not name super::super::clock",
        ),
        (
            "src/h1/conn.rs",
            "mod a { use super::super::super::clock; }",
            "h1 must not name",
        ),
        (
            "src/h1/conn.rs",
            "use crate::{error::Error as E, h1};",
            "h1 must not name crate::error::Error",
        ),
        (
            "src/h1/conn.rs",
            "use mio::Poll;",
            "h1 must not name the crate mio",
        ),
        (
            "src/h1/conn.rs",
            "fn f() { ::pyo3::ffi::f() }",
            "h1 must not name the crate pyo3",
        ),
        (
            "src/h1/conn.rs",
            "use proptest::prelude::*;",
            "h1 must not name the crate proptest",
        ),
        (
            "src/h1/conn.rs",
            "use std::{fmt, net::TcpStream};",
            "h1 must not name std::net",
        ),
        ("src/h1/conn.rs", "fn f() { unsafe { g() } }", "unsafe code"),
        ("src/h1/conn.rs", "#![allow(unsafe_code)]", "unsafe code"),
        (
            "src/forked.rs",
            "use crate as c; fn f(e: c::error::Error) {}",
            "forked must not name c::error::Error",
        ),
        (
            "src/clock.rs",
            "macro_rules! m { () => { $crate::error::f() } }",
            "clock must not name",
        ),
        (
            "src/service.rs",
            "fn f(c: crate::h1::Conn) {}",
            "service must not name crate::h1::Conn",
        ),
        (
            "src/clock.rs",
            "use crate::Nobody;",
            "cannot find where crate::Nobody is from",
        ),
        ("src/clutter.rs", "", "not in the table of layers"),
    ] {
        let mut files = vec![lib, clock, error, service, h1, ("src/h1/head.rs", "")];
        files.retain(|(name, _)| *name != file);
        files.push((file, text));
        let wrong = planted(&files);
        assert!(
            matches!(&wrong[..], [one] if one.contains(expected)),
            "{text:?} gave {wrong:?}"
        );
    }
}

#[test]
fn what_only_looks_like_a_violation_passes() {
    let lib = ("src/lib.rs", "pub use error::Error; pub use h1::Head;");
    for text in [
        "// use crate::clock;\n/* crate::clock /* crate::x */ crate::clock */",
        "const A: &str = \"crate::clock\"; const B: &[u8] = br#\"\"crate::clock\"#; const C: char = '\"';",
        "fn f<'a>(x: &'a str) -> char { 'c' }",
        "use bytes::{Bytes, Buf as _}; fn f() -> crate::h1::Head { super::h1::head::g() }",
        "use crate::Error; fn f() { Error::new(); Self::g(); u64::from(1u8); Vec::<u8>::new(); }",
        "use crate::{self as c}; fn f(e: c::Head) {}",
        "mod tests { use super::*; use proptest::prelude::*; fn f() { super::g() } }",
        "fn r#unsafe() {} #![deny(unsafe_code)]",
    ] {
        let wrong = planted(&[
            lib,
            ("src/error.rs", ""),
            ("src/h1/mod.rs", "mod head; pub use head::Head;"),
            ("src/h1/head.rs", ""),
            ("src/service.rs", text),
        ]);
        assert!(wrong.is_empty(), "{text:?} gave {wrong:?}");
    }
}

#[test]
fn manifests_are_read_as_they_are_written_and_as_cargo_packages_them() {
    let written = "[dependencies]\nnix = \"0.31\"\nsd-notify = { version = \"0.5\" }\n\n\
                   [dev-dependencies]\nserde = \"1\"\n";
    let packaged = "[dependencies.nix]\nversion = \"0.31\"\nfeatures = [\n    \"fs\",\n]\n\n\
                    [dependencies.sd-notify]\nversion = \"0.5\"\n\n\
                    [dev-dependencies.serde]\nversion = \"1\"\n";
    for manifest in [written, packaged] {
        let names = |section| Vec::from_iter(dependencies(manifest, section));
        assert_eq!(names("dependencies"), ["nix", "sd_notify"]);
        assert_eq!(names("dev-dependencies"), ["serde"]);
    }
}
