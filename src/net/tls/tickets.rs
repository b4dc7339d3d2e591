//! [`Tickets`]: session tickets that every worker of a server can read (RFC 5077, RFC 8446 §4.6.1).
//!
//! The program makes one secret, before it forks. Each period of [`PERIOD`] has a key of its own, which any process
//! derives from the secret and the number of the period: so keys rotate without a message between processes, and a
//! reload keeps them. Another program, as the next one of an upgrade is, has another secret: its clients shake hands in
//! full once.
//!
//! ```text
//!   ticket = period (8 bytes) · nonce (12 bytes) · session, encrypted · tag
//! ```

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(feature = "tls-aws-lc")]
use aws_lc_rs as crypto;
#[cfg(not(feature = "tls-aws-lc"))]
use ring as crypto;

use crypto::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use crypto::hmac::{self, HMAC_SHA256};
use crypto::rand::{SecureRandom, SystemRandom};
use rustls::Error;
use rustls::server::ProducesTickets;

/// How long a key makes tickets. It reads them for as long again, so a ticket lives this long at least.
const PERIOD: Duration = Duration::from_secs(6 * 60 * 60);
const NUMBER: usize = 8;

/// The secret of this program, and of all processes that it forks.
static SECRET: OnceLock<[u8; 32]> = OnceLock::new();

/// Makes and reads tickets.
pub(super) struct Tickets {
    secret: &'static [u8; 32],
    /// The keys that were used last, with the numbers of their periods.
    keys: Mutex<[Option<(u64, LessSafeKey)>; 2]>,
    random: SystemRandom,
}

impl Tickets {
    /// Those of this program. The first call makes the secret.
    ///
    /// # Errors
    ///
    /// Where the system gives no random bytes.
    pub(super) fn of_the_program() -> Result<Self, Error> {
        let mut secret = [0; 32];
        let random = SystemRandom::new();
        random
            .fill(&mut secret)
            .map_err(|_| Error::FailedToGetRandomBytes)?;
        Ok(Self::of(SECRET.get_or_init(|| secret)))
    }

    fn of(secret: &'static [u8; 32]) -> Self {
        Self {
            secret,
            keys: Mutex::default(),
            random: SystemRandom::new(),
        }
    }

    /// Uses the key of a period.
    fn with_key<T>(&self, period: u64, work: impl FnOnce(&LessSafeKey) -> Option<T>) -> Option<T> {
        let keys = &mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut keys[(period % 2) as usize];
        if place.as_ref().is_none_or(|(number, _)| *number != period) {
            let secret = hmac::Key::new(HMAC_SHA256, self.secret);
            let bytes = hmac::sign(&secret, &period.to_be_bytes());
            let key = UnboundKey::new(&AES_256_GCM, bytes.as_ref()).ok()?;
            *place = Some((period, LessSafeKey::new(key)));
        }
        place.as_ref().and_then(|(_, key)| work(key))
    }

    fn encrypt_at(&self, now: Duration, session: &[u8]) -> Option<Vec<u8>> {
        let period = now.as_secs() / PERIOD.as_secs();
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let number = period.to_be_bytes();
        let mut sealed = session.to_vec();
        self.with_key(period, |key| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::from(number), &mut sealed)
                .ok()
        })?;
        Some([&number[..], &nonce, &sealed].concat())
    }

    fn decrypt_at(&self, now: Duration, ticket: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = ticket.split_first_chunk::<NUMBER>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let period = u64::from_be_bytes(*number);
        let current = now.as_secs() / PERIOD.as_secs();
        if period != current && period + 1 != current {
            return None;
        }
        let mut session = sealed.to_vec();
        let len = self.with_key(period, |key| {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key.open_in_place(nonce, Aad::from(*number), &mut session);
            opened.ok().map(|plain| plain.len())
        })?;
        session.truncate(len);
        Some(session)
    }
}

fn now() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(now(), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(now(), cipher)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ONE: [u8; 32] = [1; 32];
    static OTHER: [u8; 32] = [2; 32];

    #[test]
    fn a_ticket_is_read_by_every_process_with_the_secret() {
        let now = PERIOD * 9;
        let ticket = Tickets::of(&ONE).encrypt_at(now, b"session").unwrap();
        let read = |tickets: &Tickets| tickets.decrypt_at(now, &ticket);
        assert_eq!(read(&Tickets::of(&ONE)).as_deref(), Some(&b"session"[..]));
        assert_eq!(read(&Tickets::of(&OTHER)), None);
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(Tickets::of(&ONE).decrypt_at(now, &forged), None, "{at}");
            assert_eq!(Tickets::of(&ONE).decrypt_at(now, &ticket[..at]), None);
        }
    }

    #[test]
    fn keys_rotate_and_a_ticket_outlives_its_period_by_one() {
        let tickets = Tickets::of(&ONE);
        let ticket = tickets.encrypt_at(PERIOD * 9, b"session").unwrap();
        let later = tickets.encrypt_at(PERIOD * 10, b"session").unwrap();
        assert_ne!(ticket[..NUMBER], later[..NUMBER]);
        for (periods, is_read) in [(8, false), (9, true), (10, true), (11, false)] {
            let read = tickets.decrypt_at(PERIOD * periods, &ticket);
            assert_eq!(read.is_some(), is_read, "{periods}");
        }
        assert!(tickets.decrypt_at(PERIOD * 10, &later).is_some());
    }
}
