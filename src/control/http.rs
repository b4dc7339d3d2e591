//! The side listener (`status_bind`): probes, metrics and a page for people, answered by a process of its own.
//!
//! ```text
//!   arbiter ── forks, before anything is loaded ──▶ this process: Reactor ──▶ answer
//!      └── writes ──▶ shared memory ── read only ───────▶ Handle ──▶ Snapshot ──┘
//! ```
//!
//! *Invariants*: no request changes anything, here or elsewhere; no connection is accepted while another arbiter answers for the
//! server; a client is under the deadlines of a reactor, and of connections there is a bounded number.

mod history;
mod page;
mod service;
mod state;

use std::cell::Cell;
use std::time::Duration;

use crate::arbiter::{Companion, CompanionContext, Handle};
use crate::error::Result;
use crate::metrics::{Applications, Snapshot};
use crate::net::Listeners;
use crate::reactor::{Admit, Config, Host, Reactor};
use crate::sys::user::Credentials;
use crate::time::MonoTime;
use crate::trace;
use history::History;

/// How many clients may be connected. Another one takes the place of one that is idle or slow.
const CONNECTIONS: usize = 64;
/// How many of them may be connected while a connection is kept for further requests. With more, a client that sends one
/// request after the other would hold its place against those that wait for one.
const KEPT: usize = CONNECTIONS / 2;
/// How soon a process that does not answer for the server looks whether it does now.
const LOOK: Duration = Duration::from_millis(20);

/// The process that answers at these listeners, as this user.
/// It shows what `applications` count themselves as well.
pub(crate) fn companion(
    listeners: Listeners,
    credentials: Option<Credentials>,
    applications: Applications,
) -> Companion {
    Companion {
        role: "status",
        listeners,
        run: Box::new(move |context| {
            if let Some(credentials) = &credentials {
                credentials.assume()?;
            }
            serve(context, &applications)
        }),
    }
}

/// The bounds of its clients: nobody has to send much, and no answer is large.
fn config() -> Config {
    let mut config = Config::default();
    let settings = &mut config.settings;
    settings.worker_connections = CONNECTIONS;
    settings.keepalive = Duration::from_secs(60);
    settings.head_timeout = Duration::from_secs(5);
    settings.body_timeout = Duration::from_secs(5);
    settings.send_timeout = Duration::from_secs(10);
    settings.linger = Duration::from_secs(1);
    settings.linger_limit = Duration::from_secs(2);
    settings.limit_request_body = 4096;
    settings.limit_request_line = 1024;
    settings.limit_request_fields = 64;
    config
}

fn serve(context: &CompanionContext, applications: &Applications) -> Result<()> {
    let mut reactor = Reactor::new(context.listeners(), config())?;
    reactor.watch(context.arbiter())?;
    let host = SideHost {
        handle: context.handle(),
        open: Cell::new(0),
    };
    let mut history = History::default();
    while !context.is_over() {
        let now = MonoTime::now();
        if now >= history.due() {
            history.add(now, &Snapshot::of(context.handle()));
        }
        reactor.poll(&host, Some(history.due().since(now)))?;
        while let Some(mut pending) = reactor.next_request(&host) {
            let answered = pending.answer(&host, |request, reply| {
                service::answer(context.handle(), applications, &history, &request, reply)
            });
            if let Err(error) = answered {
                trace::debug!("a client of the side listener: {error}");
            }
            reactor.give_back(pending, &host);
        }
    }
    Ok(())
}

struct SideHost<'a> {
    handle: &'a Handle,
    /// How many clients are connected.
    open: Cell<usize>,
}

impl Host for SideHost<'_> {
    fn admit(&self, _: MonoTime, _: usize) -> Admit {
        if self.handle.is_speaker() {
            Admit::Accept
        } else {
            Admit::Later(LOOK)
        }
    }

    fn connections(&self, open: usize) {
        self.open.set(open);
    }

    /// What a client asks next is for the arbiter that answers then.
    fn keeps(&self) -> bool {
        self.open.get() <= KEPT && self.handle.is_speaker()
    }
}
