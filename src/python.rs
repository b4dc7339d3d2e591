//! `CPython` embedded in this process: its interpreter, its lock, its threads, its signals and its end.
//!
//! Nothing here knows WSGI: the calls of an application are made above it, in `wsgi`.
//!
//! *Invariants*
//!
//! - No lock of this module is held while Python runs, and nothing takes the interpreter's lock for one of them:
//!   builds of Python without that lock work as well.
//! - The process's signal handlers stay in force, whatever Python is shown in their place.

pub(crate) mod calls;
pub(crate) mod embedded;
pub(crate) mod errors;
pub(crate) mod ffi;
pub(crate) mod finalize;
pub(crate) mod fork;
pub(crate) mod gil;
pub(crate) mod greenlet;
pub(crate) mod gunicorn_names;
pub(crate) mod import_spec;
pub(crate) mod interpreter;
mod introspect;
pub(crate) mod preload;
pub(crate) mod real_file;
pub(crate) mod sampler;
pub(crate) mod signals;
pub(crate) mod stacks;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod threads;
pub(crate) mod turn;
mod venv;
