//! Files of a guest, in pieces that fit into a stanza.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use skerry_stanzas::reply::{FileWritten, GuestFile, Reply as _};

use super::{bounded, decoded};
use crate::{
    call::{Call, Consent, Reply},
    cli::{FileReadArgs, Output},
    failure::{Failure, Kind, Outcome},
    plan::Planned,
    session::Session,
};

/// As much at a time, in bytes: a stanza has 256 KiB on stock servers.
const PIECE_BYTES: usize = 32 << 10;
/// The most of a file: what is more does not belong into a chat.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Reads a file of a guest: all of it, into a file or a pipe; or as much as is shown on a terminal.
///
/// # Errors
/// It cannot be read there or written here, or is too long.
pub async fn read(
    planned: &Planned,
    session: &Session,
    args: &FileReadArgs,
    output: Output,
) -> Outcome<Reply> {
    // On a terminal nothing of a guest's is shown as it is.
    let whole = args.out.is_some() || (!std::io::stdout().is_terminal() && output != Output::Json);
    let part_asked = planned.call.argv.iter().any(|word| word.starts_with("--bytes="));
    if !whole || part_asked && args.out.is_none() {
        return Ok(planned.call.run(session, Consent::Ask).await?.reply);
    }
    let mut bytes = Vec::new();
    let mut call = planned.call.clone();
    let from = start(&call.argv);
    let (reply, file) = loop {
        call.argv.retain(|word| !word.starts_with("--from=") && !word.starts_with("--bytes="));
        call.argv.push(format!("--from={}", from + bytes.len() as u64));
        call.argv.push(format!("--bytes={PIECE_BYTES}"));
        let reply = call.run(session, Consent::Ask).await?.reply;
        let file: GuestFile = serde_json::from_value(reply.json.clone())
            .map_err(|_| Failure::new(Kind::Internal, "the host answered without a file"))?;
        let piece = decoded(&file.base64)?;
        let came = piece.len();
        bytes.extend(piece);
        if bytes.len() > FILE_BYTES_MAX {
            let text = format!("{} is too long: at most {FILE_BYTES_MAX} bytes are read", file.path);
            return Err(Failure::new(Kind::Refused, text));
        }
        // What says that there is more and gives nothing would never end.
        if file.ends || came == 0 {
            break (reply, file);
        }
    };
    match &args.out {
        Some(out) => {
            tokio::fs::write(out, &bytes).await.map_err(|error| {
                Failure::new(Kind::Refused, format!("{} cannot be written: {error}", out.display()))
            })?;
            let text = format!("{} of {}: {} bytes, {}", file.path, file.name, bytes.len(), out.display());
            Ok(Reply { text, ..reply })
        }
        None => {
            let mut to = std::io::stdout().lock();
            to.write_all(&bytes)?;
            to.flush()?;
            Ok(Reply { text: String::new(), ..reply })
        }
    }
}

fn start(argv: &[String]) -> u64 {
    argv.iter().find_map(|word| word.strip_prefix("--from=")?.parse().ok()).unwrap_or(0)
}

/// Writes a file of a guest: the first piece as it was asked for, the others after it, one by one.
///
/// # Errors
/// It cannot be read here or written there, or is too long.
pub async fn write(planned: &Planned, session: &Session, file: &Path) -> Outcome<Reply> {
    let bytes = match file.as_os_str() == "-" {
        true => bounded(std::io::stdin().lock(), FILE_BYTES_MAX)?,
        false => {
            let unreadable = |error| Failure::usage(format!("{} cannot be read: {error}", file.display()));
            bounded(std::fs::File::open(file).map_err(unreadable)?, FILE_BYTES_MAX)?
        }
    };
    let (mut written, mut reply) = (0, None);
    for call in pieces(&planned.call, &bytes) {
        let sent = call.run(session, Consent::Ask).await.map_err(|failure| match written {
            0 => failure,
            so_far => failure.hint(format!("{so_far} bytes of it were written.")),
        })?;
        written = bytes.len().min(written + PIECE_BYTES);
        reply = Some(sent.reply);
    }
    let reply = reply.ok_or_else(|| Failure::new(Kind::Internal, "nothing was written"))?;
    let mut done: FileWritten = serde_json::from_value(reply.json)
        .map_err(|_| Failure::new(Kind::Internal, "the host answered with something else than asked"))?;
    done.bytes = bytes.len() as u64;
    Ok(Reply { text: done.text(), json: serde_json::to_value(&done).unwrap_or_default() })
}

fn pieces(call: &Call, bytes: &[u8]) -> Vec<Call> {
    let mut pieces: Vec<&[u8]> = bytes.chunks(PIECE_BYTES).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let of = |(at, piece): (usize, &[u8])| {
        let mut call = call.clone();
        call.argv.push(format!("--base64={}", BASE64.encode(piece)));
        if at > 0 && !call.argv.iter().any(|word| word == "--append") {
            call.argv.push("--append".to_owned());
        }
        call
    };
    pieces.into_iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use skerry_stanzas::command::{Declaration, machine::FileWrite};

    use super::*;

    static DECLARED: Declaration = Declaration::of::<FileWrite>();

    #[test]
    fn a_file_is_written_in_pieces_each_after_the_one_before() {
        let call = Call {
            to: xmpp_parsers::jid::Jid::new("web1@kvm1.example.org").unwrap(),
            node: "file-write".into(),
            declaration: &DECLARED,
            argv: vec!["--path=/x".into()],
            together: None,
        };
        let calls = pieces(&call, &vec![7; PIECE_BYTES * 2 + 1]);
        let appends: Vec<bool> =
            calls.iter().map(|call| call.argv.contains(&"--append".to_owned())).collect();
        assert_eq!(appends, [false, true, true]);
        assert_eq!(calls[2].argv[1], "--base64=Bw==");
        assert_eq!(pieces(&call, b"")[0].argv, ["--path=/x", "--base64="], "an empty file is one as well");
        assert_eq!(start(&["--from=7".into()]), 7);
    }
}
