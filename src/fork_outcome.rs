//! [`ForkOutcome`]: a leaf, since the layer that forks and the layers around a fork share it.
//!
//! Nothing here forks.

/// What came of a fork, for code that runs around it. Exhaustive: fork(2) ends in one of these, and such code has to tell
/// them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkOutcome {
    /// This is the parent; the child's process id.
    Parent(i32),
    /// This is the child.
    Child,
    /// There is no child; the reason as an `errno`.
    Failed(i32),
}
