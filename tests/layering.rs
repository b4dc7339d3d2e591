//! Holds every path in `src/` against the table of layers.
//!
//! Not only `use` lines: inline `crate::…`, `super::…` and foreign paths count, re-exports are followed to
//! the module that defines the name, and a module that the table does not know fails.

#[path = "layering/circles.rs"]
mod circles;
#[path = "layering/documents.rs"]
mod documents;
#[path = "layering/files.rs"]
mod files;
#[path = "layering/names.rs"]
mod names;
#[path = "support/rust.rs"]
mod rust;
#[path = "layering/tree.rs"]
mod tree;

use tree::{Home, Named, Tree, all_sources, dependencies, is_below, is_test, module_of};

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
    layer("time", &[], &["nix"]),
    layer("atomic_enum", &[], &[]),
    layer("error", &[], &[]),
    layer("fork_outcome", &[], &[]),
    layer("json", &[], &[]),
    layer("secret", &[], &[]),
    layer("trace", &["sys"], &["tracing"]),
    layer(
        "h1",
        &[],
        &["bytes", "httparse", "memchr", "itoa", "thiserror"],
    ),
    layer(
        "sys",
        &["atomic_enum", "time", "error", "fork_outcome"],
        &["bytes", "libc", "nix", "tempfile"],
    ),
    layer(
        "ipc",
        &[
            "atomic_enum",
            "time",
            "error",
            "access::refusal_cause",
            "net::queue_policy",
            "sys",
            "trace",
        ],
        &["libc", "nix"],
    ),
    layer(
        "net",
        &["error", "net::ticket_secret", "sys", "trace"],
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
    // Cryptography and files, and no socket.
    layer(
        "net::tls",
        &["net::ticket_secret", "time", "trace"],
        &[
            "aws_lc_rs",
            "memchr",
            "ring",
            "rustls",
            "rustls_pki_types",
            "thiserror",
        ],
    ),
    layer(
        "service",
        &["error", "fork_outcome", "h1::head", "h1::types"],
        &["bytes", "percent_encoding", "serde", "serde_json"],
    ),
    layer("access", &["time", "h1::head", "h1::types", "service"], &[]),
    // It looks at files, and at the clock for their dates.
    layer(
        "service::files",
        &["error", "service", "sys"],
        &["httpdate", "percent_encoding"],
    ),
    layer(
        "testing",
        &["error", "h1", "service"],
        &["bytes", "percent_encoding", "serde", "serde_json"],
    ),
    layer("guide", &[], &[]),
    // Its spans are for a host's subscriber, and no events.
    layer(
        "reactor::request_span",
        &["h1::head", "h1::types", "service", "service::trace_parent"],
        &["tracing"],
    ),
    layer(
        "reactor",
        &[
            "atomic_enum",
            "time",
            "config",
            "error",
            "h1",
            "net",
            "net::forwarded",
            "net::networks",
            "net::proxy",
            "net::queue_policy",
            "net::tls",
            "access",
            "access::refusal_cause",
            "reactor::request_span",
            "service",
            "trace",
        ],
        &[
            "bytes",
            "httpdate",
            "mio",
            "nix",
            "rustls",
            "slab",
            "tempfile",
            "thiserror",
        ],
    ),
    layer(
        "worker",
        &[
            "atomic_enum",
            "time",
            "error",
            "fork_outcome",
            "ipc",
            "net",
            "net::queue_policy",
            "sys",
            "trace",
        ],
        &["nix"],
    ),
    layer(
        "worker::sync",
        &[
            "config",
            "time",
            "error",
            "fork_outcome",
            "h1::head",
            "h1::types",
            "ipc",
            "log",
            "net::queue_policy",
            "access",
            "reactor",
            "service",
            "sys",
            "trace",
            "worker",
            "worker::hosts",
            "worker::service",
        ],
        &[],
    ),
    layer(
        "worker::threaded",
        &[
            "time",
            "error",
            "fork_outcome",
            "h1::head",
            "h1::types",
            "ipc",
            "log",
            "net::queue_policy",
            "access",
            "reactor",
            "service",
            "sys",
            "trace",
            "worker",
            "worker::hosts",
            "worker::service",
        ],
        &["crossbeam_channel"],
    ),
    layer(
        "worker::in_process",
        &["error", "ipc", "net", "service", "worker"],
        &[],
    ),
    layer("worker::accept_delay", &["reactor", "time", "worker"], &[]),
    layer(
        "worker::hosts",
        &[
            "access",
            "h1::head",
            "ipc",
            "log",
            "reactor",
            "time",
            "trace",
            "worker",
            "worker::accept_delay",
        ],
        &[],
    ),
    layer(
        "worker::service",
        &[
            "error", "ipc", "reactor", "service", "sys", "time", "trace", "worker",
        ],
        &[],
    ),
    layer(
        "arbiter",
        &[
            "config",
            "atomic_enum",
            "time",
            "error",
            "fork_outcome",
            "ipc",
            "net",
            "net::queue_policy",
            "sys",
            "trace",
            "worker",
        ],
        &["mio", "nix"],
    ),
    layer(
        "python",
        &["time", "error", "fork_outcome", "service", "sys", "trace"],
        &["libc", "pyo3"],
    ),
    layer(
        "wsgi",
        &[
            "time",
            "error",
            "fork_outcome",
            "h1::head",
            "h1::types",
            "python",
            "service",
            "trace",
        ],
        &["bytes", "itoa", "memchr", "percent_encoding", "pyo3"],
    ),
    layer(
        "log",
        &[
            "time",
            "error",
            "secret",
            "h1::head",
            "h1::types",
            "access",
            "json",
            "service",
            "sys",
            "trace",
        ],
        &["itoa", "memchr", "nix", "tracing", "tracing_subscriber"],
    ),
    // Data of the network, and nothing that opens a socket.
    layer("net::networks", &[], &["ipnet", "thiserror"]),
    layer("net::ticket_secret", &["sys", "trace"], &[]),
    layer("net::queue_policy", &[], &[]),
    layer("access::refusal_cause", &["atomic_enum"], &[]),
    layer("net::proxy", &[], &["thiserror"]),
    layer("net::forwarded", &["net::networks"], &["thiserror"]),
    layer(
        "config",
        &[
            "error",
            "secret",
            "h1",
            "net::forwarded",
            "net::networks",
            "net::proxy",
        ],
        &["serde", "thiserror", "toml"],
    ),
    layer(
        "metrics",
        &[
            "access::refusal_cause",
            "arbiter",
            "ipc",
            "json",
            "time",
            "trace",
        ],
        &["nix"],
    ),
    // What is attached to an arbiter. Of settings it knows how they are shown.
    layer(
        "control",
        &[
            "arbiter", "config", "error", "secret", "ipc", "json", "metrics", "net", "sys", "time",
            "trace",
        ],
        &["nix"],
    ),
    // It answers over a reactor of its own, and reads what the arbiter tells.
    layer(
        "control::http",
        &[
            "arbiter", "config", "control", "error", "ipc", "json", "metrics", "net", "reactor",
            "service", "sys", "time", "trace",
        ],
        &[],
    ),
    // Of the arbiter it knows what it tells, of workers what runs them.
    layer(
        "hooks",
        &[
            "arbiter",
            "error",
            "fork_outcome",
            "h1::head",
            "h1::types",
            "net",
            "service",
            "sys",
            "trace",
            "worker",
        ],
        &[],
    ),
    // Attached to the arbiter, of which it knows the handle alone.
    layer(
        "watch",
        &["arbiter", "config", "error", "time", "trace"],
        &["nix"],
    ),
    // Types of other crates, each behind its feature.
    layer("interop", &[], &[]),
    layer(
        "interop::http",
        &["error", "h1", "service", "testing"],
        &["bytes", "http"],
    ),
    // It has threads that call a service, and nothing of workers' processes.
    layer(
        "interop::tower",
        &[
            "error",
            "h1",
            "interop::http",
            "service",
            "sys",
            "time",
            "trace",
            "worker",
        ],
        &[
            "bytes",
            "crossbeam_channel",
            "http",
            "http_body",
            "tower_service",
        ],
    ),
    // Gunicorn's Python face: it makes settings of what Python says.
    layer(
        "gunicorn",
        &[
            "access", "arbiter", "config", "error", "h1", "h1::head", "hooks", "log", "python",
            "service", "sys", "trace", "worker", "wsgi",
        ],
        &["pyo3"],
    ),
    layer("notify", &["arbiter", "trace"], &["sd_notify"]),
    layer("server", &["*"], &["nix"]),
    layer(
        "cli",
        &["*"],
        &["clap", "clap_complete", "clap_mangen", "inferno"],
    ),
    // The program itself: a user of the crate like any other.
    layer("bin", &[], &["oxicorn"]),
];

/// What unit tests may name wherever they are, besides `[dev-dependencies]`.
const TESTS_OURS: &[&str] = &["testing"];
const TESTS_FOREIGN: &[&str] = &["bytes", "tempfile", "tracing", "tracing_subscriber"];

/// The only places that may hold `unsafe` code.
const UNSAFE: &[&str] = &[
    "sys",
    "python::ffi",
    "python::threads::scoped_task",
    "wsgi::scoped_call",
];

/// Parts of the standard library that a layer must not see.
const NEVER_STD: &[(&str, &[&str])] = &[
    (
        "h1",
        &["fs", "net", "os", "process", "sync", "thread", "time"],
    ),
    ("service", &["process", "thread", "time"]),
];

fn check(sources: &[(String, String)], manifest: &str) -> Vec<String> {
    let tree = Tree::new(sources, manifest);
    let mut wrong: Vec<String> = tree.named.iter().filter_map(|n| judge(&tree, n)).collect();
    for (file, _) in sources {
        let module = module_of(file);
        if !module.is_empty() && layer_of(&module).is_none() {
            wrong.push(format!("{file}: not in the table of layers"));
        }
    }
    for (file, line) in &tree.unsafe_code {
        if !UNSAFE.iter().any(|m| is_below(&module_of(file), m)) {
            wrong.push(format!("{file}:{line}: unsafe code"));
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong
}

fn layer_of(module: &[String]) -> Option<&'static Layer> {
    LAYERS
        .iter()
        .filter(|layer| is_below(module, layer.module))
        .max_by_key(|layer| layer.module.len())
}

fn judge(tree: &Tree, named: &Named) -> Option<String> {
    let wrong = |what: String| Some(format!("{}:{}: {what}", named.file, named.line));
    let written = named.path.join("::");
    let layer = layer_of(&named.from)?;
    match tree.home(&named.from, &named.path, 0) {
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
                && (tree.dev.contains(&name) || TESTS_FOREIGN.contains(&&*name));
            let allowed = layer.foreign.contains(&&*name) || test;
            (!allowed).then(|| wrong(format!("{} must not name the crate {name}", layer.module)))?
        }
        Home::Std(part) => NEVER_STD
            .iter()
            .any(|(module, never)| *module == layer.module && never.contains(&&*part))
            .then(|| wrong(format!("{} must not name std::{part}", layer.module)))?,
        Home::Local => None,
        Home::Unknown => wrong(format!("cannot find where {written} is from")),
    }
}

const MANIFEST: &str = include_str!("../Cargo.toml");

fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
    let files = files.iter();
    files
        .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
        .collect()
}

fn planted(files: &[(&str, &str)]) -> Vec<String> {
    check(&owned(files), MANIFEST)
}

#[test]
fn every_path_in_src_keeps_to_the_layers() {
    let all = all_sources();
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
        "mod error; mod time; pub mod h1; pub use error::{Error, Result}; pub use time::MonoTime;",
    );
    let time = ("src/time.rs", "pub struct MonoTime;");
    let error = ("src/error.rs", "pub struct Error;");
    let service = ("src/service.rs", "");
    let h1 = ("src/h1/mod.rs", "mod head; pub use head::Head;");
    for (file, text, expected) in [
        (
            "src/h1/mod.rs",
            "use crate::time::MonoTime;",
            "h1 must not name crate::time::MonoTime",
        ),
        (
            "src/h1/conn.rs",
            "fn f() -> crate::MonoTime { todo!() }",
            "h1 must not name crate::MonoTime",
        ),
        (
            "src/h1/conn.rs",
            "use super::super::time;",
            "h1 must not name super::super::time",
        ),
        (
            "src/h1/conn.rs",
            "mod a { use super::super::super::time; }",
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
            "src/fork_outcome.rs",
            "use crate as c; fn f(e: c::error::Error) {}",
            "fork_outcome must not name c::error::Error",
        ),
        (
            "src/time.rs",
            "macro_rules! m { () => { $crate::error::f() } }",
            "time must not name",
        ),
        (
            "src/service.rs",
            "fn f(c: crate::h1::Conn) {}",
            "service must not name crate::h1::Conn",
        ),
        (
            "src/time.rs",
            "use crate::Nobody;",
            "cannot find where crate::Nobody is from",
        ),
        ("src/clutter.rs", "", "not in the table of layers"),
    ] {
        let mut files = vec![lib, time, error, service, h1, ("src/h1/head.rs", "")];
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
        "// use crate::time;\n/* crate::time /* crate::x */ crate::time */",
        "const A: &str = \"crate::time\"; const B: &[u8] = br#\"\"crate::time\"#; const C: char = '\"';",
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
fn manifests_are_read_as_written_and_as_packaged() {
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
