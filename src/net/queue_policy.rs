//! [`QueuePolicy`]: the treatment of connections that wait to be accepted when a server stops.

/// How a server that stops treats the connections that wait in its listeners' queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueuePolicy {
    /// They stay there: another process accepts them.
    #[default]
    Keep,
    /// They are accepted first, however many there are.
    Drain,
    /// The same, and then new connections are refused, even if another process that leaves as well, but is
    /// busy, has the listeners still (`shutdown(2)`).
    DrainAndClose,
}
