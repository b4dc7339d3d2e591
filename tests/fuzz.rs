//! The fuzz targets as ordinary tests: over their seeds and over as many mutations of those as are asked for.
//!
//! `OXICORN_FUZZ=1000000 cargo test --release --test fuzz` runs that many of each. The mutations are the same
//! each time, so a failure is found again; libFuzzer, which looks at the coverage, is in `fuzz/`.

use std::env;
use std::fs;
use std::path::Path;

mod fuzzing;

/// Runs of each target if nobody asks for more.
const RUNS: usize = 3000;

/// Words that the protocol means something by.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\"",
    b"\\",
    b"_",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"chunked",
    b"identity, ",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b" HTTP/1.1\r\n",
];

/// Marsaglia's xorshift: the same numbers each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n.max(1) as u64).expect("it is below a usize")
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        start..start + self.below((len - start).min(16) + 1)
    }
}

/// One to four changes.
fn mutate(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        match dice.below(6) {
            0 => input.insert(at, u8::try_from(dice.below(256)).expect("it is below 256")),
            1 if at < input.len() => input[at] ^= 1 << dice.below(8),
            2 => drop(input.drain(dice.range(input.len()))),
            3 => {
                let copy = input[dice.range(input.len())].to_vec();
                input.splice(at..at, copy);
            }
            4 => drop(input.splice(at.., other[dice.below(other.len() + 1)..].iter().copied())),
            _ => {
                let word = WORDS[dice.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
        }
    }
    input.truncate(4096);
}

/// Runs a target over its seeds and over mutations of them.
fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzzing/seeds")
        .join(name);
    let entries = fs::read_dir(&folder).expect("the seeds are there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    paths.sort();
    let seeds: Vec<_> = paths
        .iter()
        .map(|path| fs::read(path).expect("it is readable"))
        .collect();
    for seed in &seeds {
        target(seed);
    }
    let runs =
        env::var("OXICORN_FUZZ").map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut input = Vec::new();
    for n in 0..runs {
        // A few mutations pile up before a seed is taken afresh.
        if n % 8 == 0 {
            input.clone_from(&seeds[dice.below(seeds.len())]);
        }
        let other = dice.below(seeds.len());
        mutate(&mut dice, &mut input, &seeds[other]);
        target(&input);
    }
}

#[test]
fn any_head_is_read_as_the_rfc_says() {
    run("head", fuzzing::head);
}

#[test]
fn any_chunked_body_is_read_as_the_rfc_says() {
    run("body", fuzzing::body);
}

#[test]
fn any_preface_is_decided_alike_however_much_has_come() {
    run("preface", fuzzing::preface);
}

#[test]
fn any_script_leaves_a_connection_sound() {
    run("conn", fuzzing::conn);
}
