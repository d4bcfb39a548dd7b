//! What `skerry` does besides for the commands carried out in a guest: `exec` is as a program run here,
//! `file read` and `file write` carry files, and `password` asks for one.

mod files;
mod secret;

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use skerry_stanzas::reply::Executed;

pub use self::files::{read, write};
use crate::{
    call::Reply,
    cli::{Asked, Output},
    commands,
    failure::{Failure, Kind, Outcome},
    plan::{Plan, Planned},
};

/// The most that a command in a guest is given to read, in bytes; longer ones are refused by the host too.
const INPUT_BYTES_MAX: usize = 48 << 10;

/// The plan, with what is not among the words of the command line.
///
/// # Errors
/// It cannot be read, or is too much.
pub fn completed(asked: &Asked, mut plan: Plan) -> Outcome<Plan> {
    if asked.exec.as_ref().is_some_and(|exec| exec.stdin) {
        let text = String::from_utf8(bounded(std::io::stdin().lock(), INPUT_BYTES_MAX)?)
            .map_err(|_| Failure::usage("what is read from the standard input is no text"))?;
        add(&mut plan, &format!("--input={text}"));
    }
    if let Some(args) = &asked.password {
        add(&mut plan, &format!("--password={}", secret::password(args)?));
        if !args.plain && !plan.calls.iter().any(is_hashed) {
            add(&mut plan, "--hashed");
        }
    }
    Ok(plan)
}

fn is_hashed(planned: &Planned) -> bool {
    planned.call.argv.iter().any(|word| word == "--hashed")
}

fn add(plan: &mut Plan, word: &str) {
    for planned in &mut plan.calls {
        planned.call.argv.push(word.to_owned());
    }
}

/// All there is to read, when it is not too much.
fn bounded(from: impl std::io::Read, bytes_max: usize) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > bytes_max {
        true => Err(Failure::usage(format!("that is too much to read: at most {bytes_max} bytes"))),
        false => Ok(bytes),
    }
}

/// Shows how commands in guests ended. One alone is as if it had run here: what it wrote goes where that
/// belongs, and its end is ours.
///
/// # Errors
/// It ended otherwise than well; or was not run.
pub fn show_ends(results: Vec<(&Planned, Outcome<Reply>)>, output: Output, one: bool) -> Outcome<()> {
    let ends: Vec<Option<Executed>> = results
        .iter()
        .map(|(_, result)| serde_json::from_value(result.as_ref().ok()?.json.clone()).ok())
        .collect();
    match ends.as_slice() {
        [Some(end)] if one && output != Output::Json => {
            let written = |lines: &[String], to: &mut dyn std::io::Write| {
                lines.iter().try_for_each(|line| writeln!(to, "{line}"))
            };
            written(&end.output, &mut std::io::stdout().lock())?;
            written(&end.errors, &mut std::io::stderr().lock())?;
            if end.cut {
                eprintln!("skerry: this is the end of what it wrote");
            }
        }
        _ => commands::show(results, output, one)?,
    }
    match ends.iter().flatten().map(code).max() {
        None | Some(0) => Ok(()),
        Some(code) => Err(Failure::new(Kind::Ended(code), format!("it ended with code {code}"))),
    }
}

/// As a shell has it.
fn code(end: &Executed) -> u8 {
    let code = match (end.code, end.signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => signal.saturating_add(128),
        (None, None) => 255,
    };
    u8::try_from(code).unwrap_or(255)
}

/// A failure of ours told apart from one of the command in the guest.
pub fn not_run(asked: &Asked, failure: Failure) -> Failure {
    let ours = !matches!(failure.kind, Kind::Ended(_) | Kind::Interrupted | Kind::OutputClosed);
    match asked.exec.is_some() && ours {
        true => Failure { kind: Kind::NotRun, ..failure },
        false => failure,
    }
}

/// The bytes in an answer.
fn decoded(text: &str) -> Outcome<Vec<u8>> {
    BASE64.decode(text).map_err(|_| Failure::new(Kind::Internal, "the host answered with no base64"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_end_in_the_guest_is_ours() {
        let end = |code, signal| Executed {
            name: "web1".into(),
            code,
            signal,
            output: vec![],
            errors: vec![],
            cut: false,
        };
        assert_eq!(code(&end(Some(0), None)), 0);
        assert_eq!(code(&end(Some(3), None)), 3);
        assert_eq!(code(&end(None, Some(9))), 137);
        assert_eq!(code(&end(Some(-1), None)), 255);
        assert_eq!(code(&end(None, None)), 255);
    }

    #[test]
    fn what_is_read_is_bounded() {
        assert_eq!(bounded(&b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(bounded(&b"abcd"[..], 3).unwrap_err().kind, Kind::Usage);
    }
}
