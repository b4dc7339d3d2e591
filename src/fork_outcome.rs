//! What came of a fork: [`ForkOutcome`], a leaf, since those who fork and those who are forked share it.
//!
//! Nothing here forks.

/// What came of a fork, to those who were asked to do something around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkOutcome {
    /// This is the parent; the child's process id.
    Parent(i32),
    /// This is the child.
    Child,
    /// There is no child; the reason as an `errno`.
    Failed(i32),
}
