//! [`Bound`]: the sockets that a server listens on. Some were given to it, and it opened the others.
//!
//! *Invariants*: a socket stays open while another holder has it, and a given socket is always listened on.
//!
//! ```text
//!   given (LISTEN_FDS, the program) ───────────────┬──▶ Listeners
//!   addresses ──▶ beside: is one given? the same   │
//!                 else  : open, or known still ────┘
//! ```

use std::sync::{Arc, Weak};

use crate::config::Settings;
use crate::error::Result;
use crate::net::{BindAddress, BindError, Listener, Listeners, SocketAccess};
use crate::trace;

#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) backlog: u32,
    pub(super) access: SocketAccess,
    pub(super) reuse_port: bool,
}

impl Opening {
    fn open(self, address: &BindAddress) -> std::result::Result<Listener, BindError> {
        if self.reuse_port {
            Listener::reserve(address, self.backlog, self.access)
        } else {
            Listener::bind_for(address, self.backlog, self.access)
        }
    }
}

/// Listeners, with the addresses by which a reload knows them again. Their socket files are removed with it, unless they
/// were handed over.
#[derive(Debug)]
pub(super) struct Bound {
    given: usize,
    handed_over: bool,
    addresses: Vec<BindAddress>,
    /// The given ones, and one for each address.
    listeners: Listeners,
    /// That of the side listener, which no worker has.
    status: Listeners,
}

/// How many connections wait at the side listener at the most. One that finds no room tries again after a second, which is
/// longer than a probe waits.
const STATUS_BACKLOG: u32 = 1024;

impl Bound {
    /// Opens the addresses of the settings beside the given listeners.
    pub(super) fn open(given: &Listeners, settings: &Settings, opening: Opening) -> Result<Self> {
        let addresses = beside(given, settings)?;
        if opening.reuse_port && !given.is_empty() {
            trace::info!("reuse_port has no effect on inherited sockets: they are shared");
        }
        let opened = Listeners::bind_with(&addresses, |address| opening.open(address))
            .map_err(|error| settings.blame(&["bind"], error.into()))?;
        let address = settings.status_bind.as_ref().map(|text| text.parse());
        let status = address
            .transpose()
            .and_then(|address: Option<BindAddress>| {
                Listeners::bind_for(&address, STATUS_BACKLOG, opening.access)
            });
        let status = status.map_err(|error| {
            opened.unlink();
            settings.blame(&["status_bind"], error.into())
        })?;
        Ok(Self {
            status,
            given: given.len(),
            handed_over: false,
            addresses,
            listeners: with_scheme(given.iter().chain(&opened).cloned().collect(), settings),
        })
    }

    pub(super) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// What the side listener's process accepts from; nothing without one.
    pub(super) fn status(&self) -> &Listeners {
        &self.status
    }

    /// Leaves the socket files to the arbiter or worker that has the listeners now. No clone is kept, which would keep
    /// the sockets open.
    pub(super) fn hand_over(mut self) {
        self.handed_over = true;
    }

    /// The same for a reload, which holds none of them open.
    pub(super) fn known(&self) -> Known {
        let mut all = self.listeners.iter().map(Arc::downgrade);
        Known {
            given: all.by_ref().take(self.given).collect(),
            opened: self.addresses.iter().cloned().zip(all).collect(),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if !self.handed_over {
            self.listeners.unlink();
            self.status.unlink();
        }
    }
}

/// Listeners that may be in force still: a socket is its holders', and closed when they have gone.
#[derive(Debug)]
pub(super) struct Known {
    given: Vec<Weak<Listener>>,
    opened: Vec<(BindAddress, Weak<Listener>)>,
}

impl Known {
    /// Those that were given, and the addresses. Where one cannot be had, the new ones are closed again.
    pub(super) fn open(&mut self, settings: &Settings, opening: Opening) -> Result<Listeners> {
        self.opened
            .retain(|(_, listener)| listener.strong_count() > 0);
        let given: Listeners = self.given.iter().filter_map(Weak::upgrade).collect();
        let mut all: Vec<Arc<Listener>> = given.iter().cloned().collect();
        let mut new = Vec::new();
        for address in beside(&given, settings)? {
            let known = self.opened.iter().find(|(known, _)| *known == address);
            let listener = match known.and_then(|(_, listener)| listener.upgrade()) {
                Some(listener) => listener,
                None => match opening.open(&address) {
                    Ok(listener) => {
                        let listener = Arc::new(listener);
                        new.push((address, Arc::clone(&listener)));
                        listener
                    }
                    Err(error) => {
                        let new = new.into_iter().map(|(_, listener)| listener);
                        new.collect::<Listeners>().unlink();
                        return Err(settings.blame(&["bind"], error.into()));
                    }
                },
            };
            all.push(listener);
        }
        let new = new.iter();
        self.opened
            .extend(new.map(|(address, listener)| (address.clone(), Arc::downgrade(listener))));
        Ok(with_scheme(all.into_iter().collect(), settings))
    }
}

/// The same listeners, whose texts say whether clients speak TLS.
fn with_scheme(listeners: Listeners, settings: &Settings) -> Listeners {
    for listener in &listeners {
        listener.set_encrypted(!settings.certfile.is_empty());
    }
    listeners
}

/// The addresses that the settings name.
pub(super) fn addresses(settings: &Settings) -> Result<Vec<BindAddress>> {
    let parsed = settings.bind.iter().map(|text| text.parse());
    parsed
        .collect::<std::result::Result<_, BindError>>()
        .map_err(|error| settings.blame(&["bind"], error.into()))
}

/// The addresses to open beside the sockets that are open: all but those that one of them is at. The default address
/// is opened only if there is no socket.
fn beside(given: &Listeners, settings: &Settings) -> Result<Vec<BindAddress>> {
    let mut addresses = addresses(settings)?;
    if given.is_empty() {
        return Ok(addresses);
    }
    if settings.is_default("bind") {
        let default = settings.bind.join(", ");
        trace::info!(
            "Not opening {default}: it is only the default, and inherited sockets are there"
        );
        return Ok(Vec::new());
    }
    addresses.retain(|address| {
        let same = given.iter().find(|listener| listener.is_at(address));
        if let Some(listener) = same {
            trace::info!("Not opening {address}: {listener} was inherited");
        }
        same.is_none()
    });
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> (Listeners, String) {
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&address, 16).unwrap();
        let at = listener.socket_addr().unwrap().to_string();
        (listener.into(), at)
    }

    fn binding(texts: &[&str]) -> Settings {
        let mut settings = Settings::default();
        settings.bind = texts.iter().map(ToString::to_string).collect();
        settings
    }

    fn shown(given: &Listeners, texts: &[&str]) -> Vec<String> {
        let addresses = beside(given, &binding(texts)).unwrap();
        addresses.iter().map(ToString::to_string).collect()
    }

    // Gunicorn: G61
    #[test]
    fn addresses_are_opened_beside_those_that_are_open() {
        let (given, at) = given();
        assert_eq!(
            shown(&given, &[&at, "unix:/x", ":80"]),
            ["unix:/x", "0.0.0.0:80"]
        );
        assert!(shown(&given, &["127.0.0.1:8000"]).is_empty());
        assert_eq!(
            shown(&Vec::new().into(), &["127.0.0.1:8000"]),
            ["127.0.0.1:8000"]
        );
        assert!(beside(&given, &binding(&["host:x"])).unwrap_err().is_bind());
    }

    #[test]
    fn a_reload_keeps_what_was_given_and_opens_the_rest_once() {
        let (given, _) = given();
        let opening = Opening {
            backlog: 16,
            access: SocketAccess::default(),
            reuse_port: false,
        };
        let bound = Bound::open(&given, &binding(&["127.0.0.1:0"]), opening).unwrap();
        let mut known = bound.known();
        let same = known.open(&binding(&["127.0.0.1:0"]), opening).unwrap();
        assert!(same.without(bound.listeners()).is_empty());
        assert_eq!(same.len(), 2);
        let fewer = known.open(&binding(&[]), opening).unwrap();
        assert_eq!(fewer.len(), 1);
        assert!(fewer.without(&given).is_empty());
    }
}
