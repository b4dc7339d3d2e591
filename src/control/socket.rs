//! [`ControlSocket`]: the listening socket and its clients, as an attachment of the arbiter.
//!
//! *Invariants*: there are never more than [`MOST`] connections, and a newcomer always gets one; of two arbiters only the
//! one that has no other before it accepts.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::commands;
use super::connection::{Connection, Outcome};
use super::record::Control;
use crate::arbiter::{Attachment, Handle};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::ipc::profile::ProfileChannel;
use crate::net::{BindAddress, Listener, Listeners, SocketAccess};
use crate::sys::poll_set::PollSet;
use crate::time::MonoTime;
use crate::trace::{info, warning};

/// The most connections. The one that was heard of the longest ago makes room for a newcomer.
const MOST: usize = 32;
/// The most of them that may wait for a command to end.
const MOST_WAITING: usize = 16;
/// How many connections are accepted between two turns of supervision.
const TURN: usize = 16;
/// The length of the queue before them.
const BACKLOG: u32 = 64;
/// How soon to look again at a command that is waited for, and at a client that takes in nothing.
const SOON: Duration = Duration::from_millis(25);
/// The same for the end of the arbiter before this one, and for an accept that failed.
const LATER: Duration = Duration::from_millis(250);

pub(crate) struct ControlSocket {
    listeners: Listeners,
    control: Control,
    poll: PollSet,
    clients: Vec<Client>,
    accepts: bool,
    next: Option<MonoTime>,
    is_arbiters: bool,
}

struct Client {
    connection: Connection,
    /// Whether what it sends wakes the arbiter.
    is_watched: bool,
}

/// Opens the control socket, if the settings have one.
///
/// # Errors
///
/// Those of any Unix socket's path, with the origin of the setting.
pub(crate) fn open(settings: &Settings) -> Result<Option<(ControlSocket, Control)>> {
    let Some(path) = settings.control_path() else {
        return Ok(None);
    };
    let access = SocketAccess {
        mode: settings.control_socket_mode,
        owner: None,
    };
    let address = BindAddress::Unix(path.to_owned());
    let listener = Listener::bind_for(&address, BACKLOG, access)
        .map_err(|error| settings.blame(&["control_socket"], error.into()))?;
    info!("Control socket: {}", path.display());
    let control = Control::new(settings.clone(), ProfileChannel::new()?);
    let socket = ControlSocket {
        listeners: listener.into(),
        control: control.clone(),
        poll: PollSet::new()?,
        clients: Vec::new(),
        accepts: false,
        next: Some(MonoTime::now()),
        is_arbiters: true,
    };
    Ok(Some((socket, control)))
}

impl ControlSocket {
    /// Accepts, unless the arbiter before this one still does.
    fn accept(&mut self, handle: &Handle, now: MonoTime) {
        let Some(listener) = self.listeners.get(0) else {
            return;
        };
        if !self.accepts {
            if handle.totals().is_none() || self.poll.watch(listener).is_err() {
                self.look_by(now + LATER);
                return;
            }
            self.accepts = true;
        }
        for _ in 0..TURN {
            match listener.accept() {
                Ok((stream, _)) => {
                    if self.clients.len() >= MOST {
                        let all = self.clients.iter().enumerate();
                        let idle = all.filter(|(_, it)| !it.connection.is_waiting());
                        let oldest = idle.min_by_key(|(_, it)| it.connection.heard);
                        if let Some((index, _)) = oldest {
                            self.clients.swap_remove(index).close(&self.poll);
                        }
                    }
                    self.clients.push(Client {
                        connection: Connection::new(stream, now),
                        is_watched: false,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // It stays readable, and would keep the arbiter busy.
                    warning!("cannot accept at the control socket: {error}");
                    self.poll.forget(listener);
                    self.accepts = false;
                    self.look_by(now + LATER);
                    return;
                }
            }
        }
    }

    fn look_by(&mut self, when: MonoTime) {
        self.next = self.next.into_iter().chain([when]).min();
    }

    fn advance(&mut self, handle: &Handle, now: MonoTime) {
        let mut waiting = self
            .clients
            .iter()
            .filter(|it| it.connection.is_waiting())
            .count();
        let record = &self.control;
        let mut clients = Vec::with_capacity(self.clients.len());
        for mut client in self.clients.drain(..) {
            let waited = client.connection.is_waiting();
            let outcome = client.connection.advance(now, |who, words| {
                let may_wait = waiting < MOST_WAITING;
                commands::run(who, words, handle, &record.0.borrow(), may_wait)
            });
            waiting += usize::from(client.connection.is_waiting());
            waiting -= usize::from(waited);
            let watch = outcome == Outcome::Reads;
            let watched = match (watch, client.is_watched) {
                _ if outcome == Outcome::Closes => Err(Error::disconnected()),
                (true, false) => self.poll.watch(&client.connection),
                (false, true) => {
                    self.poll.forget(&client.connection);
                    Ok(())
                }
                _ => Ok(()),
            };
            if watched.is_err() {
                client.close(&self.poll);
                continue;
            }
            client.is_watched = watch;
            clients.push(client);
        }
        self.clients = clients;
        let deadlines = self.clients.iter().filter_map(|it| {
            if it.is_watched {
                it.connection.deadline()
            } else {
                Some(now + SOON)
            }
        });
        if let Some(first) = deadlines.min() {
            self.look_by(first);
        }
    }
}

impl Client {
    fn close(self, poll: &PollSet) {
        if self.is_watched {
            poll.forget(&self.connection);
        }
        self.connection.close();
    }
}

impl Attachment for ControlSocket {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.poll.as_fd())
    }

    fn deadline(&self) -> Option<MonoTime> {
        self.next
    }

    fn ready(&mut self, handle: &Handle) {
        let now = MonoTime::now();
        self.next = None;
        self.accept(handle, now);
        self.advance(handle, now);
        // What is due again at once would be taken for a fault.
        self.next = self.next.map(|next| next.max(MonoTime::now() + SOON));
    }

    fn in_child(&mut self) {
        self.is_arbiters = false;
    }

    fn handed_over(&self) -> Listeners {
        self.listeners.clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if !self.is_arbiters {
            return;
        }
        for client in self.clients.drain(..) {
            client.close(&self.poll);
        }
        if let Some(shares) = self.control.0.borrow().shares {
            self.listeners.iter().for_each(|it| it.set_shared(shares));
        }
        self.listeners.unlink();
    }
}
