//! [`Semantics`]: what a head's fields mean for the connection and for the message's framing.
//!
//! It does not know where the fields lie, nor how they came.

use super::error::{ParseError, quote};
use super::framing::{Codings, body_length};
use super::syntax::{host_and_port, members};
use super::types::{BodyLength, Version};

/// What a head's fields mean, each for itself and together, for a request line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Semantics {
    /// How the body's end is found.
    pub(super) length: BodyLength,
    /// Whether the connection may serve another request.
    pub(super) keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub(super) expects_continue: bool,
    /// Whether the client asks for another protocol.
    pub(super) upgrades: bool,
    /// How many fields were dropped.
    pub(super) dropped: usize,
}

/// The meaning of a head's fields for the connection, while they are read.
#[derive(Debug, Default)]
pub(super) struct SemanticsBuilder<'b> {
    host: Option<&'b [u8]>,
    content_type: Option<&'b [u8]>,
    length: Option<&'b [u8]>,
    codings: Codings,
    persistence: Persistence,
    expects_continue: bool,
    /// Whether there is an `Upgrade`, and a `Connection` that lists it (RFC 9110 §7.8).
    upgrade: (bool, bool),
}

/// The meaning of the options of all `Connection` fields together (RFC 9110 §7.6.1). Later variants are stronger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Persistence {
    #[default]
    Unsaid,
    KeepAlive,
    Close,
}

impl<'b> SemanticsBuilder<'b> {
    pub(super) fn add(&mut self, name: &[u8], value: &'b [u8]) -> Result<(), ParseError> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            4 if is("host") => once(self.host.replace(value).is_some(), "Host"),
            6 if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(ParseError::Expectation(quote(value)));
                }
                self.expects_continue = true;
                Ok(())
            }
            7 if is("upgrade") => {
                self.upgrade.0 = true;
                Ok(())
            }
            10 if is("connection") => {
                for option in members(value) {
                    let said = if option.eq_ignore_ascii_case(b"close") {
                        Persistence::Close
                    } else if option.eq_ignore_ascii_case(b"keep-alive") {
                        Persistence::KeepAlive
                    } else {
                        self.upgrade.1 |= option.eq_ignore_ascii_case(b"upgrade");
                        Persistence::Unsaid
                    };
                    self.persistence = self.persistence.max(said);
                }
                Ok(())
            }
            12 if is("content-type") => {
                once(self.content_type.replace(value).is_some(), "Content-Type")
            }
            14 if is("content-length") => {
                once(self.length.replace(value).is_some(), "Content-Length")
            }
            17 if is("transfer-encoding") => {
                self.codings = self.codings.add(value)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What the fields mean in a request of this version and method; `dropped` is the number of those that are not among
    /// them.
    pub(super) fn build(
        &self,
        version: Version,
        method: &[u8],
        dropped: usize,
    ) -> Result<Semantics, ParseError> {
        let length = self.length(version)?;
        Ok(Semantics {
            length,
            keep_alive: self.keep_alive(version, method),
            expects_continue: self.expects_continue
                && version >= Version::HTTP_11
                && length != BodyLength::Empty,
            upgrades: self.upgrade == (true, true) && version >= Version::HTTP_11,
            dropped,
        })
    }

    /// The body's length; refuses what RFC 9112 §3.2 and §6.3 tell a server to refuse.
    fn length(&self, version: Version) -> Result<BodyLength, ParseError> {
        match self.host {
            None if version >= Version::HTTP_11 => return Err(ParseError::NoHost),
            // Empty where the target has no authority (RFC 9110 §7.2).
            Some(host) if !host.is_empty() && host_and_port(host).is_none() => {
                return Err(ParseError::Host(quote(host)));
            }
            _ => {}
        }
        body_length(version, self.length, self.codings)
    }

    /// RFC 9112 §9.3; and no second request after CONNECT or a body in a coding that we do not undo.
    fn keep_alive(&self, version: Version, method: &[u8]) -> bool {
        let kept = match self.persistence {
            Persistence::Close => false,
            Persistence::KeepAlive => true,
            Persistence::Unsaid => version >= Version::HTTP_11,
        };
        kept && method != b"CONNECT" && !self.codings.is_compressed()
    }
}

fn once(repeated: bool, name: &'static str) -> Result<(), ParseError> {
    if repeated {
        Err(ParseError::Repeated(name))
    } else {
        Ok(())
    }
}
