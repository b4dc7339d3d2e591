//! [`RequestIds`]: the ids of requests (`X-Request-Id`).
//!
//! It makes no system call: two keyed hashes of a counter are an id. The keys are the process's own secret, so one id
//! tells nothing of the next. Processes that were forked with the same keys differ in their ids and their start.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process;
use std::sync::Arc;

use crate::h1::Head;
use crate::time::MonoTime;

/// The longest id that is taken from a forwarder.
const LONGEST: usize = 128;

/// Gives ids to the requests of one reactor. To be made after any fork.
#[derive(Debug)]
pub(super) struct RequestIds {
    keys: [RandomState; 2],
    process: (u32, u64),
    count: u64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self {
            keys: [RandomState::new(), RandomState::new()],
            process: (process::id(), MonoTime::now().as_nanos()),
            count: 0,
        }
    }

    /// The id of a request: that of its forwarder, if it is `trusted`, and else a new one.
    pub(super) fn of(&mut self, head: Option<&Head>, trusted: bool) -> Arc<str> {
        let told = head.filter(|_| trusted).and_then(taken);
        told.map_or_else(|| self.make(), Arc::from)
    }

    /// 128 bits in hexadecimal.
    fn make(&mut self) -> Arc<str> {
        self.count += 1;
        let [high, low] = [0, 1].map(|n| self.keys[n].hash_one((self.process, self.count)));
        format!("{high:016x}{low:016x}").into()
    }
}

/// The last `X-Request-Id`, which is the nearest forwarder's, unless it is too long or no visible ASCII.
fn taken(head: &Head) -> Option<&str> {
    let fields = head.fields();
    let named = fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"x-request-id"));
    let (_, value) = named.last()?;
    let fits = (1..=LONGEST).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::Version;
    use std::collections::HashSet;

    #[test]
    fn no_two_ids_are_the_same_or_alike() {
        let mut reactors = [RequestIds::new(), RequestIds::new()];
        let ids: HashSet<_> = (0..2000).map(|n| reactors[n % 2].of(None, true)).collect();
        assert_eq!(ids.len(), 2000);
        let halves = ids.iter().flat_map(|id| [&id[..8], &id[16..24]]);
        assert!(halves.collect::<HashSet<_>>().len() > 3990);
    }

    #[test]
    fn an_id_is_taken_of_a_trusted_forwarder_if_it_fits() {
        let long = "x".repeat(129);
        for (values, trusted, taken) in [
            (&["r-1"][..], true, Some("r-1")),
            (&["r-1", "r-2"], true, Some("r-2")),
            (&["r-1"], false, None),
            (&[""], true, None),
            (&["a b"], true, None),
            (&[&*long], true, None),
            (&[&long[1..]], true, Some(&long[1..])),
        ] {
            let fields = values
                .iter()
                .map(|it| (&b"x-request-ID"[..], it.as_bytes()));
            let head = Head::new("GET", "/", Version::HTTP_10, fields).unwrap();
            let id = RequestIds::new().of(Some(&head), trusted);
            match taken {
                Some(taken) => assert_eq!(*id, *taken),
                None => assert!(id.len() == 32 && !values.contains(&&*id), "{id}"),
            }
        }
    }
}
