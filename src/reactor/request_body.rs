//! A request's body while it arrives: in memory first, then in an unlinked file.
//!
//! It knows no socket. It refuses what exceeds its limit, and what exceeds that of all of them. Its memory is the
//! reactor's, which has it back after the call.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::pool::BufferPool;
use super::total::{Share, Total};
use super::{Config, spool};
use crate::error::Result;
use crate::service::Body;
use crate::time::MonoTime;

#[derive(Debug, Default)]
pub(super) struct RequestBody {
    store: Store,
    len: u64,
    /// Its part of what all bodies have in files.
    share: Option<Share>,
    /// The part that its service has in memory, so that the memory can be used again.
    lent: Bytes,
}

#[derive(Debug, Default)]
enum Store {
    #[default]
    Empty,
    /// The one block that has come: kept as it came, not copied.
    Block(Bytes),
    Memory(BytesMut),
    File(File),
}

/// Why a body is not collected any further.
#[derive(Debug)]
pub(super) enum Unkept {
    TooLarge,
    /// With it, `spool_total` would be exceeded.
    NoRoom,
    Unwritable(std::io::Error),
}

/// The bounds for bodies that are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room<'a> {
    pub(super) config: &'a Config,
    /// The bytes of all bodies in files.
    pub(super) files: &'a Total,
}

impl Room<'_> {
    /// Tells whether a body may have `len` bytes.
    pub(super) fn allows(&self, len: u64) -> bool {
        len <= self.config.limit_request_body()
    }

    /// Tells whether one of `len` bytes stays in memory.
    pub(super) fn is_in_memory(&self, len: u64) -> bool {
        len <= self.config.settings.body_buffer as u64
    }

    /// Tells whether one of `len` bytes could be kept while there is no other: else no time makes room for it.
    pub(super) fn could_fit(&self, len: u64) -> bool {
        self.is_in_memory(len) || len <= self.config.spool_total()
    }

    /// Tells whether one of `len` bytes could be kept now.
    pub(super) fn fits(&self, len: u64) -> bool {
        self.is_in_memory(len) || self.files.has_room(len, self.config.spool_total())
    }
}

impl RequestBody {
    pub(super) fn push(
        &mut self,
        bytes: Bytes,
        room: Room<'_>,
        pool: &mut BufferPool,
    ) -> Result<(), Unkept> {
        let len = self.len + bytes.len() as u64;
        if !room.allows(len) || !room.could_fit(len) {
            return Err(Unkept::TooLarge);
        }
        let spill = !room.is_in_memory(len);
        if spill {
            let share = self.share.get_or_insert_with(|| room.files.share());
            if !share.reach(len, room.config.spool_total()) {
                return Err(Unkept::NoRoom);
            }
        }
        self.len = len;
        self.store = match std::mem::take(&mut self.store) {
            Store::Empty if !spill => {
                self.store = Store::Block(bytes);
                return Ok(());
            }
            Store::Empty => spool(room.config.tmp_upload_dir(), &[&bytes])?,
            Store::Block(first) if spill => {
                let store = spool(room.config.tmp_upload_dir(), &[&first, &bytes])?;
                pool.reclaim(first);
                store
            }
            Store::Block(first) => {
                let mut memory = pool.memory(first.len() + bytes.len());
                memory.extend_from_slice(&first);
                memory.extend_from_slice(&bytes);
                pool.reclaim(first);
                Store::Memory(memory)
            }
            Store::Memory(memory) if spill => {
                let store = spool(room.config.tmp_upload_dir(), &[&memory, &bytes])?;
                pool.reuse(Some(memory));
                store
            }
            Store::Memory(mut memory) => {
                let len = memory.len() + bytes.len();
                if memory.capacity() < len {
                    let mut larger = pool.memory(len);
                    larger.extend_from_slice(&memory);
                    pool.reuse(Some(std::mem::replace(&mut memory, larger)));
                }
                memory.extend_from_slice(&bytes);
                Store::Memory(memory)
            }
            Store::File(mut file) => {
                file.write_all(&bytes).map_err(Unkept::Unwritable)?;
                Store::File(file)
            }
        };
        pool.reclaim(bytes);
        Ok(())
    }

    /// When the next piece has to come, of a body whose head was complete at `started` and of which there are
    /// `more` bytes than were taken: soon, and before the average rate falls below what it must be. A byte now and
    /// then is not progress.
    pub(super) fn due(
        &self,
        started: MonoTime,
        more: usize,
        now: MonoTime,
        config: &Config,
    ) -> MonoTime {
        let soon = now + config.settings.body_timeout;
        let len = self.len.saturating_add(more as u64);
        config.body_min_rate().bound(soon, started, len)
    }

    /// Tells whether a client brings it [slowly](super::rate::MinRate::is_slow).
    pub(super) fn is_slow(
        &self,
        started: MonoTime,
        more: usize,
        now: MonoTime,
        config: &Config,
    ) -> bool {
        let len = self.len.saturating_add(more as u64);
        config.body_min_rate().is_slow(started, len, now)
    }

    /// The complete body, to be read. Its place is taken until this is dropped.
    pub(super) fn take(&mut self) -> Result<Body<'static>> {
        match std::mem::take(&mut self.store) {
            Store::Empty => Ok(Body::empty()),
            Store::Block(bytes) => Ok(self.share_out(bytes)),
            Store::Memory(bytes) => Ok(self.share_out(bytes.freeze())),
            Store::File(file) => Body::file(file, self.len),
        }
    }

    fn share_out(&mut self, bytes: Bytes) -> Body<'static> {
        self.lent = bytes.clone();
        Body::memory(bytes)
    }

    /// Its call is over: it takes no place in files any more.
    pub(super) fn forget(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        *self = Self {
            lent,
            ..Self::default()
        };
    }

    /// The memory in which its service has read it.
    pub(super) fn memory(self) -> Bytes {
        self.lent
    }
}

fn spool(dir: &Path, blocks: &[&[u8]]) -> Result<Store, Unkept> {
    let mut file = spool::file_in(dir).map_err(Unkept::Unwritable)?;
    for block in blocks {
        file.write_all(block).map_err(Unkept::Unwritable)?;
    }
    Ok(Store::File(file))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_body_is_due_soon_and_before_its_rate_is_too_low() {
        let mut config = Config::default();
        config.settings.body_timeout = Duration::from_secs(30);
        config.settings.body_rate = 500;
        config.settings.body_grace = Duration::from_secs(20);
        let after = |seconds| MonoTime::ZERO + Duration::from_secs(seconds);
        // Bytes that have come, the seconds that have passed, and when the next ones have to come.
        for (len, now, due) in [
            (0, 0, 20),
            (1, 19, 20),
            (9_999, 15, 20),
            (10_000, 5, 20),
            (15_000, 25, 30),
            (1_000_000, 25, 55),
            (u64::MAX, 25, 55),
        ] {
            let body = RequestBody {
                len,
                ..RequestBody::default()
            };
            let found = body.due(MonoTime::ZERO, 0, after(now), &config);
            assert_eq!(found, after(due), "{len} bytes after {now} s");
        }
        config.settings.body_rate = 0;
        let none = RequestBody::default();
        assert_eq!(none.due(MonoTime::ZERO, 0, after(100), &config), after(130));
    }

    /// Of which `memory` bytes may be in memory, `limit` in all, and `total` in files; 0 for no limit.
    fn config(memory: usize, limit: u64, total: u64) -> Config {
        let mut config = Config::default();
        config.settings.body_buffer = memory;
        config.settings.limit_request_body = limit;
        config.settings.spool_total = total;
        config
    }

    fn collect(pieces: &[&'static [u8]], room: Room<'_>) -> Result<RequestBody, Unkept> {
        let mut body = RequestBody::default();
        for piece in pieces {
            body.push(Bytes::from_static(piece), room, &mut BufferPool::default())?;
        }
        Ok(body)
    }

    fn read(body: &mut RequestBody) -> Vec<u8> {
        let mut whole = Vec::new();
        body.take().unwrap().read_to_end(&mut whole).unwrap();
        whole
    }

    #[test]
    fn a_body_is_the_same_in_memory_and_in_a_file() {
        let files = &Total::default();
        for memory in [0, 3, 5, 6, 100] {
            let config = &config(memory, 0, 0);
            let mut body = collect(&[b"one", b"two", b"three"], Room { config, files }).unwrap();
            assert_eq!(read(&mut body), b"onetwothree", "memory {memory}");
        }
    }

    #[test]
    fn one_block_is_kept_without_a_copy() {
        let (config, files) = (&config(64, 0, 0), &Total::default());
        let body = collect(&[b"block"], Room { config, files }).unwrap();
        assert!(matches!(body.store, Store::Block(_)));
    }

    #[test]
    fn a_body_past_the_limit_is_refused() {
        let (config, files) = (&config(64, 4, 0), &Total::default());
        let refused = collect(&[b"123", b"45"], Room { config, files });
        assert!(matches!(refused, Err(Unkept::TooLarge)));
    }

    #[test]
    fn a_body_that_all_files_together_could_not_hold_is_too_large() {
        let (config, files) = (&config(4, 0, 3), &Total::default());
        let room = Room { config, files };
        assert!(!room.could_fit(5));
        let refused = collect(&[b"123", b"45"], room);
        assert!(matches!(refused, Err(Unkept::TooLarge)));
        // What memory holds needs no room in files.
        collect(&[b"1234"], room).unwrap();
    }

    #[test]
    fn bodies_in_files_share_a_total_and_give_their_part_back() {
        let (config, files) = (&config(2, 0, 10), &Total::default());
        let room = Room { config, files };
        let mut first = collect(&[b"12", b"3456"], room).unwrap();
        assert!(files.has_room(4, 10) && !files.has_room(5, 10));
        let refused = collect(&[b"12", b"34", b"5"], room);
        assert!(matches!(refused, Err(Unkept::NoRoom)));
        // What is in memory needs no room, and what was refused took none.
        collect(&[b"12"], room).unwrap();
        let second = collect(&[b"1234"], room).unwrap();
        assert!(!files.has_room(1, 10));
        assert_eq!(read(&mut first), b"123456");
        assert!(!files.has_room(1, 10), "its call may still read it");
        drop(first);
        assert!(files.has_room(6, 10) && !files.has_room(7, 10));
        drop(second);
        assert!(files.has_room(10, 10));
    }

    #[test]
    fn a_file_that_takes_no_more_is_a_refusal_with_its_cause() {
        let (config, files) = (&config(0, 0, 0), &Total::default());
        // Every write to it fails as on a full disk (full(4)).
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut body = RequestBody {
            store: Store::File(full),
            ..RequestBody::default()
        };
        let (bytes, room) = (Bytes::from_static(b"x"), Room { config, files });
        let refused = body.push(bytes, room, &mut BufferPool::default());
        let Err(Unkept::Unwritable(error)) = refused else {
            panic!("it was kept");
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
