//! The `alarmcast` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    alarmcast::cli::main()
}
