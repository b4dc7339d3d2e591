//! Events for the operator: `tracing` behind the feature of that name, nothing at all without it.
//!
//! The format strings are always checked, so that a build without the feature cannot rot.

macro_rules! event {
    ($level:ident, $($arg:tt)+) => {{
        #[cfg(feature = "tracing")]
        ::tracing::$level!(target: "oxicorn", $($arg)+);
        #[cfg(not(feature = "tracing"))]
        {
            let _ = || ::std::format!($($arg)+);
        }
    }};
}
macro_rules! error { ($($arg:tt)+) => { $crate::trace::event!(error, $($arg)+) }; }
macro_rules! warning { ($($arg:tt)+) => { $crate::trace::event!(warn, $($arg)+) }; }
macro_rules! info { ($($arg:tt)+) => { $crate::trace::event!(info, $($arg)+) }; }
macro_rules! debug { ($($arg:tt)+) => { $crate::trace::event!(debug, $($arg)+) }; }

pub(crate) use {debug, error, event, info, warning};
