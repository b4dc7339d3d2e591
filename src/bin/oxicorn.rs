//! Gunicorn's program: `oxicorn [OPTIONS] MODULE:APP`.

use std::process::ExitCode;

fn main() -> ExitCode {
    oxicorn::cli::main()
}
