//! What the workers are doing, in memory that they share with their arbiter: one [`Slot`] for each.
//!
//! Nobody waits here: there is no lock, so that a worker which dies at any instruction leaves nothing
//! locked. Nothing here wakes anybody either, and nothing is kept on a disk.
//!
//! The mapping is anonymous and made before the first fork, so every worker inherits it at the same
//! address (`mmap(2)`, `MAP_SHARED`). Each worker writes its own slot and reads the others'; the arbiter
//! assigns slots, and clears that of a dead worker.
//!
//! A worker has a place for each request that it may answer at once, so that a hang can name them all.
//!
//! *Invariants*: a slot is written by one process; a place belongs to one call at a time; a request's text is read whole or not at all (its
//! version is odd while it is being written); a slot whose worker has died reads as [`WorkerState::Empty`].

use std::fmt;
use std::mem::size_of;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering, fence};

use nix::sys::mman::{self, MapFlags, ProtFlags};

use crate::clock::Tick;
use crate::error::{Error, Result};

/// How much of "METHOD target" is kept, in words of eight bytes.
const WORDS: usize = 16;
/// The longest method that is kept, in bytes. The longest registered one has 17 (RFC 3253).
const METHOD: usize = 20;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl WorkerState {
    const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Starting,
            2 => Self::Ready,
            3 => Self::Busy,
            4 => Self::Draining,
            _ => Self::Empty,
        }
    }
}

/// One worker's memory: all zero where there is none. Neighbours share no cache line, nor the pair of them
/// that processors fetch at once.
#[derive(Default)]
#[repr(C, align(128))]
struct Cell {
    id: AtomicU64,
    pid: AtomicI32,
    state: AtomicU32,
    heard: AtomicU64,
    requests: AtomicU64,
    sent: AtomicU64,
    busy: AtomicU64,
    connections: AtomicU32,
    /// How many of its calls are running.
    running: AtomicU32,
    /// How many it may answer at once.
    places: AtomicU32,
}

/// One running call of a worker. Neighbours are written by different threads.
#[derive(Default)]
#[repr(C, align(128))]
struct CallCell {
    /// 0 while nobody has the place.
    started: AtomicU64,
    /// `pthread_self(3)` of the thread.
    thread: AtomicU64,
    version: AtomicU32,
    lengths: AtomicU32,
    text: [AtomicU64; WORDS],
}

#[repr(C, align(128))]
struct Header {
    /// One more than the highest index that was ever assigned: readers need not look further.
    used: AtomicU32,
    /// What a worker that leaves does with its listeners' queues: the number of a policy.
    queue_policy: AtomicU32,
}

/// The slots of all workers.
pub struct Scoreboard {
    header: NonNull<Header>,
    slots: usize,
    /// Places for calls that each worker has.
    calls: usize,
    length: NonZeroUsize,
}

// SAFETY: the mapping belongs to no thread, and everything in it is atomic.
unsafe impl Send for Scoreboard {}
// SAFETY: as above.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    /// Maps the memory for that many workers, each with that many calls at once; at least one of both.
    pub(crate) fn new(slots: usize, calls: usize) -> Result<Self> {
        let (slots, calls) = (slots.max(1), calls.max(1));
        let length = calls
            .checked_mul(size_of::<CallCell>())
            .and_then(|calls| calls.checked_add(size_of::<Cell>()))
            .and_then(|each| each.checked_mul(slots))
            .and_then(|cells| cells.checked_add(size_of::<Header>()))
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| {
                Error::config(format!("{slots} workers of {calls} threads are too many"))
            })?;
        // SAFETY: a new anonymous mapping at an address of the system's choice disturbs nothing.
        let memory = unsafe {
            mman::mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
            )
        }
        .map_err(|errno| Error::io("cannot map the workers' shared memory", errno))?;
        Ok(Self {
            header: memory.cast(),
            slots,
            calls,
            length,
        })
    }

    /// How many workers there can be at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots
    }

    /// The slots that have a worker now.
    pub fn workers(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..self.used().len())
            .map(|index| self.slot(index))
            .filter(|slot| slot.state() != WorkerState::Empty)
    }

    /// The slot at `index`, below [`capacity`](Self::capacity).
    pub(crate) fn slot(&self, index: usize) -> Slot<'_> {
        Slot {
            cell: &self.cells()[index],
            calls: &self.call_cells()[index * self.calls..][..self.calls],
        }
    }

    /// Gives the slot at `index` to a worker that is about to be forked, and answers up to `calls` requests
    /// at once: of more than there are places for, some are not shown.
    pub(crate) fn assign(&self, index: usize, id: u64, calls: usize, now: Tick) {
        let slot = self.slot(index);
        slot.clear();
        slot.cell.id.store(id, Ordering::Relaxed);
        let places = calls.min(self.calls) as u32;
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

    /// The whole server stops: the number of the policy by which workers leave their listeners' queues.
    pub(crate) fn set_queue_policy(&self, number: u32) {
        self.header().queue_policy.store(number, Ordering::Release);
    }

    /// The number that was stored last; 0 at the start.
    pub(crate) fn queue_policy(&self) -> u32 {
        self.header().queue_policy.load(Ordering::Acquire)
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with a header, is aligned to a page, and lives as long as `self`; new
        // memory is zero, which is a valid header.
        unsafe { self.header.as_ref() }
    }

    fn cells(&self) -> &[Cell] {
        // SAFETY: `slots` cells follow the header, whose size is a multiple of their alignment; new memory
        // is zero, which is a valid cell; nobody has a `&mut` to any of it.
        unsafe { slice::from_raw_parts(self.header.add(1).cast().as_ptr(), self.slots) }
    }

    fn call_cells(&self) -> &[CallCell] {
        // SAFETY: as above: the calls of all workers follow their cells, which have the same alignment.
        unsafe {
            let calls = self.header.add(1).cast::<Cell>().add(self.slots);
            slice::from_raw_parts(calls.cast().as_ptr(), self.slots * self.calls)
        }
    }

    fn used(&self) -> &[Cell] {
        let used = self.header().used.load(Ordering::Relaxed) as usize;
        let cells = self.cells();
        &cells[..used.min(cells.len())]
    }
}

impl Drop for Scoreboard {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and every borrow of it has ended. munmap(2) cannot
        // fail for one that exists.
        let _ = unsafe { mman::munmap(self.header.cast(), self.length.get()) };
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
}

/// A running call of a worker's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub started: Tick,
    /// The thread that is in it, by the number under which debuggers and Python list it (`pthread_self(3)`).
    pub thread: u64,
    /// Method and target, both cut to their first bytes (about 120 together). `None` in the instant when
    /// the worker writes them.
    pub request: Option<(String, String)>,
}

impl Cell {
    fn state(&self) -> WorkerState {
        WorkerState::from_number(self.state.load(Ordering::Acquire))
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

    /// When the worker last showed that it makes progress.
    #[must_use]
    pub fn heard(&self) -> Tick {
        Tick::from_nanos(self.cell.heard.load(Ordering::Relaxed))
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

    /// How many bytes of response bodies the worker has sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.cell.sent.load(Ordering::Relaxed)
    }

    /// How many nanoseconds the worker has spent in requests that have ended.
    #[must_use]
    pub fn busy_nanos(&self) -> u64 {
        self.cell.busy.load(Ordering::Relaxed)
    }

    /// The calls that are running, in no order.
    pub fn calls(&self) -> impl Iterator<Item = Call> {
        self.calls.iter().filter_map(CallCell::read)
    }

    /// The worker makes progress. One store: no system call.
    pub fn beat(&self, now: Tick) {
        self.cell.heard.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The worker's state changes. Between [`Ready`](WorkerState::Ready) and
    /// [`Busy`](WorkerState::Busy) requests change it by themselves.
    pub fn set_state(&self, state: WorkerState) {
        self.cell.state.store(state as u32, Ordering::Release);
    }

    /// The number of the worker's open connections has changed.
    pub fn set_connections(&self, open: u32) {
        self.cell.connections.store(open, Ordering::Relaxed);
    }

    /// A call of the service begins; gives its place, if there is one. A ready worker without a free
    /// place left becomes busy, a draining one stays so.
    #[must_use = "the end of the call needs its place"]
    pub fn begin_request(&self, now: Tick, method: &str, target: &str) -> Option<usize> {
        self.beat(now);
        let places = self.cell.places.load(Ordering::Relaxed) as usize;
        let mut calls = self.calls.iter().take(places);
        let place = calls.position(|call| call.claim(now))?;
        self.calls[place].sign();
        self.calls[place].write(method.as_bytes(), target.as_bytes());
        let running = self.cell.running.fetch_add(1, Ordering::Relaxed) + 1;
        if running == self.cell.places.load(Ordering::Relaxed) {
            self.change_state(WorkerState::Ready, WorkerState::Busy);
        }
        Some(place)
    }

    /// The call in this place has ended: a busy worker becomes ready. `sent` is what the response's body
    /// had in bytes. `None` is for an answer without a call.
    pub fn end_request(&self, place: Option<usize>, now: Tick, sent: u64) {
        self.cell.sent.fetch_add(sent, Ordering::Relaxed);
        self.beat(now);
        let Some(call) = place.and_then(|place| self.calls.get(place)) else {
            return;
        };
        let started = call.started.swap(0, Ordering::Release);
        let busy = now.as_nanos().saturating_sub(started);
        self.cell.busy.fetch_add(busy, Ordering::Relaxed);
        self.cell.requests.fetch_add(1, Ordering::Relaxed);
        self.cell.running.fetch_sub(1, Ordering::Relaxed);
        self.change_state(WorkerState::Busy, WorkerState::Ready);
    }

    /// The worker has been forked.
    pub(crate) fn set_pid(self, pid: i32) {
        self.cell.pid.store(pid, Ordering::Relaxed);
    }

    /// There is no worker any more.
    pub(crate) fn clear(self) {
        let cell = self.cell;
        self.set_state(WorkerState::Empty);
        cell.pid.store(0, Ordering::Relaxed);
        cell.connections.store(0, Ordering::Relaxed);
        cell.running.store(0, Ordering::Relaxed);
        for number in [
            &cell.id,
            &cell.heard,
            &cell.requests,
            &cell.sent,
            &cell.busy,
        ] {
            number.store(0, Ordering::Relaxed);
        }
        for call in self.calls {
            call.clear();
        }
    }

    fn change_state(self, from: WorkerState, to: WorkerState) {
        let _ = self.cell.state.compare_exchange(
            from as u32,
            to as u32,
            Ordering::Release,
            Ordering::Relaxed,
        );
    }
}

impl CallCell {
    /// Takes the place, unless another call has it.
    fn claim(&self, now: Tick) -> bool {
        // The exchange alone would fetch the neighbours' lines for writing.
        self.started.load(Ordering::Relaxed) == 0
            && self
                .started
                .compare_exchange(
                    0,
                    now.as_nanos().max(1),
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Notes which thread is in the call.
    fn sign(&self) {
        // SAFETY: pthread_self(3) cannot fail, and is no system call.
        let thread = unsafe { libc::pthread_self() };
        self.thread.store(thread, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.started.store(0, Ordering::Relaxed);
        // A worker that died while it wrote has left an odd version.
        let version = self.version.load(Ordering::Relaxed);
        self.lengths.store(0, Ordering::Relaxed);
        self.version
            .store((version | 1).wrapping_add(1), Ordering::Release);
    }

    fn read(&self) -> Option<Call> {
        match self.started.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Call {
                started: Tick::from_nanos(nanos),
                thread: self.thread.load(Ordering::Relaxed),
                request: (0..4).find_map(|_| self.try_request()),
            }),
        }
    }

    fn write(&self, method: &[u8], target: &[u8]) {
        let mut bytes = [0; WORDS * 8];
        let method = &method[..method.len().min(METHOD)];
        let target = &target[..target.len().min(bytes.len() - method.len())];
        let end = method.len() + target.len();
        bytes[..method.len()].copy_from_slice(method);
        bytes[method.len()..end].copy_from_slice(target);

        let cell = self;
        let version = cell.version.load(Ordering::Relaxed) | 1;
        cell.version.store(version, Ordering::Relaxed);
        fence(Ordering::Release);
        let lengths = method.len() as u32 | (target.len() as u32) << 8;
        cell.lengths.store(lengths, Ordering::Relaxed);
        let words = bytes.chunks_exact(8).take(end.div_ceil(8));
        for (word, bytes) in cell.text.iter().zip(words) {
            let mut number = [0; 8];
            number.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(number), Ordering::Relaxed);
        }
        cell.version
            .store(version.wrapping_add(1), Ordering::Release);
    }

    fn try_request(&self) -> Option<(String, String)> {
        let cell = self;
        let version = cell.version.load(Ordering::Acquire);
        let lengths = cell.lengths.load(Ordering::Relaxed);
        let mut bytes = [0; WORDS * 8];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(&cell.text) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        fence(Ordering::Acquire);
        if version % 2 == 1 || cell.version.load(Ordering::Relaxed) != version {
            return None;
        }
        let method = (lengths & 0xff) as usize;
        let end = method + (lengths >> 8) as usize;
        let text = |range| bytes.get(range).map(String::from_utf8_lossy);
        let (method, target) = (text(0..method)?, text(method..end)?);
        (end > 0).then(|| (method.into_owned(), target.into_owned()))
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

    fn at(nanos: u64) -> Tick {
        Tick::from_nanos(nanos)
    }

    fn board() -> Scoreboard {
        Scoreboard::new(4, 1).unwrap()
    }

    #[test]
    fn a_new_scoreboard_is_empty() {
        let board = board();
        assert_eq!(board.capacity(), 4);
        assert_eq!(board.workers().count(), 0);
        assert_eq!(board.slot(3).state(), WorkerState::Empty);
        assert_eq!(board.slot(3).calls().count(), 0);
    }

    fn only_call(slot: Slot<'_>) -> Option<Call> {
        let mut calls = slot.calls();
        let call = calls.next();
        assert_eq!(calls.next(), None);
        call
    }

    fn only_request(slot: Slot<'_>) -> Option<(String, String)> {
        only_call(slot)?.request
    }

    #[test]
    fn a_request_makes_a_worker_busy_and_is_counted_at_its_end() {
        let board = board();
        board.assign(0, 7, 1, at(1));
        let slot = board.slot(0);
        slot.set_state(WorkerState::Ready);
        let place = slot.begin_request(at(1_000), "GET", "/slow?x=1");
        assert_eq!(slot.state(), WorkerState::Busy);
        let call = only_call(slot).unwrap();
        assert_eq!(call.started, at(1_000));
        assert_ne!(call.thread, 0);
        assert_eq!(call.request, Some(("GET".into(), "/slow?x=1".into())));
        slot.end_request(place, at(1_500), 42);
        assert_eq!(slot.state(), WorkerState::Ready);
        assert_eq!(only_call(slot), None);
        assert_eq!(
            (slot.requests(), slot.sent(), slot.busy_nanos()),
            (1, 42, 500)
        );
        assert_eq!(slot.heard(), at(1_500));
    }

    #[test]
    fn a_draining_worker_stays_so_through_a_request() {
        let board = board();
        board.assign(0, 1, 1, at(1));
        let slot = board.slot(0);
        slot.set_state(WorkerState::Draining);
        let place = slot.begin_request(at(2), "GET", "/");
        assert_eq!(slot.state(), WorkerState::Draining);
        slot.end_request(place, at(3), 0);
        assert_eq!(slot.state(), WorkerState::Draining);
    }

    #[test]
    fn a_long_target_is_cut() {
        let board = board();
        board.assign(0, 1, 1, at(1));
        let slot = board.slot(0);
        let _ = slot.begin_request(at(1), "VERSION-CONTROL-AND-MORE", &"/x".repeat(500));
        let (method, target) = only_request(slot).unwrap();
        assert_eq!(method, "VERSION-CONTROL-AND-");
        assert_eq!(target, "/x".repeat((WORDS * 8 - METHOD) / 2));
    }

    #[test]
    fn text_of_a_worker_that_died_while_writing_is_not_shown() {
        let board = board();
        board.assign(0, 1, 1, at(1));
        let slot = board.slot(0);
        let _ = slot.begin_request(at(2), "GET", "/");
        slot.calls[0].version.fetch_add(1, Ordering::Relaxed);
        assert_eq!(only_request(slot), None);
        slot.clear();
        assert_eq!(only_request(slot), None);
        let _ = slot.begin_request(at(3), "GET", "/again");
        assert_eq!(only_request(slot), Some(("GET".into(), "/again".into())));
    }

    #[test]
    fn a_worker_is_busy_when_all_its_places_are_taken() {
        let board = Scoreboard::new(2, 2).unwrap();
        board.assign(1, 1, 2, at(1));
        let slot = board.slot(1);
        slot.set_state(WorkerState::Ready);
        let first = slot.begin_request(at(2), "GET", "/1");
        assert_eq!((first, slot.state()), (Some(0), WorkerState::Ready));
        let second = slot.begin_request(at(3), "GET", "/2");
        assert_eq!((second, slot.state()), (Some(1), WorkerState::Busy));
        assert_eq!(slot.begin_request(at(4), "GET", "/3"), None);
        slot.end_request(first, at(5), 0);
        assert_eq!(slot.state(), WorkerState::Ready);
        assert_eq!(only_request(slot), Some(("GET".into(), "/2".into())));
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
            board.assign(index, index as u64 + 1, 1, at(1));
            board.slot(index).set_state(state);
            board.slot(index).set_connections(connections);
        }
        assert_eq!(board.least_loaded_other(0), Some(3));
        assert_eq!(board.least_loaded_other(2), Some(5));
        let _ = board.slot(2).begin_request(at(2), "GET", "/");
        assert_eq!(board.least_loaded_other(1), Some(5));
        assert_eq!(board.least_loaded_other(0), None);
    }

    #[test]
    fn a_cleared_slot_is_empty() {
        let board = board();
        board.assign(1, 9, 1, at(1));
        board.slot(1).set_pid(4711);
        board.slot(1).set_state(WorkerState::Ready);
        assert_eq!(
            board.workers().map(|slot| slot.pid()).collect::<Vec<_>>(),
            [4711]
        );
        board.slot(1).clear();
        assert_eq!(board.workers().count(), 0);
        assert_eq!((board.slot(1).id(), board.slot(1).pid()), (0, 0));
    }
}
