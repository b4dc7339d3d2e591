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
    fn an_offset_has_hours_and_minutes() {
        for (seconds, text) in [(0, "+0000"), (-12_600, "-0330"), (20_700, "+0545")] {
            assert_eq!(Offset(seconds).to_string(), text);
        }
    }
}
