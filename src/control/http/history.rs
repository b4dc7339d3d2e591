//! [`History`]: the last minutes of a server, for the plots of the page.
//!
//! It is this process's own, and begins anew with it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::metrics::Snapshot;
use crate::time::MonoTime;

/// The time between two samples.
const EVERY: Duration = Duration::from_secs(2);
/// How many are kept: five minutes.
const KEPT: usize = 150;

#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: MonoTime,
    requests: u64,
    /// How long all requests took together, and how many of them are in that sum.
    took: Duration,
    timed: u64,
    busy: usize,
}

impl History {
    /// When the next sample is due.
    pub(super) fn due(&self) -> MonoTime {
        let last = self.0.back();
        last.map_or(MonoTime::ZERO, |last| last.at + EVERY)
    }

    pub(super) fn add(&mut self, now: MonoTime, snapshot: &Snapshot) {
        let Some(totals) = &snapshot.totals else {
            return;
        };
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Sample {
            at: now,
            requests: totals.requests,
            took: totals.durations.sum,
            timed: totals.durations.buckets.last().map_or(0, |last| last.1),
            busy: snapshot.in_flight(),
        });
    }

    /// Requests a second.
    pub(super) fn rates(&self) -> Vec<f64> {
        self.steps(|before, after, seconds| {
            let more = after.requests.saturating_sub(before.requests);
            float(more) / seconds
        })
    }

    /// The mean duration of a request in milliseconds; 0 where none has ended.
    pub(super) fn latencies(&self) -> Vec<f64> {
        self.steps(|before, after, _| {
            let timed = after.timed.saturating_sub(before.timed).max(1);
            let took = after.took.saturating_sub(before.took);
            took.as_secs_f64() * 1e3 / float(timed)
        })
    }

    /// Requests that were being answered.
    pub(super) fn busy(&self) -> Vec<f64> {
        self.steps(|_, after, _| float(after.busy as u64))
    }

    fn steps(&self, value: impl Fn(&Sample, &Sample, f64) -> f64) -> Vec<f64> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        pairs
            .map(|(before, after)| {
                let seconds = after.at.since(before.at).as_secs_f64();
                value(before, after, seconds.max(0.001))
            })
            .collect()
    }
}

/// What is more than two thousand million in two seconds is shown as that.
fn float(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, requests: u64, millis: u64) -> Sample {
        Sample {
            at: MonoTime::ZERO + Duration::from_secs(seconds),
            requests,
            took: Duration::from_millis(millis),
            timed: requests,
            busy: 1,
        }
    }

    #[test]
    fn rates_and_durations_are_those_between_two_samples() {
        let samples = [sample(1, 10, 100), sample(3, 30, 200), sample(4, 30, 200)];
        let history = History(samples.into());
        assert_eq!(history.rates(), [10.0, 0.0]);
        assert_eq!(history.latencies(), [5.0, 0.0]);
        assert_eq!(history.busy().len(), 2);
        assert!(History::default().rates().is_empty());
    }
}
