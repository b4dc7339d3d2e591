//! Gunicorn's Python face: configuration files that are Python programs, and the server hooks that they set.
//!
//! A file runs in the process that reads it, which is the arbiter's. What it does to `os.environ`, to `sys.path` and to
//! its own objects stays, and workers inherit it by the fork.
//!
//! ```text
//!   ConfigFile ── run: interpreter, program ──▶ names, each with its line ──▶ SettingsSource
//!                                                    │
//!                              functions of hooks ◀──┘
//!   arbiter, worker: ServerHooks ──▶ │ ◀── App::from_settings: the hooks around requests
//! ```
//!
//! *Invariants*
//!
//! - No file is read unless the program names it.
//! - A file that fails changes no setting.

mod access_logger;
mod config_file;
mod environment;
#[cfg(feature = "cli")]
mod file_signals;
mod functions;
mod generation;
mod hooks;
mod loggers;
mod objects;
mod owner;
mod requests;
mod signals;
mod steps;
mod values;

pub(crate) use access_logger::AccessLogger;
pub use config_file::ConfigFile;
#[cfg(feature = "cli")]
pub(crate) use file_signals::FileSignals;
pub use hooks::ServerHooks;
pub(crate) use requests::of_settings;
