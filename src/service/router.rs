//! [`Router`]: several services behind one, each below a path of its own.
//!
//! *Invariants*: a request goes to the service with the longest path that it is below, whatever the order of the mounts.

use std::any::Any;
use std::fmt;

use super::{
    Layer, MakeService, Releaser, Request, Responded, Responder, Service, ServiceContext,
    ServiceRuntime,
};
use crate::error::{Error, Result};
use crate::fork_outcome::ForkOutcome;

/// A recipe for a service that sends each request on, by its path: a WSGI application below one, Rust below another.
///
/// A request that is below no mount is answered with 404. Two services of one runtime share it: for two WSGI applications
/// there is one interpreter.
///
/// ```no_run
/// use oxicorn::service::Router;
/// use oxicorn::{Request, Responder, Server};
///
/// fn main() -> oxicorn::Result<()> {
///     let shop = |request: Request<'_>, reply: Responder<'_>| reply.text(200, request.path());
///     let ping = |_: Request<'_>, reply: Responder<'_>| reply.status(204);
///     let site = Router::new().mount("/shop", shop).mount("/ping", ping);
///     Server::bind("127.0.0.1:8000")?.threads(4).serve(site)
/// }
/// ```
#[derive(Default)]
pub struct Router {
    /// The longest path first.
    mounts: Vec<Mounted<Box<dyn AnyMake + Send>>>,
}

/// The services of a [`Router`].
pub struct Routed {
    mounts: Vec<Mounted<BoxService>>,
}

struct Mounted<T> {
    /// The path, without a slash at its end: it is empty for all requests.
    path: String,
    it: T,
}

/// A service of any type.
struct BoxService(Box<dyn Service + Send + Sync>);

/// Makes services of any type of one type.
struct Boxing;

/// A recipe of any type, which another one can [succeed](MakeService::succeed).
trait AnyMake: MakeService<Service = BoxService> {
    fn as_any(&self) -> &dyn Any;

    fn succeed_any(&mut self, former: &dyn Any);
}

impl Router {
    /// A router without services: every request gets 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends the requests below `path` to the service that `make` gives: `/shop` for itself and all that begins with
    /// `/shop/`, `/` for all that is below no other mount. The path is the decoded one, and a slash at its end does not
    /// count. The service sees the [rest of the path](Request::path), and a WSGI application has `path` in its
    /// `SCRIPT_NAME` (PEP 3333).
    ///
    /// A path that does not begin with a slash, and one that is mounted already, are errors where the service is made.
    #[must_use]
    pub fn mount<M>(mut self, path: impl Into<String>, make: M) -> Self
    where
        M: MakeService<Service: Send + Sync + 'static> + Send + 'static,
    {
        let mut path = path.into();
        path.truncate(path.trim_end_matches('/').len());
        self.mounts.push(Mounted {
            path,
            it: Box::new(make.layer(Boxing)),
        });
        self.mounts
            .sort_by_key(|mount| std::cmp::Reverse(mount.path.len()));
        self
    }

    fn check(&self) -> Result<()> {
        let mut seen: Vec<&str> = Vec::new();
        for Mounted { path, .. } in &self.mounts {
            if !(path.is_empty() || path.starts_with('/')) {
                return Err(Error::config(format!(
                    "a mount's path begins with a slash, and {path:?} does not"
                )));
            }
            if seen.contains(&&**path) {
                return Err(Error::config(format!(
                    "two services are mounted at {path:?}"
                )));
            }
            seen.push(path);
        }
        Ok(())
    }
}

impl MakeService for Router {
    type Service = Routed;

    fn make(&self, context: &ServiceContext<'_>) -> Result<Routed> {
        self.check()?;
        let made = self.mounts.iter().map(|Mounted { path, it }| {
            Ok(Mounted {
                path: path.clone(),
                it: it.make(context)?,
            })
        });
        Ok(Routed {
            mounts: made.collect::<Result<_>>()?,
        })
    }

    fn succeed(&mut self, former: &Self) {
        for mount in &mut self.mounts {
            if let Some(former) = former.mounts.iter().find(|other| other.path == mount.path) {
                mount.it.succeed_any((*former.it).as_any());
            }
        }
    }

    fn preload(&mut self) -> Result<()> {
        self.check()?;
        self.mounts
            .iter_mut()
            .try_for_each(|mount| mount.it.preload())
    }

    /// The first one that there is.
    fn interrupter(&self) -> Option<fn(i32)> {
        self.mounts.iter().find_map(|mount| mount.it.interrupter())
    }

    fn is_preloaded(&self) -> bool {
        self.mounts.iter().any(|mount| mount.it.is_preloaded())
    }

    fn around_fork(&mut self, fork: &mut dyn FnMut() -> ForkOutcome) {
        around_fork(&mut self.mounts, fork);
    }

    fn unload(&mut self) {
        for mount in &mut self.mounts {
            mount.it.unload();
        }
    }

    fn end(&self) {
        for mount in &self.mounts {
            mount.it.end();
        }
    }

    /// The first one that there is.
    fn releaser(&self) -> Option<Releaser> {
        self.mounts.iter().find_map(|mount| mount.it.releaser())
    }
}

/// Forks within what each of the recipes does around a fork.
fn around_fork(
    mounts: &mut [Mounted<Box<dyn AnyMake + Send>>],
    fork: &mut dyn FnMut() -> ForkOutcome,
) {
    match mounts.split_first_mut() {
        None => drop(fork()),
        Some((first, others)) => first.it.around_fork(&mut || {
            let mut outcome = None;
            around_fork(others, &mut || *outcome.insert(fork()));
            outcome.unwrap_or_else(|| unreachable!("a recipe forks exactly once"))
        }),
    }
}

impl Service for Routed {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        let path = &request.head().path()[request.mount().len()..];
        let found = self
            .mounts
            .iter()
            .find_map(|mount| Some((mount, prefix_len(path, &mount.path)?)));
        match found {
            Some((mount, length)) => mount.it.0.call(request.mounted_at(length), reply),
            None => reply.text(404, "There is no such page here\n"),
        }
    }

    fn retire(&self) {
        for mount in &self.mounts {
            mount.it.0.retire();
        }
    }

    fn interrupt(&self) {
        for mount in &self.mounts {
            mount.it.0.interrupt();
        }
    }

    /// The first one that there is.
    fn interrupter(&self) -> Option<fn(i32)> {
        self.mounts
            .iter()
            .find_map(|mount| mount.it.0.interrupter())
    }

    fn abandon(&self) {
        for mount in &self.mounts {
            mount.it.0.abandon();
        }
    }

    /// The first one that there is.
    fn runtime(&self) -> Option<&dyn ServiceRuntime> {
        self.mounts.iter().find_map(|mount| mount.it.0.runtime())
    }
}

impl<S: Service + Send + Sync + 'static> Layer<S> for Boxing {
    type Service = BoxService;

    fn layer(&self, service: S, _: &ServiceContext<'_>) -> Result<BoxService> {
        Ok(BoxService(Box::new(service)))
    }
}

impl Service for BoxService {
    fn call(&self, request: Request<'_>, reply: Responder<'_>) -> Result<Responded> {
        self.0.call(request, reply)
    }

    fn inner(&self) -> Option<&dyn Service> {
        Some(&*self.0)
    }
}

impl<M: MakeService<Service = BoxService> + 'static> AnyMake for M {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn succeed_any(&mut self, former: &dyn Any) {
        if let Some(former) = former.downcast_ref() {
            self.succeed(former);
        }
    }
}

/// Tells how much of `path`, as it was sent, is the decoded `prefix`: the same, or some of its segments. An encoded
/// slash separates none (RFC 3986 §2.2).
fn prefix_len(path: &str, prefix: &str) -> Option<usize> {
    if prefix.is_empty() {
        return Some(0);
    }
    let mut at = 0;
    for &expected in prefix.as_bytes() {
        let rest = &path.as_bytes()[at..];
        let (byte, length) = match (rest.first()?, encoded_byte(rest)) {
            (_, Some(byte)) => (byte, 3),
            (&byte, None) => (byte, 1),
        };
        if byte != expected || byte == b'/' && length == 3 {
            return None;
        }
        at += length;
    }
    matches!(path.as_bytes().get(at), None | Some(b'/')).then_some(at)
}

/// The byte that `text` begins with the encoding of, if it does.
fn encoded_byte(text: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.mounts.iter().map(|mount| &mount.path))
            .finish()
    }
}

impl fmt::Debug for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.mounts.iter().map(|mount| &mount.path))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_whole_segments_however_it_is_encoded() {
        for (path, prefix, expected) in [
            ("/shop", "/shop", Some(5)),
            ("/shop/cart", "/shop", Some(5)),
            ("/shopping", "/shop", None),
            ("/sho", "/shop", None),
            ("/%73hop/", "/shop", Some(7)),
            ("/shop%2Fcart", "/shop", None),
            ("%2Fshop", "/shop", None),
            ("/caf%C3%A9", "/café", Some(10)),
            ("/%zz", "/%zz", Some(4)),
            ("/", "", Some(0)),
            ("*", "", Some(0)),
        ] {
            assert_eq!(prefix_len(path, prefix), expected, "{path} below {prefix}");
        }
    }
}
