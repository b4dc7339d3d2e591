//! What the workers are doing, in memory that they share with their arbiter: one [`Slot`] for each.
//!
//! There is no lock, so that a worker which dies at any instruction leaves nothing locked. Nothing here waits, wakes a
//! process, or is kept on a disk.
//!
//! The mapping is anonymous and made before the first fork, so every worker inherits it. Each worker writes its own slot
//! ([`OwnSlot`]) and reads the others'; the arbiter assigns slots, and clears that of a dead worker.
//!
//! A worker has a place for each request that it may answer at once, so that a hang can name them all.
//!
//! *Invariants*: a slot is written by one process, beside the arbiter that assigns and clears it; a slot whose worker has
//! died reads as [`WorkerState::Empty`].

mod call;

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::atomic_enum::{AtomicEnum, numbered};
use crate::error::{Error, Result};
use crate::ipc::exemplars::{Exemplar, ExemplarTable, Exemplars};
use crate::ipc::listening::ListenerTable;
use crate::ipc::totals::{Counters, Totals};
use crate::net::QueuePolicy;
use crate::sys::mapping::{Mapping, Region, shared};
use crate::time::MonoTime;

pub use call::Call;
use call::CallCell;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// There is no worker in this slot.
    Empty,
    /// It was forked and is not ready yet.
    Starting,
    /// It waits for work.
    Ready,
    /// It is in a call of its service, and can take nothing else meanwhile.
    Busy,
    /// It accepts nothing any more and finishes what it has.
    Draining,
}

numbered!(WorkerState: Empty, Starting, Ready, Busy, Draining);
numbered!(QueuePolicy: Keep, Drain, DrainAndClose);

shared! {
    /// One worker's memory: all zero where there is none.
    struct Cell {
        id: AtomicU64,
        pid: AtomicI32,
        /// The group's number, from 0 on.
        group: AtomicU32,
        generation: AtomicU64,
        state: AtomicEnum<WorkerState>,
        started: AtomicU64,
        heard: AtomicU64,
        requests: AtomicU64,
        connections: AtomicU32,
        running: AtomicU32,
        /// How many it may answer at once.
        places: AtomicU32,
    }

    struct Header {
        /// One more than the highest index that was ever assigned: readers need not look further.
        used: AtomicU32,
        /// What a worker that leaves does with the listeners' queues.
        queue_policy: AtomicEnum<QueuePolicy>,
        /// 1 while another arbiter reports the totals.
        following: AtomicU32,
    }
}

/// The slots of all workers, in memory that they share with their arbiter.
pub struct Scoreboard {
    header: Region<Header>,
    slots: Region<Cell>,
    /// Those of all workers, one after the other.
    calls: Region<CallCell>,
    /// Places for calls that each worker has.
    calls_each: usize,
    listening: ListenerTable,
    exemplars: ExemplarTable,
    counters: Counters,
}

impl Scoreboard {
    /// Maps the memory for that many workers, each with that many calls at once; at least one of both. What they do is
    /// added up in `counters`.
    pub(crate) fn new(slots: usize, calls: usize, counters: Counters) -> Result<Self> {
        let (slots, calls_each) = (slots.max(1), calls.max(1));
        let too_many = || {
            Error::config(format!(
                "{slots} workers of {calls_each} threads are too many"
            ))
        };
        let calls_at = slots
            .checked_mul(size_of::<Cell>())
            .and_then(|cells| cells.checked_add(size_of::<Header>()))
            .ok_or_else(too_many)?;
        let calls = slots.checked_mul(calls_each).ok_or_else(too_many)?;
        let length = calls
            .checked_mul(size_of::<CallCell>())
            .and_then(|calls| calls.checked_add(calls_at))
            .and_then(NonZeroUsize::new)
            .ok_or_else(too_many)?;
        let memory = Mapping::anonymous(length)?;
        Ok(Self {
            header: memory.region(0, 1),
            slots: memory.region(size_of::<Header>(), slots),
            calls: memory.region(calls_at, calls),
            calls_each,
            listening: ListenerTable::new()?,
            exemplars: ExemplarTable::new(slots)?,
            counters,
        })
    }

    /// The slots that have a worker now.
    pub fn workers(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..self.used().len())
            .map(|index| self.slot(index))
            .filter(|slot| slot.state() != WorkerState::Empty)
    }

    /// What all workers of the server have done since its start, with those that have ended and those of the arbiters
    /// before. `None` while the arbiter before this one runs: it reports the totals of both.
    #[must_use]
    pub fn totals(&self) -> Option<Totals> {
        let following = self.header().following.load(Ordering::Acquire) != 0;
        (!following).then(|| self.counters.read())
    }

    /// Whether another arbiter reports the totals.
    pub(crate) fn set_following(&self, following: bool) {
        let number = u32::from(following);
        self.header().following.store(number, Ordering::Release);
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// For each bucket of the durations the newest request that a living worker has an example of.
    pub(crate) fn exemplars(&self) -> impl Iterator<Item = Option<Exemplar>> {
        self.exemplars.newest(self.used().len()).into_iter()
    }

    /// The sockets that the server listens on.
    pub(crate) fn listening(&self) -> &ListenerTable {
        &self.listening
    }

    /// The slot at `index`, below the number of slots.
    pub(crate) fn slot(&self, index: usize) -> Slot<'_> {
        Slot {
            cell: &self.slots[index],
            calls: &self.calls[index * self.calls_each..][..self.calls_each],
            exemplars: self.exemplars.of(index),
        }
    }

    /// The slot at `index`, for the worker that has it.
    pub(crate) fn own_slot(&self, index: usize) -> OwnSlot<'_> {
        OwnSlot(self.slot(index))
    }

    /// From now on this process only reads all of it, and the totals.
    pub(crate) fn read_only(&self) -> Result<()> {
        self.slots.read_only()?;
        self.listening.read_only()?;
        self.exemplars.read_only()?;
        self.counters.read_only()
    }

    /// Gives the slot at `index` to a worker of a group that is about to be forked, and answers up to `calls` requests
    /// at once: of more than there are places for, some are not shown.
    pub(crate) fn assign(&self, index: usize, id: u64, group: usize, calls: usize, now: MonoTime) {
        let slot = self.own_slot(index);
        slot.clear();
        slot.cell.id.store(id, Ordering::Relaxed);
        slot.cell.group.store(group as u32, Ordering::Relaxed);
        slot.cell.started.store(now.as_nanos(), Ordering::Relaxed);
        let places = calls.min(self.calls_each) as u32;
        slot.cell.places.store(places, Ordering::Relaxed);
        slot.beat(now);
        slot.set_state(WorkerState::Starting);
        self.header()
            .used
            .fetch_max(index as u32 + 1, Ordering::Relaxed);
    }

    /// The fewest connections that a worker has which could accept one more now: ready, not in a call and
    /// not draining. The worker at `index` is left out; `None` where no other could.
    pub(crate) fn least_loaded_other(&self, index: usize) -> Option<u32> {
        let others = self.used().iter().enumerate();
        others
            .filter(|&(other, cell)| other != index && cell.state() == WorkerState::Ready)
            .map(|(_, cell)| cell.connections.load(Ordering::Relaxed))
            .min()
    }

    /// Tells all workers what to do with the listeners' queues when they leave.
    pub(crate) fn set_queue_policy(&self, policy: QueuePolicy) {
        self.header().queue_policy.store(policy, Ordering::Release);
    }

    /// What a worker that leaves does with the listeners' queues.
    pub(crate) fn queue_policy(&self) -> QueuePolicy {
        self.header().queue_policy.load(Ordering::Acquire)
    }

    fn header(&self) -> &Header {
        &self.header[0]
    }

    fn used(&self) -> &[Cell] {
        let used = self.header().used.load(Ordering::Relaxed) as usize;
        &self.slots[..used.min(self.slots.len())]
    }
}

impl fmt::Debug for Scoreboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.workers()).finish()
    }
}

/// One worker's place on the [`Scoreboard`].
///
/// The numbers are read one by one: together they are no snapshot of one moment.
#[derive(Clone, Copy)]
pub struct Slot<'a> {
    cell: &'a Cell,
    calls: &'a [CallCell],
    exemplars: &'a Exemplars,
}

impl Cell {
    fn state(&self) -> WorkerState {
        self.state.load(Ordering::Acquire)
    }
}

impl Slot<'_> {
    /// The worker's number; a replacement has a number of its own.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.cell.id.load(Ordering::Relaxed)
    }

    /// The worker's process id; 0 before it was forked.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.cell.pid.load(Ordering::Relaxed)
    }

    /// What the worker is doing.
    #[must_use]
    pub fn state(&self) -> WorkerState {
        self.cell.state()
    }

    /// When the worker was forked.
    #[must_use]
    pub fn started(&self) -> MonoTime {
        MonoTime::from_nanos(self.cell.started.load(Ordering::Relaxed))
    }

    /// The number of the group that the worker belongs to, from 0 on, in the order in which the groups were described.
    #[must_use]
    pub fn group(&self) -> usize {
        self.cell.group.load(Ordering::Relaxed) as usize
    }

    /// The number of the generation of settings that the worker was started with.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.cell.generation.load(Ordering::Relaxed)
    }

    /// How many requests the worker may answer at once.
    #[must_use]
    pub fn threads(&self) -> u32 {
        self.cell.places.load(Ordering::Relaxed)
    }

    /// When the worker last showed that it makes progress.
    #[must_use]
    pub fn heard(&self) -> MonoTime {
        MonoTime::from_nanos(self.cell.heard.load(Ordering::Relaxed))
    }

    /// How many connections the worker has open.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.cell.connections.load(Ordering::Relaxed)
    }

    /// How many requests the worker has answered.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.cell.requests.load(Ordering::Relaxed)
    }

    /// The calls that are running, in no order.
    pub fn calls(&self) -> impl Iterator<Item = Call> {
        self.calls.iter().filter_map(CallCell::read)
    }

    pub(crate) fn set_pid(self, pid: i32) {
        self.cell.pid.store(pid, Ordering::Relaxed);
    }

    pub(crate) fn set_generation(self, number: u64) {
        self.cell.generation.store(number, Ordering::Relaxed);
    }

    pub(crate) fn clear(self) {
        let cell = self.cell;
        cell.state.store(WorkerState::Empty, Ordering::Release);
        cell.pid.store(0, Ordering::Relaxed);
        cell.connections.store(0, Ordering::Relaxed);
        cell.running.store(0, Ordering::Relaxed);
        let numbers = [&cell.id, &cell.generation, &cell.started, &cell.heard];
        for number in numbers.into_iter().chain([&cell.requests]) {
            number.store(0, Ordering::Relaxed);
        }
        for call in self.calls {
            call.clear();
        }
        self.exemplars.clear();
    }
}

/// A worker's own [`Slot`], which it alone writes to.
#[derive(Clone, Copy, Debug)]
pub struct OwnSlot<'a>(Slot<'a>);

impl<'a> Deref for OwnSlot<'a> {
    type Target = Slot<'a>;

    fn deref(&self) -> &Slot<'a> {
        &self.0
    }
}

impl OwnSlot<'_> {
    /// The worker makes progress. One store: no system call.
    pub fn beat(&self, now: MonoTime) {
        self.cell.heard.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The worker's state changes. Between [`Ready`](WorkerState::Ready) and
    /// [`Busy`](WorkerState::Busy) requests change it by themselves.
    pub fn set_state(&self, state: WorkerState) {
        self.cell.state.store(state, Ordering::Release);
    }

    /// The number of the worker's open connections has changed.
    pub fn set_connections(&self, open: u32) {
        self.cell.connections.store(open, Ordering::Relaxed);
    }

    /// A call of the service begins; gives its place, if there is one. A ready worker without a free
    /// place left becomes busy, a draining one stays so.
    #[must_use = "the end of the call needs its place"]
    pub fn begin_request(&self, now: MonoTime, method: &str, target: &str) -> Option<usize> {
        self.begin_call(now, method.as_bytes(), target.as_bytes())
    }

    /// The same, with the bytes of a head.
    pub(crate) fn begin_call(&self, now: MonoTime, method: &[u8], target: &[u8]) -> Option<usize> {
        self.beat(now);
        let places = self.cell.places.load(Ordering::Relaxed) as usize;
        let mut calls = self.calls.iter().take(places);
        let place = calls.position(|call| call.claim(now))?;
        self.calls[place].sign();
        self.calls[place].write(method, target);
        let running = self.cell.running.fetch_add(1, Ordering::Relaxed) + 1;
        if running == self.cell.places.load(Ordering::Relaxed) {
            self.change_state(WorkerState::Ready, WorkerState::Busy);
        }
        Some(place)
    }

    /// The call in this place has taken its connection over.
    pub fn upgrade_request(&self, place: Option<usize>) {
        if let Some(call) = place.and_then(|place| self.calls.get(place)) {
            call.upgrade();
        }
    }

    /// The call in this place has ended: a busy worker becomes ready. `None` is for an answer without a call.
    pub fn end_request(&self, place: Option<usize>, now: MonoTime) {
        self.beat(now);
        let Some(call) = place.and_then(|place| self.calls.get(place)) else {
            return;
        };
        call.end();
        self.cell.requests.fetch_add(1, Ordering::Relaxed);
        self.cell.running.fetch_sub(1, Ordering::Relaxed);
        self.change_state(WorkerState::Busy, WorkerState::Ready);
    }

    /// Takes an answered request for an example of its duration.
    pub(crate) fn offer_exemplar(&self, request_id: &str, took: Duration, finished: MonoTime) {
        self.exemplars.offer(request_id, took, finished);
    }

    fn change_state(self, from: WorkerState, to: WorkerState) {
        self.cell.state.change(from, to, Ordering::Release);
    }
}

impl fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("id", &self.id())
            .field("pid", &self.pid())
            .field("state", &self.state())
            .field("connections", &self.connections())
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> MonoTime {
        MonoTime::from_nanos(nanos)
    }

    fn board() -> Scoreboard {
        Scoreboard::new(4, 1, Counters::new().unwrap().0).unwrap()
    }

    #[test]
    fn a_new_scoreboard_is_empty() {
        let board = board();
        assert_eq!(board.workers().count(), 0);
        assert_eq!(board.slot(3).state(), WorkerState::Empty);
        assert_eq!(board.slot(3).calls().count(), 0);
    }

    fn only_call(slot: &Slot<'_>) -> Option<Call> {
        let mut calls = slot.calls();
        let call = calls.next();
        assert_eq!(calls.next(), None);
        call
    }

    fn only_request(slot: &Slot<'_>) -> Option<(String, String)> {
        only_call(slot)?.request
    }

    // Gunicorn: G47
    #[test]
    fn a_request_makes_a_worker_busy_and_is_counted_at_its_end() {
        let board = board();
        board.assign(0, 7, 0, 1, at(1));
        let slot = board.own_slot(0);
        slot.set_state(WorkerState::Ready);
        let place = slot.begin_request(at(1_000), "GET", "/slow?x=1");
        assert_eq!(slot.state(), WorkerState::Busy);
        let call = only_call(&slot).unwrap();
        assert_eq!(call.started, at(1_000));
        assert_ne!(call.thread, 0);
        assert_eq!(call.request, Some(("GET".into(), "/slow?x=1".into())));
        slot.end_request(place, at(1_500));
        assert_eq!(slot.state(), WorkerState::Ready);
        assert_eq!(only_call(&slot), None);
        assert_eq!(slot.requests(), 1);
        assert_eq!(slot.heard(), at(1_500));
    }

    #[test]
    fn a_draining_worker_stays_so_through_a_request() {
        let board = board();
        board.assign(0, 1, 0, 1, at(1));
        let slot = board.own_slot(0);
        slot.set_state(WorkerState::Draining);
        let place = slot.begin_request(at(2), "GET", "/");
        assert_eq!(slot.state(), WorkerState::Draining);
        slot.end_request(place, at(3));
        assert_eq!(slot.state(), WorkerState::Draining);
    }

    #[test]
    fn a_worker_is_busy_when_all_its_places_are_taken() {
        let board = Scoreboard::new(2, 2, Counters::new().unwrap().0).unwrap();
        board.assign(1, 1, 0, 2, at(1));
        let slot = board.own_slot(1);
        slot.set_state(WorkerState::Ready);
        let first = slot.begin_request(at(2), "GET", "/1");
        assert_eq!((first, slot.state()), (Some(0), WorkerState::Ready));
        let second = slot.begin_request(at(3), "GET", "/2");
        assert_eq!((second, slot.state()), (Some(1), WorkerState::Busy));
        assert_eq!(slot.begin_request(at(4), "GET", "/3"), None);
        slot.end_request(first, at(5));
        assert_eq!(slot.state(), WorkerState::Ready);
        assert_eq!(only_request(&slot), Some(("GET".into(), "/2".into())));
        assert_eq!(board.slot(0).calls().count(), 0);
    }

    #[test]
    fn only_ready_workers_count_as_less_loaded() {
        let board = board();
        let states = [
            (WorkerState::Ready, 5),
            (WorkerState::Draining, 0),
            (WorkerState::Ready, 3),
            (WorkerState::Starting, 0),
        ];
        for (index, (state, connections)) in states.into_iter().enumerate() {
            board.assign(index, index as u64 + 1, 0, 1, at(1));
            board.own_slot(index).set_state(state);
            board.own_slot(index).set_connections(connections);
        }
        assert_eq!(board.least_loaded_other(0), Some(3));
        assert_eq!(board.least_loaded_other(2), Some(5));
        let _ = board.own_slot(2).begin_request(at(2), "GET", "/");
        assert_eq!(board.least_loaded_other(1), Some(5));
        assert_eq!(board.least_loaded_other(0), None);
    }

    #[test]
    fn a_cleared_slot_is_empty() {
        let board = board();
        board.assign(1, 9, 0, 1, at(1));
        board.own_slot(1).set_pid(4711);
        board.own_slot(1).set_state(WorkerState::Ready);
        assert_eq!(
            board.workers().map(|slot| slot.pid()).collect::<Vec<_>>(),
            [4711]
        );
        board.own_slot(1).clear();
        assert_eq!(board.workers().count(), 0);
        assert_eq!((board.slot(1).id(), board.slot(1).pid()), (0, 0));
    }
}
