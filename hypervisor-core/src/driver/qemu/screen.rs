//! The screen as QEMU draws it, and keys pressed through it.
//!
//! The picture is asked for as PPM, which costs QEMU little: it is written by the thread that also
//! answers everything else, and a PNG of a large screen would hold that up.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{arguments::SCREEN, qmp::QmpError, running::Running};
use crate::driver::{
    DriverError,
    screen::{PIXELS_MAX, Picture, Viewing, held_still, keys::Chord},
};

/// What QEMU keeps of where it puts the picture.
const PICTURE: &str = "picture";
/// The longest file taken: the header has some bytes.
const FILE_BYTES_MAX: u64 = PIXELS_MAX as u64 * 3 + 64;
/// For so long a key is held, and so long nothing is held between two: what a guest polls for keys
/// (firmware does) has to meet with each, and a PS/2 keyboard keeps sixteen bytes.
const HELD: Duration = Duration::from_millis(20);

/// What is on the screen. By a task, so that no file is left when nobody waits any more.
pub(super) async fn picture(running: Arc<Running>) -> Result<Picture, DriverError> {
    let looked = tokio::spawn(async move {
        let _one = running.looking.lock().await;
        dump(&running).await
    });
    looked.await.map_err(|error| DriverError::system("looking at the screen", error))?
}

/// QEMU writes it into memory of ours: it makes no files.
async fn dump(running: &Running) -> Result<Picture, DriverError> {
    let failed = |source: io::Error| DriverError::system("reading the picture", source);
    let (file, end) = memory().map_err(failed)?;
    let place = running.hand(PICTURE, vec![end]).await?;
    let asked = running.qmp.ask("screendump", Some(json!({ "filename": place }))).await;
    running.take_back(&place).await;
    asked.map_err(refused)?;
    let read = tokio::task::spawn_blocking(move || read(file)).await;
    let file = read.map_err(|error| DriverError::system("reading the picture", error))?.map_err(failed)?;
    let too_large = || DriverError::Unfit("its screen is too large to be shown".into());
    parse(&file.ok_or_else(too_large)?)
        .ok_or_else(|| DriverError::system("reading the picture", "QEMU's picture is no PPM"))
}

/// A file that is nowhere, and a descriptor that can only be written to, as QEMU wants one.
fn memory() -> io::Result<(File, OwnedFd)> {
    let file = File::from(memfd_create(PICTURE, MemfdFlags::CLOEXEC)?);
    let end = File::options().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok((file, end.into()))
}

/// What is in it; `None` when it is too large.
fn read(mut file: File) -> io::Result<Option<Vec<u8>>> {
    let length = file.metadata()?.len();
    if length > FILE_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A PPM as QEMU writes it: `P6`, width and height, 255, pixels.
pub(super) fn parse(file: &[u8]) -> Option<Picture> {
    let mut rest = file;
    let mut word = || {
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        let (word, after) = rest.split_at(end);
        rest = &after[1..];
        std::str::from_utf8(word).ok()
    };
    if word()? != "P6" {
        return None;
    }
    let (width, height) = (word()?.parse().ok()?, word()?.parse().ok()?);
    if word()? != "255" {
        return None;
    }
    Picture::new(width, height, rest.to_vec())
}

/// Presses the keys. It is QEMU that lets go of them when their time is over: none stays down, whoever waits
/// for it or is killed meanwhile.
pub(super) async fn press(running: &Running, chords: &[Chord]) -> Result<(), DriverError> {
    for chord in chords {
        // `send-key` does not say that a guest which stands still got nothing. This does, of no keys at all.
        let nothing = json!({ "events": [] });
        running.qmp.ask("input-send-event", Some(nothing)).await.map_err(still)?;
        let key = |name: &str| json!({"type": "qcode", "data": name});
        let keys: Vec<Value> = chord.keys().iter().map(|one| key(one.name())).collect();
        // One after the other down, and up again: each takes as long.
        let turns = u32::try_from(keys.len() * 2).unwrap_or(u32::MAX);
        let words = json!({ "keys": keys, "hold-time": HELD.as_millis() });
        running.qmp.ask("send-key", Some(words)).await?;
        sleep(HELD.saturating_mul(turns)).await;
    }
    Ok(())
}

/// A viewer of its own, on the socket in the machine's folder.
pub(super) async fn view(running: &Running) -> Result<Box<dyn Viewing>, DriverError> {
    match running.folder.connect(SCREEN).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(_) if running.adopted.is_some() => {
            Err(DriverError::Unfit("its screen is not in our hands: it was started by somebody else".into()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(no_screen()),
        Err(source) => Err(DriverError::system("connecting to the screen", source)),
    }
}

fn no_screen() -> DriverError {
    DriverError::Unfit("it has no screen".into())
}

fn still(error: QmpError) -> DriverError {
    match error {
        QmpError::Refused { .. } => held_still(),
        error => error.into(),
    }
}

/// What QEMU refuses here is a machine that has no screen.
fn refused(error: QmpError) -> DriverError {
    match error {
        QmpError::Refused { .. } => no_screen(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_picture_is_read_as_qemu_writes_it() {
        let picture = parse(b"P6\n2 1\n255\nabc\n\n\n").unwrap();
        assert_eq!((picture.width(), picture.height(), picture.rgb()), (2, 1, &b"abc\n\n\n"[..]));
    }

    #[test]
    fn what_is_no_picture_is_none() {
        for odd in [
            &b""[..],
            b"P6",
            b"P5\n1 1\n255\nabc",
            b"P6\n1 1\n65535\nabcabc",
            b"P6\n2 2\n255\nabc",
            b"P6\n-1 1\n255\nabc",
            b"P6\n99999999999 1\n255\nabc",
        ] {
            assert_eq!(parse(odd), None, "{odd:?}");
        }
    }
}
