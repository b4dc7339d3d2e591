//! Bridges to the types of other crates: [`http`], and [`tower`] for services of asynchronous programs.
//!
//! Each is behind a feature of its own, off by default. Nothing else in the crate names those types.

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "tower")]
pub mod tower;
