//! [`Episode`]: a trouble that is logged once while it lasts.

use std::time::Duration;

use crate::time::MonoTime;

/// How long a trouble has to stay away before the next one is another.
const APART: Duration = Duration::from_secs(60);

/// The troubles of a reactor that come back as long as their cause lasts.
#[derive(Debug, Default)]
pub(super) struct Episodes {
    /// Files hold more than they should of responses.
    pub(super) overfull: Episode,
    /// There is no room for a body in files.
    pub(super) no_room: Episode,
    /// A file cannot be written.
    pub(super) unwritable: Episode,
}

#[derive(Debug, Default)]
pub(super) struct Episode {
    met: Option<MonoTime>,
}

impl Episode {
    /// The trouble is met: tells whether an episode begins, and with it a line of the log.
    pub(super) fn begins(&mut self, now: MonoTime) -> bool {
        let before = self.met.replace(now);
        before.is_none_or(|before| now.since(before) >= APART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_lasts_while_the_trouble_comes_back() {
        let mut episode = Episode::default();
        let at = |n| MonoTime::ZERO + APART * n / 2;
        assert!(episode.begins(at(0)));
        assert!(!episode.begins(at(1)) && !episode.begins(at(2)) && !episode.begins(at(3)));
        assert!(episode.begins(at(5)));
    }
}
