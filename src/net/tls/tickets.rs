//! [`Tickets`]: session tickets that every worker of a server can read (RFC 5077, RFC 8446 §4.6.1).
//!
//! The program makes one secret before it forks, and hands it to the next program of an upgrade. Each period of
//! [`PERIOD`] has a key of its own, which any process derives from the secret: so keys rotate without a message between
//! processes, and clients resume their sessions after a reload and after an upgrade.
//!
//! ```text
//!   secret  = period (8 bytes) · link (32 bytes)
//!             link of a period ── HMAC ──▶ link of the next one, and never back
//!                      └───────── HMAC ──▶ key of the period
//!   ticket  = period (8 bytes) · nonce (12 bytes) · session, encrypted · tag
//! ```
//!
//! A session that is resumed shows no certificate again. So a ticket is read only where clients are asked for the same:
//! it does not count once other authorities are accepted, or a list of revoked certificates has changed.
//!
//! *Invariant*: a process that makes or reads tickets keeps nothing from which a key older than the last period's could
//! be derived.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(feature = "tls-aws-lc")]
use aws_lc_rs as crypto;
#[cfg(not(feature = "tls-aws-lc"))]
use ring as crypto;

use crypto::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use crypto::digest::{self, SHA256};
use crypto::hmac::{self, HMAC_SHA256};
use crypto::rand::{SecureRandom, SystemRandom};
use rustls::Error;
use rustls::server::ProducesTickets;

use crate::net::ticket_secret::{self, OF_THE_PROGRAM, TicketSecret};

/// How long a key makes tickets. It reads them for as long again, so a ticket lives this long at least.
const PERIOD: Duration = Duration::from_secs(6 * 60 * 60);
const NUMBER: usize = 8;
const LINK: usize = 32;

/// What the key of a period is derived from, and those of all later periods.
struct Chain {
    period: u64,
    link: [u8; LINK],
}

impl Chain {
    fn parse(secret: &[u8; ticket_secret::LEN]) -> Self {
        let (mut period, mut link) = ([0; NUMBER], [0; LINK]);
        period.copy_from_slice(&secret[..NUMBER]);
        link.copy_from_slice(&secret[NUMBER..]);
        Self {
            period: u64::from_be_bytes(period),
            link,
        }
    }

    fn secret(&self) -> [u8; ticket_secret::LEN] {
        let mut secret = [0; ticket_secret::LEN];
        secret[..NUMBER].copy_from_slice(&self.period.to_be_bytes());
        secret[NUMBER..].copy_from_slice(&self.link);
        secret
    }

    fn derive(&self, purpose: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(HMAC_SHA256, &self.link), purpose)
    }

    /// Moves on to a period, if it is a later one.
    fn advance_to(&mut self, period: u64) {
        while self.period < period {
            let next = self.derive(b"link");
            self.link.copy_from_slice(next.as_ref());
            self.period += 1;
        }
    }

    fn key(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, self.derive(b"key").as_ref());
        key.ok().map(LessSafeKey::new)
    }
}

/// Makes and reads tickets.
pub(super) struct Tickets {
    secret: &'static TicketSecret,
    /// The keys that were used last, with the numbers of their periods.
    keys: Mutex<[Option<(u64, LessSafeKey)>; 2]>,
    /// A digest of what clients are asked for.
    asked: digest::Digest,
    random: SystemRandom,
}

impl Tickets {
    /// Those of this program, where clients are `asked` for this. The first call makes the secret.
    ///
    /// # Errors
    ///
    /// Where the system gives no random bytes.
    pub(super) fn of_the_program(asked: &[u8]) -> Result<Self, Error> {
        Self::of(&OF_THE_PROGRAM, asked, now())
    }

    fn of(secret: &'static TicketSecret, asked: &[u8], now: Duration) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let mut kept = secret.lock();
        if kept.is_none() {
            let (period, mut link) = (period_of(now), [0; LINK]);
            random
                .fill(&mut link)
                .map_err(|_| Error::FailedToGetRandomBytes)?;
            *kept = Some(Chain { period, link }.secret());
        }
        drop(kept);
        Ok(Self {
            secret,
            keys: Mutex::default(),
            asked: digest::digest(&SHA256, asked),
            random,
        })
    }

    /// The period of a moment. A clock that was set back, behind what the secret has forgotten, does not count.
    fn current(&self, now: Duration) -> Option<u64> {
        let period = period_of(now);
        let mut kept = self.secret.lock();
        let mut chain = Chain::parse(kept.as_ref()?);
        chain.advance_to(period.saturating_sub(1));
        *kept = Some(chain.secret());
        Some(period.max(chain.period))
    }

    /// What a ticket is bound to.
    fn context(&self, number: [u8; NUMBER]) -> Aad<Vec<u8>> {
        Aad::from([&number[..], self.asked.as_ref()].concat())
    }

    /// Uses the key of a period, if it can be derived.
    fn with_key<T>(&self, period: u64, work: impl FnOnce(&LessSafeKey) -> Option<T>) -> Option<T> {
        let keys = &mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut keys[(period % 2) as usize];
        if place.as_ref().is_none_or(|(number, _)| *number != period) {
            let mut chain = Chain::parse(self.secret.lock().as_ref()?);
            chain.advance_to(period);
            if chain.period != period {
                return None;
            }
            *place = Some((period, chain.key()?));
        }
        place.as_ref().and_then(|(_, key)| work(key))
    }

    fn encrypt_at(&self, now: Duration, session: &[u8]) -> Option<Vec<u8>> {
        let period = self.current(now)?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let number = period.to_be_bytes();
        let mut sealed = session.to_vec();
        self.with_key(period, |key| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, self.context(number), &mut sealed)
                .ok()
        })?;
        Some([&number[..], &nonce, &sealed].concat())
    }

    fn decrypt_at(&self, now: Duration, ticket: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = ticket.split_first_chunk::<NUMBER>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let period = u64::from_be_bytes(*number);
        let current = self.current(now)?;
        if period != current && Some(period) != current.checked_sub(1) {
            return None;
        }
        let mut session = sealed.to_vec();
        let len = self.with_key(period, |key| {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key.open_in_place(nonce, self.context(*number), &mut session);
            opened.ok().map(|plain| plain.len())
        })?;
        session.truncate(len);
        Some(session)
    }
}

fn period_of(now: Duration) -> u64 {
    now.as_secs() / PERIOD.as_secs()
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

    /// A process of a program with its own secret, or with that of another one.
    fn process(now: Duration, of: Option<&Tickets>) -> Tickets {
        let secret: &'static TicketSecret = Box::leak(Box::new(TicketSecret::new()));
        *secret.lock() = of.and_then(|of| *of.secret.lock());
        Tickets::of(secret, b"", now).unwrap()
    }

    #[test]
    fn a_ticket_is_read_by_every_process_with_the_secret() {
        let now = PERIOD * 9;
        let one = process(now, None);
        let ticket = one.encrypt_at(now, b"session").unwrap();
        let read = |tickets: &Tickets| tickets.decrypt_at(now, &ticket);
        let (fellow, other) = (process(now, Some(&one)), process(now, None));
        assert_eq!(read(&fellow).as_deref(), Some(&b"session"[..]));
        assert_eq!(read(&other), None);
        for at in 0..ticket.len() {
            for change in [1, 0xff] {
                let mut forged = ticket.clone();
                forged[at] ^= change;
                assert_eq!(fellow.decrypt_at(now, &forged), None, "{at}");
            }
            assert_eq!(fellow.decrypt_at(now, &ticket[..at]), None);
        }
        let asking = Tickets::of(fellow.secret, b"for a certificate", now).unwrap();
        assert_eq!(read(&asking), None);
        let mut last = ticket;
        last[..NUMBER].fill(0xff);
        assert_eq!(fellow.decrypt_at(now, &last), None);
    }

    #[test]
    fn keys_rotate_and_a_ticket_outlives_its_period_by_one() {
        let tickets = process(PERIOD * 8, None);
        let before = process(PERIOD * 8, Some(&tickets));
        let ticket = tickets.encrypt_at(PERIOD * 9, b"session").unwrap();
        for (periods, is_read) in [(8, false), (9, true), (10, true), (11, false)] {
            let beginner = process(PERIOD * 8, Some(&before));
            let read = beginner.decrypt_at(PERIOD * periods, &ticket);
            assert_eq!(read.is_some(), is_read, "{periods}");
        }
        for (periods, is_read) in [(9, true), (10, true), (11, false)] {
            let read = tickets.decrypt_at(PERIOD * periods, &ticket);
            assert_eq!(read.is_some(), is_read, "{periods}");
        }
        let later = tickets.encrypt_at(PERIOD * 11, b"session").unwrap();
        assert_ne!(ticket[..NUMBER], later[..NUMBER]);
        assert!(tickets.decrypt_at(PERIOD * 12, &later).is_some());
    }

    #[test]
    fn what_a_process_keeps_reads_no_older_ticket() {
        let tickets = process(PERIOD * 9, None);
        let old = tickets.encrypt_at(PERIOD * 9, b"session").unwrap();
        tickets.encrypt_at(PERIOD * 11, b"session").unwrap();
        let thief = process(PERIOD * 9, Some(&tickets));
        assert_eq!(thief.decrypt_at(PERIOD * 9, &old), None);
        // Sessions are resumed all the same.
        let ticket = tickets.encrypt_at(PERIOD * 9, b"session").unwrap();
        assert!(thief.decrypt_at(PERIOD * 9, &ticket).is_some());
    }
}
