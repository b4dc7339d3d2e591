//! [`SectionCache`]: the field sections that a thread has read lately, and what they said. A client says the same in most
//! of its requests, octet for octet, and to compare costs a fraction of what reading costs.
//!
//! *Invariants*: a section is recalled only for what it would be read as once more, with the same settings and for a request
//! line of the same kind; none is kept that was refused.

use std::cell::RefCell;

use super::config::ConnConfig;
use super::request_line::RequestLine;
use super::semantics::Semantics;
use super::types::{Span, Version};

/// The number of sections that a thread keeps.
const PLACES: usize = 8;
/// The longest section that is kept, in bytes.
const LONGEST: usize = 4096;

thread_local! {
    static CACHE: RefCell<SectionCache> = const { RefCell::new(SectionCache([const { None }; PLACES])) };
}

/// Each section has one place, by the length of what came with it: the sections of several clients differ in that.
#[derive(Debug)]
struct SectionCache([Option<Known>; PLACES]);

/// A section that was read.
#[derive(Debug)]
struct Known {
    section: Vec<u8>,
    /// The ranges of names and values, from the section's start.
    fields: Vec<(Span, Span)>,
    semantics: Semantics,
    version: Version,
    config: ConnConfig,
}

/// Where a section stands, and by what it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'b> {
    /// The request line with what follows it: the section is at its start.
    pub(super) block: &'b [u8],
    pub(super) line: &'b RequestLine,
    pub(super) config: &'b ConnConfig,
}

impl<'b> Place<'b> {
    /// What follows the request line.
    fn rest(&self) -> &'b [u8] {
        &self.block[self.line.fields..]
    }

    /// Whether what the fields mean depends on no more of the request line than its version.
    fn is_usual(&self) -> bool {
        self.line.host.is_empty() && self.line.method.of(self.block) != b"CONNECT"
    }

    /// The section's end and semantics, if it is known: the ranges of its fields go to `fields`.
    pub(super) fn recall(&self, fields: &mut Vec<(Span, Span)>) -> Option<(usize, Semantics)> {
        let recall = |cache: &RefCell<SectionCache>| {
            let cache = cache.borrow();
            let rest = self.rest();
            let known = cache.0[rest.len() % PLACES].as_ref()?;
            let is_same = rest.starts_with(&known.section)
                && known.version == self.line.version
                && known.config == *self.config
                && self.is_usual();
            if !is_same {
                return None;
            }
            let start = self.line.fields;
            let ranges = known.fields.iter();
            fields.extend(
                ranges.map(|(name, value)| (name.moved_back(start), value.moved_back(start))),
            );
            Some((start + known.section.len(), known.semantics))
        };
        // Fails only at the thread's end.
        CACHE.try_with(recall).ok().flatten()
    }

    /// Keeps the section, which goes as far as `end`: its `fields`, and what they mean.
    pub(super) fn keep(&self, end: usize, fields: &[(Span, Span)], semantics: Semantics) {
        let start = self.line.fields;
        if end - start > LONGEST || !self.is_usual() {
            return;
        }
        let keep = |cache: &RefCell<SectionCache>| {
            let place = &mut cache.borrow_mut().0[self.rest().len() % PLACES];
            let known = place.get_or_insert_with(|| Known {
                section: Vec::new(),
                fields: Vec::new(),
                semantics,
                version: self.line.version,
                config: self.config.clone(),
            });
            known.section.clear();
            known.section.extend_from_slice(&self.block[start..end]);
            known.fields.clear();
            let ranges = fields.iter();
            known.fields.extend(
                ranges.map(|(name, value)| (name.moved_forward(start), value.moved_forward(start))),
            );
            known.semantics = semantics;
            known.version = self.line.version;
            if known.config != *self.config {
                known.config.clone_from(self.config);
            }
        };
        // Fails only at the thread's end.
        let _ = CACHE.try_with(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Leniency, Limits, Underscores};
    use super::super::error::ParseError;
    use super::super::{Conn, Event, Head};
    use super::*;

    fn read(config: &ConnConfig, bytes: &str) -> Result<Head, ParseError> {
        let mut conn = Conn::server(config.clone());
        conn.receive(bytes.as_bytes());
        match conn.next_event()? {
            Event::Request(head) => Ok(head),
            event => panic!("{bytes:?}: {event:?}"),
        }
    }

    /// All that is told of a head.
    fn told(head: &Head) -> String {
        let fields: Vec<_> = head.fields().collect();
        let (length, dropped) = (head.length(), head.dropped());
        let says = (head.keep_alive(), head.expects_continue(), head.upgrades());
        format!("{} {fields:?} {length:?} {says:?} {dropped}", head.target())
    }

    fn forget() {
        CACHE.with(|cache| *cache.borrow_mut() = SectionCache([const { None }; PLACES]));
    }

    #[test]
    fn a_section_that_is_recalled_says_what_it_says_when_it_is_read() {
        let config = ConnConfig::default();
        let sections = [
            "",
            "Host: a\r\n",
            "Host: a\r\nEmpty:\r\nX_Y: dropped\r\nCookie: b=c\r\n",
            "Host: a\r\nConnection: close\r\n",
            "Host: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\n",
            "Host: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
        ];
        let lines = [
            "GET / HTTP/1.1",
            "POST /a/longer?target=here HTTP/1.1",
            "GET / HTTP/1.0",
            "GET http://b:80/ HTTP/1.1",
            "CONNECT b:80 HTTP/1.1",
        ];
        let all: Vec<_> = sections
            .iter()
            .flat_map(|section| lines.map(|line| format!("{line}\r\n{section}\r\n")))
            .collect();
        let fresh: Vec<_> = all
            .iter()
            .map(|bytes| {
                forget();
                read(&config, bytes).map(|head| told(&head))
            })
            .collect();
        // Each comes behind each other one.
        for _ in 0..2 {
            for before in &all {
                for (bytes, fresh) in all.iter().zip(&fresh) {
                    let _ = read(&config, before);
                    let head = read(&config, bytes).map(|head| told(&head));
                    assert_eq!(head, *fresh, "{bytes:?} behind {before:?}");
                }
            }
        }
    }

    #[test]
    fn a_repeated_section_is_recalled_wherever_it_stands() {
        let config = ConnConfig::default();
        for (number, target) in ["/", "/a", "/a/longer/one"].iter().enumerate() {
            let line = format!("GET {target} HTTP/1.1");
            let bytes = format!("{line}\r\nHost: shop.example\r\n\r\n");
            let place = Place {
                block: bytes.as_bytes(),
                line: &RequestLine::read(line.as_bytes(), &config.leniency).unwrap(),
                config: &config,
            };
            let mut fields = Vec::new();
            let recalled = place.recall(&mut fields).map(|(end, _)| end);
            assert_eq!(recalled, (number > 0).then_some(bytes.len()), "{target}");
            let head = read(&config, &bytes).unwrap();
            assert_eq!(head.get("host"), Some(&b"shop.example"[..]));
        }
    }

    #[test]
    fn other_settings_read_for_themselves() {
        let bytes = "GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n\r\n";
        let with = |underscores| ConnConfig {
            leniency: Leniency {
                underscores,
                ..Leniency::default()
            },
            ..ConnConfig::default()
        };
        let few = ConnConfig {
            limits: Limits {
                fields: 1,
                ..Limits::default()
            },
            ..ConnConfig::default()
        };
        for _ in 0..2 {
            let taken = read(&with(Underscores::Dangerous), bytes).unwrap();
            assert_eq!((taken.fields().len(), taken.dropped()), (2, 0));
            let dropped = read(&with(Underscores::Drop), bytes).unwrap();
            assert_eq!((dropped.fields().len(), dropped.dropped()), (1, 1));
            assert!(read(&with(Underscores::Refuse), bytes).is_err());
            assert!(read(&few, bytes).is_err());
        }
    }
}
