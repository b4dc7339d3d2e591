//! [`Renewed`]: the configuration of sessions, read again where its files have changed.
//!
//! The process that serves looks at its files itself, at a handshake and once a second at the most: as many calls of
//! stat(2) as there are files. A change counts once it has lasted from one look to the next, since a certificate and
//! its key are written one after the other. What cannot be used leaves what was before in use.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::server::ServerConfig;

use super::{TlsError, TlsOptions};
use crate::time::MonoTime;
use crate::trace;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What a file looks like from outside: its inode, its size, and the time of its last change.
type FileLook = Option<(u64, u64, i64, i64)>;

/// A configuration that follows its files.
pub(super) struct Renewed {
    options: TlsOptions,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    looked: MonoTime,
    /// The files when they were read last, and at the last look.
    read: Vec<FileLook>,
    seen: Vec<FileLook>,
}

impl Renewed {
    pub(super) fn new(
        options: &TlsOptions,
        warn: &mut dyn FnMut(String),
    ) -> Result<Self, TlsError> {
        let files = looks_of(options);
        let state = State {
            config: options.load(warn)?,
            looked: MonoTime::now(),
            read: files.clone(),
            seen: files,
        };
        Ok(Self {
            options: options.clone(),
            state: Mutex::new(state),
        })
    }

    /// What is in force now, after a look at the files if one is due.
    pub(super) fn at(&self, now: MonoTime) -> Arc<ServerConfig> {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(state.looked) >= LOOK {
            state.looked = now;
            self.look(state);
        }
        Arc::clone(&state.config)
    }

    fn look(&self, state: &mut State) {
        let files = looks_of(&self.options);
        let is_settled = files == state.seen;
        state.seen.clone_from(&files);
        if !is_settled || files == state.read {
            return;
        }
        state.read = files;
        match self.options.load(&mut |text| trace::warning!("{text}")) {
            Ok(config) => {
                state.config = config;
                trace::info!("The certificates have changed, and were read again");
            }
            Err(error) => trace::error!(
                "the certificates have changed, and cannot be used: {error}. Those from before stay in use"
            ),
        }
    }
}

fn looks_of(options: &TlsOptions) -> Vec<FileLook> {
    let files = options.certificates.iter().chain(&options.keys);
    files
        .chain(&options.authorities)
        .map(|path| look_of(path))
        .collect()
}

fn look_of(path: &Path) -> FileLook {
    let found = path.metadata().ok()?;
    Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn source(name: &str) -> String {
        format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn files_that_change_are_read_once_they_are_settled_and_fit() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["a.pem", "a.key"].map(|name| folder.path().join(name));
        let put = |pair: &str, path: &Path, kind: &str| {
            fs::copy(source(&format!("{pair}.{kind}")), path).unwrap();
        };
        put("server", &certificate, "pem");
        put("server", &key, "key");
        let options = TlsOptions {
            certificates: vec![certificate.clone()],
            keys: vec![key.clone()],
            ..TlsOptions::default()
        };
        let renewed = Renewed::new(&options, &mut |_| ()).unwrap();
        let mut now = MonoTime::now();
        let mut look = || {
            now = now + LOOK;
            renewed.at(now)
        };
        let first = look();
        // The certificate alone does not fit the key, however long that lasts.
        put("rsa", &certificate, "pem");
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&look(), &first));
        }
        put("rsa", &key, "key");
        assert!(Arc::ptr_eq(&look(), &first), "it may be half of a file");
        let second = look();
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(Arc::ptr_eq(&look(), &second));
        // Files that are gone change nothing.
        fs::remove_file(&key).unwrap();
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&look(), &second));
        }
    }
}
