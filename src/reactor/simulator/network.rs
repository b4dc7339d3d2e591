//! [`Network`]: sockets, queues and readiness without a system, under a clock of its own.
//!
//! Epoll is that of epoll(7), edge-triggered: an edge is told of once, with what holds when it is told. It may be
//! merged with others, come late, or for nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;

use super::backlog::Backlog;
use super::corks::Corks;
use super::dice::Dice;
use super::end::End;
use crate::reactor::acceptor::{Acceptor, Queue};
use crate::reactor::poller::{Edge, Readiness};
use crate::service::Address;
use crate::time::MonoTime;

/// How long a poll takes that does not wait.
pub(super) const POLL: Duration = Duration::from_micros(5);

/// Polls for which an edge may be late.
const LATE: u8 = 3;
/// What a sealed socket gives at once, however much it has.
const PIECE: usize = 32;
/// What a sealed socket takes before it has to be sent on.
const RECORD: usize = 512;

thread_local! {
    /// The network that raw numbers belong to.
    static CURRENT: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// A descriptor, where one is asked for: nothing is done with it.
static NOTHING: LazyLock<File> = LazyLock::new(|| File::open("/dev/null").unwrap());

#[derive(Clone)]
pub(super) struct Network(Arc<Mutex<State>>);

/// All there is of a network.
#[derive(Debug)]
pub(super) struct State {
    pub(super) now: MonoTime,
    /// Until when the clock may run while nothing happens: then a client acts.
    pub(super) horizon: MonoTime,
    pub(super) sockets: Vec<End>,
    pub(super) backlog: VecDeque<usize>,
    /// How often each thing has happened.
    pub(super) counts: BTreeMap<&'static str, u32>,
    pub(super) dice: Dice,
    pub(super) listener_edge: bool,
    /// Sockets with an edge that was not told of.
    edges: Vec<usize>,
    found: Vec<Readiness>,
    pub(super) corks: Corks,
}

impl State {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Something holds of a socket that did not before.
    pub(super) fn happens(&mut self, id: usize) {
        let end = &mut self.sockets[id];
        if end.closed || end.key.is_none() {
            return;
        }
        if end.edge.is_none() {
            end.edge = Some(0);
            self.edges.push(id);
        } else {
            self.count("edges merged");
        }
    }

    fn deliver(&mut self) {
        if self.listener_edge {
            self.listener_edge = false;
            self.found.push(Readiness::Listener(0));
        }
        for id in std::mem::take(&mut self.edges) {
            let late = self.dice.percent(10);
            let end = &mut self.sockets[id];
            let Some(by) = end.edge else { continue };
            if late && by < LATE {
                end.edge = Some(by + 1);
                self.edges.push(id);
                self.count("edge late");
                continue;
            }
            end.edge = None;
            let Some(key) = end.key.filter(|_| !end.closed) else {
                continue;
            };
            let hung_up = end.client_ended || end.reset;
            let readable = end.has_input().then_some(Edge { hung_up });
            if readable.is_some() || end.for_write && end.has_room() {
                self.found.push(Readiness::Connection(key, readable));
            }
        }
        if self.dice.percent(4) && !self.sockets.is_empty() {
            let end = &self.sockets[self.dice.index(self.sockets.len())];
            if let Some(key) = end.key.filter(|_| !end.closed) {
                let edge = Some(Edge { hung_up: false });
                let spurious = if end.for_write { None } else { edge };
                self.found.push(Readiness::Connection(key, spurious));
                self.count("edge spurious");
            }
        }
    }

    /// Lets time pass until something is found, for `most` at the most.
    fn pass(&mut self, most: Duration) {
        self.deliver();
        if self.found.is_empty() && !most.is_zero() {
            let most = if self.edges.is_empty() {
                most
            } else {
                most.min(Duration::from_millis(1))
            };
            let horizon = self.horizon.since(self.now);
            self.now = self.now + most.min(horizon);
            self.deliver();
        } else {
            self.now = self.now + POLL;
        }
    }
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        let network = Self(Arc::new(Mutex::new(State {
            now: MonoTime::ZERO + Duration::from_secs(1_000),
            horizon: MonoTime::ZERO,
            sockets: Vec::new(),
            backlog: VecDeque::new(),
            counts: BTreeMap::new(),
            dice: Dice(seed ^ 0x5eed),
            listener_edge: false,
            edges: Vec::new(),
            found: Vec::new(),
            corks: Corks::default(),
        })));
        CURRENT.set(Some(network.clone()));
        network
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> MonoTime {
        self.state().now
    }

    /// What accepts from the one listener.
    pub(super) fn acceptor(&self) -> Acceptor {
        let queue: Arc<dyn Queue> = Arc::new(Backlog(self.clone()));
        Acceptor::over(vec![(queue, Address::Unix(None))])
    }

    pub(super) fn epoll(&self) -> Epoll {
        Epoll(self.clone())
    }

    /// A client comes.
    pub(super) fn connect(&self, room: usize, sealed: bool) -> usize {
        let mut state = self.state();
        let id = state.sockets.len();
        state.sockets.push(End {
            room,
            sealed,
            ..End::default()
        });
        state.backlog.push_back(id);
        state.listener_edge = true;
        id
    }

    /// A client sends.
    pub(super) fn send(&self, id: usize, bytes: &[u8]) {
        let mut state = self.state();
        state.sockets[id].client_sends(bytes);
        state.happens(id);
    }

    /// A client sends no more.
    pub(super) fn end(&self, id: usize) {
        let mut state = self.state();
        state.sockets[id].client_ends();
        state.happens(id);
    }

    /// A client goes.
    pub(super) fn reset(&self, id: usize) {
        let mut state = self.state();
        let end = &mut state.sockets[id];
        end.reset = true;
        end.arrived.clear();
        state.happens(id);
    }

    /// A client takes what has come for it, `most` bytes at the most.
    pub(super) fn receive(&self, id: usize, most: usize, into: &mut Vec<u8>) {
        let mut state = self.state();
        let end = &mut state.sockets[id];
        let n = most.min(end.sent.len());
        end.read(n, into);
        if n > 0 && end.starved {
            end.starved = false;
            state.happens(id);
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

/// A socket, as the server has it.
#[derive(Debug)]
pub(in crate::reactor) struct Socket {
    network: Network,
    id: usize,
}

impl Socket {
    pub(super) fn new(network: Network, id: usize) -> Self {
        Self { network, id }
    }

    pub(super) fn place(&self) -> (&Network, usize) {
        (&self.network, self.id)
    }

    pub(in crate::reactor) fn receive(&self, block: &mut BytesMut) -> io::Result<usize> {
        let mut state = self.network.state();
        let end = &mut state.sockets[self.id];
        if end.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let room = block.capacity() - block.len();
        if end.sealed && end.opened.is_empty() {
            end.opened = std::mem::take(&mut end.arrived);
        }
        let (from, most) = if end.sealed {
            (&mut end.opened, room.min(PIECE))
        } else {
            (&mut end.arrived, room)
        };
        if from.is_empty() {
            return if end.client_ended {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        let n = most.min(from.len());
        let (first, second) = from.as_slices();
        let head = n.min(first.len());
        block.extend_from_slice(&first[..head]);
        block.extend_from_slice(&second[..n - head]);
        from.drain(..n);
        Ok(n)
    }

    pub(in crate::reactor) fn is_sealed(&self) -> bool {
        self.network.state().sockets[self.id].sealed
    }

    pub(in crate::reactor) fn has_buffered(&self) -> bool {
        let state = self.network.state();
        !state.sockets[self.id].opened.is_empty()
    }

    pub(in crate::reactor) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.network.state();
        let end = &mut state.sockets[self.id];
        if end.reset || end.server_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        end.uncork();
        if end.sealed && !end.flush_record() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for slice in slices {
            let n = if end.sealed {
                let n = slice.len().min(RECORD - end.record.len());
                end.record.extend(&slice[..n]);
                n
            } else {
                end.take(slice)
            };
            taken += n;
            if n < slice.len() {
                break;
            }
        }
        if end.sealed {
            end.flush_record();
        }
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    pub(in crate::reactor) fn flush(&self) -> bool {
        let mut state = self.network.state();
        let end = &mut state.sockets[self.id];
        end.reset || end.flush_record()
    }

    pub(in crate::reactor) fn unsent(&self) -> u64 {
        let state = self.network.state();
        let end = &state.sockets[self.id];
        (end.sent.len() + end.corked.len() + end.record.len()) as u64
    }

    pub(in crate::reactor) fn has_hung_up(&self) -> bool {
        let state = self.network.state();
        let end = &state.sockets[self.id];
        end.client_ended || end.reset
    }

    pub(in crate::reactor) fn shutdown_write(&self) -> io::Result<()> {
        let mut state = self.network.state();
        let end = &mut state.sockets[self.id];
        end.uncork();
        end.server_ended = true;
        if end.reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(())
    }

    pub(in crate::reactor) fn close(&self) {
        let mut state = self.network.state();
        let end = &mut state.sockets[self.id];
        end.uncork();
        end.server_ended = true;
        end.closed = true;
        end.closed_unread = !end.arrived.is_empty() || !end.opened.is_empty();
        end.edge = None;
    }

    /// Raw numbers are negative, below -1.
    pub(in crate::reactor) fn number(&self) -> i32 {
        -2 - i32::try_from(self.id).unwrap()
    }
}

/// What a signal handler would send; `None` where the number is a real descriptor's.
pub(super) fn send_raw(number: i32, bytes: &[u8]) -> Option<bool> {
    let network = CURRENT.with_borrow(Clone::clone).filter(|_| number < -1)?;
    let mut state = network.state();
    let end = &mut state.sockets[id_of(number)];
    let fits = end.sent.len() + bytes.len() <= end.room && !end.reset && !end.sealed;
    if fits {
        end.sent.extend(bytes);
    }
    Some(fits)
}

/// The end that a signal handler would make; `false` where the number is a real descriptor's.
pub(super) fn shut_raw(number: i32, cut: bool) -> bool {
    let network = CURRENT.with_borrow(Clone::clone).filter(|_| number < -1);
    let Some(network) = network else { return false };
    let mut state = network.state();
    let end = &mut state.sockets[id_of(number)];
    end.server_ended = true;
    if cut {
        end.client_ended = true;
        end.arrived.clear();
        state.happens(id_of(number));
    }
    true
}

fn id_of(number: i32) -> usize {
    usize::try_from(-2 - number).unwrap()
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        NOTHING.as_fd()
    }
}

/// What the reactor polls.
#[derive(Debug)]
pub(in crate::reactor) struct Epoll(Network);

impl Epoll {
    pub(super) fn network(&self) -> &Network {
        &self.0
    }

    pub(in crate::reactor) fn register(&self, number: i32, key: usize, for_write: bool) {
        let mut state = self.0.state();
        let id = id_of(number);
        let end = &mut state.sockets[id];
        end.key = Some(key);
        end.for_write = for_write;
        // epoll_ctl(2) tells of what holds already.
        if end.has_input() || for_write && end.has_room() {
            state.happens(id);
        }
    }

    pub(in crate::reactor) fn poll(&self, timeout: Option<Duration>) {
        let mut state = self.0.state();
        state.check_uncorked();
        state.pass(timeout.unwrap_or(Duration::MAX));
    }

    /// Waits beside a call that waits for its own client.
    pub(in crate::reactor) fn wait_until(&self, until: MonoTime) {
        let mut state = self.0.state();
        state.check_uncorked();
        let most = until.since(state.now);
        state.pass(most);
    }

    pub(in crate::reactor) fn take(&self) -> Vec<Readiness> {
        std::mem::take(&mut self.0.state().found)
    }
}
