//! [`TicketSecret`]: what the keys of session tickets are derived from, and how it goes from one arbiter to the next.
//!
//! There is no cryptography here: `tls` makes the secret and keys from it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::sealed;
use crate::trace::warning;

/// How many bytes a secret has.
pub(crate) const LEN: usize = 40;

/// The secret of this program and of all processes that it forks.
pub(crate) static OF_THE_PROGRAM: TicketSecret = TicketSecret::new();

/// A secret, once there is one.
pub(crate) struct TicketSecret(Mutex<Option<[u8; LEN]>>);

impl TicketSecret {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The secret, to be read or replaced.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<[u8; LEN]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secret in a file in memory, for the program that this process executes next.
    pub(super) fn hand_over(&self) -> Option<File> {
        let secret = (*self.lock())?;
        sealed::seal(c"oxicorn tickets", &secret)
            .inspect_err(|error| {
                warning!("cannot hand the keys of TLS tickets over: {error}");
            })
            .ok()
    }

    /// From now on it is the secret that [`hand_over`](Self::hand_over) has put into this file, if it is one.
    pub(super) fn take_over(&self, file: OwnedFd) {
        if let Some(secret) = sealed::unseal(file) {
            *self.lock() = Some(secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_handed_over_whole() {
        let (old, new) = (TicketSecret::new(), TicketSecret::new());
        assert!(old.hand_over().is_none());
        *old.lock() = Some([7; LEN]);
        *new.lock() = Some([8; LEN]);
        new.take_over(tempfile::tempfile().unwrap().into());
        assert_eq!(*new.lock(), Some([8; LEN]));
        new.take_over(old.hand_over().unwrap().into());
        assert_eq!(*new.lock(), Some([7; LEN]));
    }
}
