//! libFuzzer's way to the body of the same name in `tests/fuzzing`.
#![no_main]

#[path = "../../tests/fuzzing/mod.rs"]
#[allow(dead_code)]
mod fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::preface(data));
