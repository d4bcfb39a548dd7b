//! Files of the guest: read and written through its agent, a piece at a time.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use skerry_stanzas::{
    command::machine,
    refusal::{Reason, Refusal},
    reply::{FileWritten, GuestFile},
};

use super::{Handle, agent_of, said};
use crate::{agent::Agent, dispatch::Job, handler::console::lines};

/// The most that is read or written at once, in bytes: an answer has it twice, and a stanza has 256 KiB.
const PIECE_BYTES_MAX: usize = 48 << 10;
/// Lines shown of it.
const LINES_MAX: u32 = 200;
/// The longest path.
const PATH_BYTES_MAX: usize = 1024;

impl Handle<machine::FileRead> for Agent {
    async fn handle(&self, job: &Job, command: machine::FileRead) -> Result<GuestFile, Refusal> {
        let machine = job.machine()?;
        let agent = agent_of(machine)?;
        checked(&command.path)?;
        let wanted = usize::try_from(command.bytes).unwrap_or(PIECE_BYTES_MAX).clamp(1, PIECE_BYTES_MAX);
        let part = agent
            .read(machine.card.id, &command.path, command.from, wanted)
            .await
            .map_err(|error| said(machine, error))?;
        let text = std::str::from_utf8(&part.bytes).is_ok_and(|text| !text.contains('\0'));
        Ok(GuestFile {
            name: machine.record().name.to_string(),
            path: command.path,
            from: command.from,
            bytes: part.bytes.len() as u64,
            ends: part.ends,
            lines: text.then(|| lines(&part.bytes, LINES_MAX)),
            base64: BASE64.encode(&part.bytes),
        })
    }
}

impl Handle<machine::FileWrite> for Agent {
    async fn handle(&self, job: &Job, command: machine::FileWrite) -> Result<FileWritten, Refusal> {
        let machine = job.machine()?;
        let agent = agent_of(machine)?;
        checked(&command.path)?;
        let bytes = match (command.text, command.base64) {
            (Some(text), None) => line_ended(text.0),
            (None, Some(encoded)) => {
                let encoded: String = encoded.0.split_whitespace().collect();
                BASE64
                    .decode(encoded)
                    .map_err(|_| Refusal::new(Reason::BadRequest, "That is no base64.").field("base64"))?
            }
            (None, None) => {
                return Err(Refusal::new(Reason::BadRequest, "There is nothing to write.")
                    .hint("Write what is to be in it: file write /etc/motd Ask ann first.")
                    .field("text"));
            }
            (Some(_), Some(_)) => {
                return Err(
                    Refusal::new(Reason::BadRequest, "Give text or base64, not both.").field("base64")
                );
            }
        };
        if bytes.len() > PIECE_BYTES_MAX {
            let text = format!("That is too much at once: at most {PIECE_BYTES_MAX} bytes.");
            return Err(Refusal::new(Reason::BadRequest, text)
                .hint("Write it in pieces, all but the first with append=yes; skerry file write does."));
        }
        agent
            .write(machine.card.id, &command.path, &bytes, command.append)
            .await
            .map_err(|error| said(machine, error))?;
        let name = machine.record().name.to_string();
        Ok(FileWritten { name, path: command.path, bytes: bytes.len() as u64 })
    }
}

/// Text of which every line is ended, as an editor writes it.
fn line_ended(mut text: String) -> Vec<u8> {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.into_bytes()
}

fn checked(path: &str) -> Result<(), Refusal> {
    if path.trim().is_empty() || path.len() > PATH_BYTES_MAX {
        return Err(Refusal::new(Reason::BadRequest, "That is no path of a file.").field("path"));
    }
    Ok(())
}
