//! A request's body while it arrives: in memory first, then in an unlinked file.
//!
//! It knows no socket. It refuses what exceeds its limit.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::Config;
use super::deadlines::paid_until;
use crate::clock::Tick;
use crate::error::Result;
use crate::service::Body;

/// What has come of a body so far.
#[derive(Debug, Default)]
pub(super) struct RequestBody {
    store: Store,
    len: u64,
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
pub(super) enum Refusal {
    /// It exceeds `limit_request_body`.
    TooLarge,
    /// It could not be written to a file.
    Unwritable(std::io::Error),
}

/// Where bodies are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room<'a> {
    /// Bytes that may stay in memory.
    pub(super) memory: usize,
    /// Bytes at all; `u64::MAX` for no limit.
    pub(super) limit: u64,
    /// The folder of spool files.
    pub(super) dir: &'a Path,
}

impl RequestBody {
    /// Takes the next piece.
    pub(super) fn push(&mut self, bytes: Bytes, room: Room<'_>) -> Result<(), Refusal> {
        let len = self.len + bytes.len() as u64;
        if len > room.limit {
            return Err(Refusal::TooLarge);
        }
        self.len = len;
        let spill = len > room.memory as u64;
        self.store = match std::mem::take(&mut self.store) {
            Store::Empty if !spill => Store::Block(bytes),
            Store::Empty => spool(room.dir, &[&bytes])?,
            Store::Block(first) if spill => spool(room.dir, &[&first, &bytes])?,
            Store::Block(first) => {
                let mut memory =
                    BytesMut::with_capacity((first.len() + bytes.len()).next_power_of_two());
                memory.extend_from_slice(&first);
                memory.extend_from_slice(&bytes);
                Store::Memory(memory)
            }
            Store::Memory(memory) if spill => spool(room.dir, &[&memory, &bytes])?,
            Store::Memory(mut memory) => {
                memory.extend_from_slice(&bytes);
                Store::Memory(memory)
            }
            Store::File(mut file) => {
                file.write_all(&bytes).map_err(Refusal::Unwritable)?;
                Store::File(file)
            }
        };
        Ok(())
    }

    /// When the next piece has to come, of a body whose head was complete at `started`: soon, and before the
    /// average rate falls below what it must be. A byte now and then is not progress.
    pub(super) fn due(&self, started: Tick, now: Tick, config: &Config) -> Tick {
        let soon = now + config.body_timeout;
        paid_until(started, self.len, config.body_rate, config.body_grace)
            .map_or(soon, |paid| soon.min(paid))
    }

    /// The complete body, to be read.
    pub(super) fn into_body(self) -> Result<Body<'static>> {
        match self.store {
            Store::Empty => Ok(Body::empty()),
            Store::Block(bytes) => Ok(Body::memory(bytes)),
            Store::Memory(bytes) => Ok(Body::memory(bytes.freeze())),
            Store::File(file) => Body::file(file, self.len),
        }
    }
}

fn spool(dir: &Path, blocks: &[&[u8]]) -> Result<Store, Refusal> {
    let mut file = tempfile::tempfile_in(dir).map_err(Refusal::Unwritable)?;
    for block in blocks {
        file.write_all(block).map_err(Refusal::Unwritable)?;
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
        let mut config = Config {
            body_timeout: Duration::from_secs(30),
            body_rate: 500,
            body_grace: Duration::from_secs(20),
            ..Config::default()
        };
        let after = |seconds| Tick::ZERO + Duration::from_secs(seconds);
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
                store: Store::Empty,
                len,
            };
            let found = body.due(Tick::ZERO, after(now), &config);
            assert_eq!(found, after(due), "{len} bytes after {now} s");
        }
        config.body_rate = 0;
        let none = RequestBody::default();
        assert_eq!(none.due(Tick::ZERO, after(100), &config), after(130));
    }

    fn collect(
        pieces: &[&'static [u8]],
        memory: usize,
        limit: u64,
    ) -> Result<(RequestBody, Vec<u8>), Refusal> {
        let dir = std::env::temp_dir();
        let mut body = RequestBody::default();
        for piece in pieces {
            body.push(
                Bytes::from_static(piece),
                Room {
                    memory,
                    limit,
                    dir: &dir,
                },
            )?;
        }
        let mut whole = Vec::new();
        let copy = std::mem::take(&mut body);
        copy.into_body().unwrap().read_to_end(&mut whole).unwrap();
        Ok((body, whole))
    }

    #[test]
    fn a_body_is_the_same_in_memory_and_in_a_file() {
        let pieces: &[&[u8]] = &[b"one", b"two", b"three"];
        for memory in [0, 3, 5, 6, 100] {
            assert_eq!(
                collect(pieces, memory, u64::MAX).unwrap().1,
                b"onetwothree",
                "memory {memory}"
            );
        }
    }

    #[test]
    fn one_block_is_kept_without_a_copy() {
        let bytes = Bytes::from_static(b"block");
        let mut body = RequestBody::default();
        body.push(
            bytes,
            Room {
                memory: 64,
                limit: 64,
                dir: Path::new("/"),
            },
        )
        .unwrap();
        assert!(matches!(body.store, Store::Block(_)));
    }

    #[test]
    fn a_body_past_the_limit_is_refused() {
        assert!(matches!(
            collect(&[b"123", b"45"], 64, 4),
            Err(Refusal::TooLarge)
        ));
    }

    #[test]
    fn a_missing_spool_folder_is_a_refusal() {
        let mut body = RequestBody::default();
        let room = Room {
            memory: 0,
            limit: 10,
            dir: Path::new("/no/such/folder"),
        };
        assert!(matches!(
            body.push(Bytes::from_static(b"x"), room),
            Err(Refusal::Unwritable(_))
        ));
    }
}
