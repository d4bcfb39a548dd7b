//! The programs of a fake guest: `echo`, `true`, `false`.

use crate::driver::{DriverError, guest_agent::Ran};

/// Runs one of them.
pub(super) fn run(command: &[String]) -> Result<Ran, DriverError> {
    let ended =
        |code: i32, output: String| Ran { code: Some(code), output: output.into_bytes(), ..Ran::default() };
    match command.split_first() {
        Some((program, words)) if program == "echo" => Ok(ended(0, format!("{}\n", words.join(" ")))),
        Some((program, _)) if program == "true" => Ok(ended(0, String::new())),
        Some((program, _)) if program == "false" => Ok(ended(1, String::new())),
        _ => Err(DriverError::Unfit("its guest agent says no: there is no such program".into())),
    }
}
