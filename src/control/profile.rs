//! `profile`: the stacks of all workers, sampled for some seconds, as one folded text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::record::Record;
use super::reply::{Reply, number};
use crate::arbiter::Handle;
use crate::ipc::profile::ProfileChannel;
use crate::json::Json;
use crate::time::MonoTime;

/// How many samples a second, where no number is said. It is no divisor of a round number, so that it does not keep step
/// with what the application does.
const RATE: u64 = 97;
/// The most of them, and the most seconds.
const MOST: (u64, u64) = (100, 600);
/// How long the workers may take to report when the time is over.
const GRACE: Duration = Duration::from_secs(2);

/// Has all workers sample for so many seconds.
pub(super) fn begin(words: &[&str], handle: &Handle, record: &Record) -> Reply {
    match start(words, handle, record) {
        Ok(reply) => reply,
        Err(error) => Reply::Now(Err(error)),
    }
}

fn start(words: &[&str], handle: &Handle, record: &Record) -> Result<Reply, String> {
    let (seconds, rate) = match *words {
        [seconds] => (number(seconds)?, RATE),
        [seconds, rate] => (number(seconds)?, number(rate)?),
        _ => return Err("profile SECONDS [RATE]".to_owned()),
    };
    let (most_rate, most_seconds) = MOST;
    if !(1..=most_seconds).contains(&seconds) || !(1..=most_rate).contains(&rate) {
        return Err(format!(
            "a profile takes 1 to {most_seconds} seconds, with 1 to {most_rate} samples in each"
        ));
    }
    let now = MonoTime::now();
    if record.profiles_until.get() > now {
        return Err("another profile is being taken".to_owned());
    }
    let until = now + Duration::from_secs(seconds);
    let every = Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1);
    let channel = Arc::clone(&record.profile);
    let begun = channel.begin(until, every);
    begun.map_err(|error| error.to_string())?;
    record.profiles_until.set(until + GRACE);
    let (handle, ends) = (handle.clone(), Rc::clone(&record.profiles_until));
    Ok(Reply::Later(Box::new(move || {
        let now = MonoTime::now();
        let all = handle.status().workers;
        if now < until || now < until + GRACE && (channel.reports() as usize) < all {
            return None;
        }
        ends.set(MonoTime::ZERO);
        Some(end(&channel, seconds, rate))
    })))
}

fn end(channel: &ProfileChannel, seconds: u64, rate: u64) -> Result<Json, String> {
    let workers = u64::from(channel.reports());
    let text = channel.end();
    if workers == 0 {
        return Err(
            "no worker has sampled: they have no Python, one without an interpreter lock, or threads that gevent \
             replaced"
                .to_owned(),
        );
    }
    let (folded, samples) = merge(&text);
    Ok(Json::object([
        ("seconds", seconds.into()),
        ("rate", rate.into()),
        ("workers", workers.into()),
        ("samples", samples.into()),
        ("folded", folded.into()),
    ]))
}

/// One line for each stack of all workers, and how many samples there are.
fn merge(text: &str) -> (String, u64) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    // What a worker writes may be anything.
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    for (stack, count) in lines {
        if let Ok(count) = count.parse::<u32>() {
            *counts.entry(stack).or_default() += u64::from(count);
        }
    }
    let mut merged = String::new();
    for (stack, count) in &counts {
        // Writing to memory cannot fail.
        let _ = writeln!(merged, "{stack} {count}");
    }
    (merged, counts.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_stacks_are_added_up() {
        let text = "a (x y:1);b 3\nc 1\nno number\n\na (x y:1);b 4\nc -1\n";
        assert_eq!(merge(text), ("a (x y:1);b 7\nc 1\n".to_owned(), 8));
    }
}
