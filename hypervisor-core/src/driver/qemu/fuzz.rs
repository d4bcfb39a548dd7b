//! What a fuzzer says in the place of QEMU, of a guest's agent, and of another host: a guest that has broken
//! out of one of them says what it likes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use super::guest_agent::fuzz::guest_agent;
use super::{
    migrate::luggage,
    numbers,
    qmp::{Client, QmpError},
    screen,
};
use crate::{
    definition::{Boot, Definition},
    driver::{Launch, Networks},
    machine::MachineId,
};

/// A peer that says this, then nothing more, and hears everything.
pub(super) struct Said(io::Cursor<Vec<u8>>);

impl Said {
    pub(super) fn new(said: &[u8]) -> Self {
        Self(io::Cursor::new(said.to_vec()))
    }
}

impl AsyncRead for Said {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Said {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs it with a clock that stands still while anything happens: whoever is waited for is not there.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

/// A control socket of QEMU: what is said there ends in an answer, an error or the end of the connection.
/// Besides, each line as QEMU's word on numbers, and all of it as a picture of its screen.
pub fn qmp(data: &[u8]) {
    block_on(async {
        match Client::greet_by(Said::new(data), None).await {
            Ok((client, mut events)) => {
                let events = async { while events.recv().await.is_some() {} };
                let (answer, ()) = tokio::join!(client.ask("query-status", None), events);
                if let Err(QmpError::Refused { sentence, .. }) = answer {
                    assert!(sentence.len() <= data.len() * 3);
                }
            }
            Err(error) => drop(error.to_string()),
        }
    });
    for line in data.split(|byte| *byte == b'\n').take(8) {
        let Ok(value) = serde_json::from_slice::<Value>(line) else { continue };
        for ours in [true, false] {
            assert!(numbers::traffic(&value, ours).iter().all(|disk| !disk.name.is_empty()));
        }
        if let Some(memory) = numbers::memory(&value, 1_700_000_000) {
            assert!(memory.available_bytes <= memory.total_bytes);
        }
        numbers::thread_ids(&value);
    }
    if let Some(picture) = screen::parse(data) {
        assert!(picture.rgb().len() <= data.len());
        picture.halved();
    }
}

/// All that is below a folder, by its name there.
fn below(folder: &Path, within: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{within}{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => below(&entry.path(), &format!("{name}/"), found),
            false => found.push(name),
        }
    }
}

/// What another host sends along with a machine: nothing is written but what a machine remembers, into its
/// folder.
pub fn luggage(data: &[u8]) {
    let [how, packed @ ..] = data else { return };
    let place = PathBuf::from(format!("/dev/shm/skerry-fuzz-{}", std::process::id()));
    let folder = place.join("machine");
    std::fs::remove_dir_all(&place).ok();
    std::fs::create_dir_all(&folder).unwrap();
    let mut definition = Definition::new(1, 128, Boot::Disk);
    definition.tpm = how & 1 == 0;
    let launch = Launch {
        id: MachineId(uuid::Uuid::from_u128(7)),
        name: "web1".into(),
        definition,
        folder,
        networks: Networks::default(),
        devices: Default::default(),
        own: Vec::new(),
    };
    std::fs::write(launch.folder.join(luggage::FILE), packed).unwrap();
    luggage::unpack(&launch, how & 2 == 0).ok();
    let mut there = Vec::new();
    below(&place, "", &mut there);
    for name in there {
        let name = name.strip_prefix("machine/").unwrap_or_else(|| panic!("{name} is outside"));
        let tpm = name.strip_prefix("tpm/tpm2-").is_some_and(|rest| !rest.contains('/'));
        let known =
            ["uefi-vars.fd", "uefi-secure-vars.fd", "console.log", luggage::FILE, super::console::EARLIER];
        assert!(known.contains(&name) || tpm, "{name} was written");
        assert!(!tpm || how & 1 == 0, "it has no TPM");
    }
    std::fs::remove_dir_all(&place).unwrap();
}
