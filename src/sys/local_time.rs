//! [`LocalTime`]: a moment in the zone of this process, as tzset(3) has it. Python shows the same time.
//!
//! The C library takes a lock for it, which a child that another thread forks in that moment would find held, and stay so.
//!
//! *Invariant*: no fork happens while this module has that lock.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A moment, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalTime {
    pub(crate) year: i64,
    /// From 1 on.
    pub(crate) month: i32,
    pub(crate) day: i32,
    pub(crate) hour: i32,
    pub(crate) minute: i32,
    pub(crate) second: i32,
    pub(crate) offset: Offset,
}

/// How far a zone is ahead of UTC, in seconds. Shown as `+0100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset(pub(crate) i64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs() / 60;
        write!(f, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
    }
}

impl LocalTime {
    /// The time this many seconds after 1970 began; `None` where a calendar has no such time.
    pub(crate) fn at(seconds: i64) -> Option<Self> {
        let mut parts = MaybeUninit::<libc::tm>::uninit();
        let _lock = ZoneLock::take();
        // SAFETY: localtime_r(3) reads the time, which lives, and writes all of the structure unless it gives null.
        let parts = unsafe {
            if libc::localtime_r(&raw const seconds, parts.as_mut_ptr()).is_null() {
                return None;
            }
            parts.assume_init()
        };
        Some(Self {
            year: i64::from(parts.tm_year) + 1900,
            month: parts.tm_mon + 1,
            day: parts.tm_mday,
            hour: parts.tm_hour,
            minute: parts.tm_min,
            second: parts.tm_sec,
            offset: Offset(parts.tm_gmtoff),
        })
    }

    /// The same in UTC, of a time within 30 000 years around 1970.
    pub(crate) fn utc(seconds: i64) -> Option<Self> {
        const DAY: i64 = 86_400;
        let days = seconds.div_euclid(DAY);
        let second = i32::try_from(seconds.rem_euclid(DAY)).ok()?;
        if days.abs() > 30_000 * 365 {
            return None;
        }
        // Years that begin in March have their leap day at the end; 400 of them have 146097 days.
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Some(Self {
            year: year + era * 400 + i64::from(month <= 2),
            month: i32::try_from(month).ok()?,
            day: i32::try_from(day).ok()?,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            offset: Offset(0),
        })
    }

    /// The time of the day, with its zone: `14:07:09 +0100`.
    pub(crate) fn time_of_day(&self) -> impl fmt::Display {
        struct TimeOfDay(LocalTime);
        impl fmt::Display for TimeOfDay {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let LocalTime {
                    hour,
                    minute,
                    second,
                    offset,
                    ..
                } = self.0;
                write!(f, "{hour:02}:{minute:02}:{second:02} {offset}")
            }
        }
        TimeOfDay(*self)
    }
}

/// Whether a thread is in the C library for a time, or forks.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// That of this thread, until it is dropped.
struct ZoneLock(());

impl ZoneLock {
    fn take() -> Self {
        static PREPARED: Once = Once::new();
        // It fails where the system gives no memory: then a child may wait without end, as it would without this.
        // SAFETY: the handlers take nothing, only work on an atomic, and stay where they are.
        PREPARED.call_once(|| unsafe {
            libc::pthread_atfork(Some(take), Some(give), Some(give));
        });
        take();
        Self(())
    }
}

impl Drop for ZoneLock {
    fn drop(&mut self) {
        give();
    }
}

/// It is held for a moment only.
extern "C" fn take() {
    while TAKEN.swap(true, Ordering::Acquire) {
        thread::yield_now();
    }
}

extern "C" fn give() {
    TAKEN.store(false, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What strftime(3) makes of it, for comparison.
    fn shown(seconds: i64) -> String {
        let mut text = [0_u8; 64];
        let format = c"%Y-%m-%d %H:%M:%S %z";
        // SAFETY: the structure is written before it is read, and the text is as long as is said.
        let length = unsafe {
            let mut parts = MaybeUninit::<libc::tm>::uninit();
            assert!(!libc::localtime_r(&raw const seconds, parts.as_mut_ptr()).is_null());
            libc::strftime(
                text.as_mut_ptr().cast(),
                text.len(),
                format.as_ptr(),
                parts.as_ptr(),
            )
        };
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn a_moment_is_what_the_c_library_says() {
        for seconds in [0, 1_772_716_029, 951_782_399, -1, 4_102_444_800] {
            let time = LocalTime::at(seconds).unwrap();
            let text = format!(
                "{}-{:02}-{:02} {:02}:{:02}:{:02} {}",
                time.year, time.month, time.day, time.hour, time.minute, time.second, time.offset
            );
            assert_eq!(text, shown(seconds));
        }
        assert_eq!(LocalTime::at(i64::MAX), None);
    }

    #[test]
    fn a_moment_in_utc_is_what_the_calendar_says() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_772_716_029, "2026-03-05 13:07:09"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
        ] {
            let time = LocalTime::utc(seconds).unwrap();
            let LocalTime {
                year,
                month,
                day,
                hour,
                minute,
                second,
                ..
            } = time;
            let shown = format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
            assert_eq!(shown, text);
        }
        assert_eq!(LocalTime::utc(i64::MAX), None);
    }

    #[test]
    fn an_offset_has_hours_and_minutes() {
        for (seconds, text) in [(0, "+0000"), (-12_600, "-0330"), (20_700, "+0545")] {
            assert_eq!(Offset(seconds).to_string(), text);
        }
    }
}
