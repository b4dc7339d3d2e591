//! The guide: the project's documents, a page each.
//!
//! Start with [`getting_started`]. These pages are the files of `docs/`, so they can be read beside the source, too; their
//! examples are compiled with the tests.

/// A page from a file. The links of `links.md` come first, and so take the place of the file's own, which lead to files.
macro_rules! pages {
    ($($name:ident: $file:literal)*) => {$(
        #[doc = include_str!("guide/links.md")]
        #[doc = include_str!($file)]
        pub mod $name {}
    )*};
}

pages! {
    overview: "../README.md"
    getting_started: "../docs/guide/getting-started.md"
    embedding_python: "../docs/PYTHON.md"
    threads_and_forks: "../docs/guide/threads-and-forks.md"
    hybrids: "../docs/guide/hybrids.md"
    middleware: "../docs/guide/middleware.md"
    testing: "../docs/guide/testing.md"
    branded_servers: "../docs/guide/branded-servers.md"
    protocol: "../docs/guide/protocol.md"
    performance: "../docs/PERFORMANCE.md"
    settings: "../docs/SETTINGS.md"
    metrics: "../docs/METRICS.md"
    signals: "../docs/SIGNALS.md"
    control: "../docs/CONTROL.md"
    deploying: "../docs/DEPLOY.md"
    upgrading: "../docs/guide/upgrading.md"
    migrating: "../docs/MIGRATING.md"
    gunicorn: "../docs/GUNICORN.md"
    compare: "../docs/COMPARE.md"
    architecture: "../docs/ARCHITECTURE.md"
    design: "../docs/DESIGN.md"
    glossary: "../docs/GLOSSARY.md"
    changelog: "../CHANGELOG.md"
}

/// Units for systemd: `oxicorn.service`, and `oxicorn.socket` for sockets that systemd holds.
///
/// ```ini
#[doc = include_str!("../examples/systemd/oxicorn.service")]
/// ```
///
/// ```ini
#[doc = include_str!("../examples/systemd/oxicorn.socket")]
/// ```
pub mod systemd_units {}
