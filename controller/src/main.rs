//! The program `skerry`; all of it is in the library beside.

use std::process::ExitCode;

fn main() -> ExitCode {
    skerry::main()
}
