//! What is asked of a guest's agent: programs, files, passwords, file systems held still.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Talk, ask, nonsense, talk};
use crate::driver::{
    DriverError,
    guest_agent::{FILE_BYTES_MAX, FilePart, INPUT_BYTES_MAX, OUTPUT_BYTES_MAX, Ran, Trimmed},
    qemu::running::Running,
};

/// As much of a file is asked for at once: base64 makes it longer, and a line is bounded.
const PIECE_BYTES: usize = 256 << 10;

/// Begins a program.
pub(super) async fn begin(running: &Running, command: &[String], input: &[u8]) -> Result<i64, DriverError> {
    let Some((path, arguments)) = command.split_first() else {
        return Err(DriverError::Unfit("there is no command".into()));
    };
    if input.len() > INPUT_BYTES_MAX {
        return Err(DriverError::Unfit(format!("at most {INPUT_BYTES_MAX} bytes can be given to a command")));
    }
    let mut words = json!({ "path": path, "arg": arguments, "capture-output": true });
    if !input.is_empty() {
        words["input-data"] = BASE64.encode(input).into();
    }
    let started = ask(running, "guest-exec", &words).await?;
    started["pid"].as_i64().ok_or_else(nonsense)
}

/// Asks once whether it has ended.
pub(super) async fn ended(running: &Running, program: i64) -> Result<Option<Ran>, DriverError> {
    let status = ask(running, "guest-exec-status", &json!({ "pid": program })).await?;
    Ok((status["exited"] == true).then(|| ran(&status)))
}

/// How it ended, and what it wrote.
pub(super) fn ran(status: &Value) -> Ran {
    let mut cut = status["out-truncated"] == true || status["err-truncated"] == true;
    let mut text = |name: &str| {
        let mut bytes = BASE64.decode(status[name].as_str().unwrap_or_default()).unwrap_or_default();
        cut |= bytes.len() > OUTPUT_BYTES_MAX;
        bytes.truncate(OUTPUT_BYTES_MAX);
        bytes
    };
    let (output, errors) = (text("out-data"), text("err-data"));
    let number = |name: &str| status[name].as_i64().and_then(|number| i32::try_from(number).ok());
    Ran { code: number("exitcode"), signal: number("signal"), output, errors, cut }
}

/// Reads a part of a file. Whatever happens meanwhile, the agent is told that the file is done with.
pub(super) async fn read(
    running: &Running,
    path: &str,
    from: u64,
    bytes_max: usize,
) -> Result<FilePart, DriverError> {
    let (mut talk, _one) = talk(running).await?;
    read_by(&mut talk, path, from, bytes_max.min(FILE_BYTES_MAX)).await
}

pub(super) async fn read_by<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<S>,
    path: &str,
    from: u64,
    bytes_max: usize,
) -> Result<FilePart, DriverError> {
    let file = talk.ask("guest-file-open", &json!({ "path": path, "mode": "r" })).await?;
    let file = file.as_i64().ok_or_else(nonsense)?;
    let part = async {
        if from > 0 {
            let words = json!({ "handle": file, "offset": from, "whence": "set" });
            talk.ask("guest-file-seek", &words).await?;
        }
        let mut part = FilePart::default();
        while !part.ends && part.bytes.len() < bytes_max {
            let count = PIECE_BYTES.min(bytes_max - part.bytes.len());
            let piece = talk.ask("guest-file-read", &json!({ "handle": file, "count": count })).await?;
            let bytes =
                BASE64.decode(piece["buf-b64"].as_str().unwrap_or_default()).map_err(|_| nonsense())?;
            if bytes.len() > count {
                return Err(nonsense());
            }
            // An agent that gives nothing and says that there is more would be asked for ever.
            part.ends = piece["eof"] == true || bytes.is_empty();
            part.bytes.extend(bytes);
        }
        Ok(part)
    };
    let part = part.await;
    let closed = talk.ask("guest-file-close", &json!({ "handle": file })).await;
    let part = part?;
    closed?;
    Ok(part)
}

/// Writes a file, or to its end.
pub(super) async fn write(
    running: &Running,
    path: &str,
    bytes: &[u8],
    append: bool,
) -> Result<(), DriverError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(DriverError::Unfit(format!("at most {FILE_BYTES_MAX} bytes can be written at once")));
    }
    let (mut talk, _one) = talk(running).await?;
    write_by(&mut talk, path, bytes, append).await
}

pub(super) async fn write_by<S: AsyncRead + AsyncWrite + Unpin>(
    talk: &mut Talk<S>,
    path: &str,
    bytes: &[u8],
    append: bool,
) -> Result<(), DriverError> {
    let mode = if append { "a" } else { "w" };
    let file = talk.ask("guest-file-open", &json!({ "path": path, "mode": mode })).await?;
    let file = file.as_i64().ok_or_else(nonsense)?;
    let written = async {
        let mut left = bytes;
        while !left.is_empty() {
            let piece = &left[..PIECE_BYTES.min(left.len())];
            let words = json!({ "handle": file, "buf-b64": BASE64.encode(piece) });
            let took = talk.ask("guest-file-write", &words).await?;
            let count = took["count"].as_u64().and_then(|count| usize::try_from(count).ok());
            match count.filter(|count| (1..=piece.len()).contains(count)) {
                Some(count) => left = &left[count..],
                None => return Err(nonsense()),
            }
        }
        talk.ask("guest-file-flush", &json!({ "handle": file })).await
    };
    let written = written.await;
    let closed = talk.ask("guest-file-close", &json!({ "handle": file })).await;
    written?;
    closed?;
    Ok(())
}

/// Gives a user another password.
pub(super) async fn set_password(
    running: &Running,
    user: &str,
    password: &str,
    hashed: bool,
) -> Result<(), DriverError> {
    let words = json!({ "username": user, "password": BASE64.encode(password), "crypted": hashed });
    ask(running, "guest-set-user-password", &words).await?;
    Ok(())
}

/// Holds the guest's file systems still.
pub(super) async fn freeze(running: &Running) -> Result<u64, DriverError> {
    let (mut talk, _one) = talk(running).await?;
    if talk.ask("guest-fsfreeze-status", &json!({})).await? == "frozen" {
        return Ok(0);
    }
    let frozen = talk.ask("guest-fsfreeze-freeze", &json!({})).await?;
    frozen.as_u64().ok_or_else(nonsense)
}

/// Lets them go on.
pub(super) async fn thaw(running: &Running) -> Result<u64, DriverError> {
    ask(running, "guest-fsfreeze-thaw", &json!({})).await?.as_u64().ok_or_else(nonsense)
}

/// Whether they are held still.
pub(super) async fn is_frozen(running: &Running) -> Result<bool, DriverError> {
    Ok(ask(running, "guest-fsfreeze-status", &json!({})).await? == "frozen")
}

/// Has it give back what its file systems do not use.
pub(super) async fn trim(running: &Running, limit: Duration) -> Result<Trimmed, DriverError> {
    let (mut talk, _one) = talk(running).await?;
    let answer = talk.ask_within("guest-fstrim", &json!({}), limit).await;
    let late = || DriverError::TimedOut { what: "giving back what is not used", limit };
    Ok(trimmed(&answer.ok_or_else(late)??))
}

/// What it went through, as far as that makes sense.
pub(super) fn trimmed(answer: &Value) -> Trimmed {
    let mut trimmed = Trimmed::default();
    for path in answer["paths"].as_array().into_iter().flatten() {
        match path["error"].as_str() {
            Some(why) => {
                let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
                trimmed.refused.get_or_insert(why);
            }
            None => {
                trimmed.file_systems += 1;
                trimmed.bytes = trimmed.bytes.saturating_add(path["trimmed"].as_u64().unwrap_or(0));
            }
        }
    }
    trimmed
}
