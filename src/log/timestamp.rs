//! [`Timestamp`]: the time of a line, made anew when the second changes.

use std::fmt::Write as _;
use std::time::Duration;

use crate::sys::local_time::{LocalTime, Offset};

/// The time of a line, as text.
#[derive(Debug, Default)]
pub(super) struct Timestamp {
    utc: bool,
    second: u64,
    text: String,
}

/// The months, as every reader of such a log knows them.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Timestamp {
    /// A stamp in UTC, or in the zone of the process.
    pub(super) fn new(utc: bool) -> Self {
        Self {
            utc,
            ..Self::default()
        }
    }

    /// `[05/Mar/2026:14:07:09 +0100]`, of a moment in seconds since 1970.
    pub(super) fn at(&mut self, second: u64) -> &str {
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.set(moment(second, self.utc));
        }
        &self.text
    }

    fn set(&mut self, time: LocalTime) {
        self.text.clear();
        let month = usize::try_from(time.month - 1).map_or("", |month| MONTHS[month]);
        let (year, day, time) = (time.year, time.day, time.time_of_day());
        let _ = write!(self.text, "[{day:02}/{month}/{year}:{time}]");
    }

    /// `2026-03-05T14:07:09.250+01:00` (RFC 3339), of a moment since 1970.
    pub(super) fn iso(&mut self, since: Duration) -> &str {
        self.text.clear();
        iso(&mut self.text, since, self.utc);
        &self.text
    }
}

/// Adds `2026-03-05T14:07:09.250+01:00` (RFC 3339), of a moment since 1970.
pub(super) fn iso(out: &mut impl std::fmt::Write, since: Duration, utc: bool) {
    let time = moment(since.as_secs(), utc);
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..
    } = time;
    let millis = since.subsec_millis();
    let (sign, ahead) = (
        if time.offset.0 < 0 { '-' } else { '+' },
        time.offset.0.unsigned_abs() / 60,
    );
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}"
    );
    let _ = write!(out, "{sign}{:02}:{:02}", ahead / 60, ahead % 60);
}

/// A moment in seconds since 1970.
pub(super) fn moment(second: u64, utc: bool) -> LocalTime {
    let at = if utc { LocalTime::utc } else { LocalTime::at };
    i64::try_from(second).ok().and_then(at).unwrap_or(BEGINNING)
}

/// The time of a clock that shows what no calendar has.
const BEGINNING: LocalTime = LocalTime {
    year: 1970,
    month: 1,
    day: 1,
    hour: 0,
    minute: 0,
    second: 0,
    offset: Offset(0),
};

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "[05/Mar/2026:14:07:09 +0100]";

    #[test]
    fn time_is_made_once_a_second() {
        let mut stamp = Timestamp::default();
        stamp.set(LocalTime {
            year: 2026,
            month: 3,
            day: 5,
            hour: 14,
            minute: 7,
            second: 9,
            offset: Offset(3600),
        });
        assert_eq!(stamp.text, TIME);
        stamp.at(1_772_716_029);
        stamp.text.replace_range(.., "kept");
        assert_eq!(stamp.at(1_772_716_029), "kept");
        assert_ne!(stamp.at(1_772_716_030), "kept");
        assert_eq!(stamp.at(u64::MAX), "[01/Jan/1970:00:00:00 +0000]");
    }

    #[test]
    fn a_time_in_utc_says_so() {
        let moment = Duration::from_millis(1_772_716_029_250);
        let mut stamp = Timestamp::new(true);
        assert_eq!(stamp.at(moment.as_secs()), "[05/Mar/2026:13:07:09 +0000]");
        assert_eq!(stamp.iso(moment), "2026-03-05T13:07:09.250+00:00");
    }
}
