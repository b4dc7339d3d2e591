//! Events for the operator: through `tracing`, behind the feature of that name. Without a subscriber, or
//! without the feature, errors and warnings go to the standard error, since they may be all that a failure leaves.
//! Other events are dropped then.
//!
//! The format strings are always checked, so that a build without the feature cannot rot.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::process;
use std::sync::Arc;

use crate::sys::sigpipe;

macro_rules! event {
    ($level:ident, critical = true, $($arg:tt)+) => {{
        #[cfg(feature = "tracing")]
        ::tracing::$level!(target: "oxicorn", critical = true, $($arg)+);
        #[cfg(not(feature = "tracing"))]
        {
            let _ = || ::std::format!($($arg)+);
        }
    }};
    ($level:ident, $($arg:tt)+) => {{
        #[cfg(feature = "tracing")]
        ::tracing::$level!(target: "oxicorn", $($arg)+);
        #[cfg(not(feature = "tracing"))]
        {
            let _ = || ::std::format!($($arg)+);
        }
    }};
}
macro_rules! grave_event {
    ($level:ident, $name:literal, $($arg:tt)+) => {{
        if $crate::trace::is_heard() {
            $crate::trace::event!($level, $($arg)+);
        } else {
            $crate::trace::say($name, ::std::format_args!($($arg)+));
        }
    }};
}
/// Like an error, and shown as critical.
macro_rules! critical {
    ($($arg:tt)+) => {{
        if $crate::trace::is_heard() {
            $crate::trace::event!(error, critical = true, $($arg)+);
        } else {
            $crate::trace::say("CRITICAL", ::std::format_args!($($arg)+));
        }
    }};
}
macro_rules! error { ($($arg:tt)+) => { $crate::trace::grave_event!(error, "ERROR", $($arg)+) }; }
macro_rules! warning { ($($arg:tt)+) => { $crate::trace::grave_event!(warn, "WARNING", $($arg)+) }; }
macro_rules! info { ($($arg:tt)+) => { $crate::trace::event!(info, $($arg)+) }; }
macro_rules! debug { ($($arg:tt)+) => { $crate::trace::event!(debug, $($arg)+) }; }

pub(crate) use {critical, debug, error, event, grave_event, info, warning};

thread_local! {
    /// The id of the request that this thread is at work for.
    static REQUEST: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// From now on what this thread says is about the request of that id, until the guard is dropped. `None` changes nothing.
#[must_use = "the request is over when it is dropped"]
pub(crate) fn of_request(id: Option<&Arc<str>>) -> Option<RequestGuard> {
    id.map(|id| RequestGuard(REQUEST.replace(Some(Arc::clone(id)))))
}

/// Has the request that was before it.
pub(crate) struct RequestGuard(Option<Arc<str>>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        // A thread that ends may have lost it.
        let _ = REQUEST.try_with(|request| request.replace(self.0.take()));
    }
}

/// Gives `read` the id of the request that this thread is at work for.
pub(crate) fn request_id<T>(read: impl FnOnce(Option<&str>) -> T) -> T {
    let id = REQUEST.try_with(|request| request.borrow().clone());
    read(id.ok().flatten().as_deref())
}

/// Whether somebody hears events: a subscriber for the whole process, or for this thread.
pub(crate) fn is_heard() -> bool {
    #[cfg(feature = "tracing")]
    return !tracing::dispatcher::get_default(|dispatch| {
        dispatch.is::<tracing::subscriber::NoSubscriber>()
    });
    #[cfg(not(feature = "tracing"))]
    false
}

/// Writes a message to the standard error, in one write and without its lock: a thread that does not exist in this
/// child of its process may hold that.
pub(crate) fn say(level: &str, message: fmt::Arguments<'_>) {
    let line = request_id(|id| match id {
        None => format!("[{}] [{level}] {message}\n", process::id()),
        Some(id) => format!("[{}] [{level}] [{id}] {message}\n", process::id()),
    });
    // The standard error may be closed: then the line is lost.
    let _ = sigpipe::write_all(io::stderr(), line.as_bytes());
}
