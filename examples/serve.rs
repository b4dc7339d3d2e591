//! A small gunicorn: `serve [OPTIONS] MODULE:APP`.

use std::process::ExitCode;

fn main() -> ExitCode {
    oxicorn::cli::main()
}
