//! Attach: a file of the host, or a disk that was detached before.

use std::path::{Path, PathBuf};

use hypervisor_core::definition::{Bus, Definition, Disk, DiskFormat, Media};
use skerry_stanzas::{
    command::machine::{self, DiskAttach, Format},
    refusal::{Reason, Refusal},
    reply::Changed,
};

use super::{
    files::{self, Detached},
    fits,
};
use crate::{
    agent::Agent,
    dispatch::Job,
    handler::{Handle, storage::Held},
};

pub(super) fn format(format: Format) -> DiskFormat {
    match format {
        machine::Format::Qcow2 => DiskFormat::Qcow2,
        machine::Format::Raw => DiskFormat::Raw,
    }
}

impl Handle<DiskAttach> for Agent {
    async fn handle(&self, job: &Job, command: DiskAttach) -> Result<Changed, Refusal> {
        let held = Held::by(job)?;
        let own = files::detached(&held.card.folder, &held.record);
        let own = own.into_iter().find(|one| one.name == command.what);
        let path = match &own {
            Some(one) => one.path.clone(),
            None => self.strangers(&held, &command).await?,
        };
        let format = match (&own, command.format, by_ending(&path)) {
            (Some(Detached { format, .. }), _, _) => *format,
            (None, Some(asked), _) => format(asked),
            (None, None, Some(format)) => format,
            (None, None, None) => {
                let text = format!("How {} is written is not to be seen from its name.", path.display());
                return Err(Refusal::new(Reason::BadRequest, text)
                    .field("format")
                    .hint("Say format=raw or format=qcow2."));
            }
        };
        if own.is_none() {
            held.disks()?.stands_alone(&path, format).map_err(|error| held.said(error).field("what"))?;
        }
        let name = meant(&held.record.definition, &command.what, command.name.as_deref());
        let cd =
            own.is_none() && command.format.is_none() && path.extension().is_some_and(|end| end == "iso");
        let disk = match cd {
            true => Disk { name, ..Disk::cd(&path) },
            false => Disk { name, read_only: command.readonly, ..Disk::new(&path, format) },
        };
        fits(&held, &disk)?;
        let now = self.put_in(job, &held, &disk).await?;
        let what = if disk.media == Media::Cd { "CD" } else { "disk" };
        let when = match (held.runs(), now) {
            (true, false) => ", from its next start on",
            (true, true) | (false, _) => "",
        };
        let sentence = format!("{} has {} as its {what} {}{when}.", held.name(), path.display(), disk.name);
        debug_assert!(disk.bus == Bus::Virtio || !now);
        Ok(self.changed(&held.card.record(), sentence))
    }
}

impl Agent {
    /// A file that is not ours, once it is sure that it may be a disk of this machine.
    async fn strangers(&self, held: &Held, command: &DiskAttach) -> Result<PathBuf, Refusal> {
        let refused = |reason, text: String| Refusal::new(reason, text).field("what");
        let asked = Path::new(&command.what);
        if !asked.is_absolute() {
            let text = format!("{} has no detached disk {:?}.", held.name(), command.what);
            return Err(refused(Reason::NotFound, text)
                .hint("\"disk list\" shows what it has. A file is given by its whole path."));
        }
        // Links are followed now, and not again when somebody has changed them.
        let path = tokio::fs::canonicalize(asked).await.map_err(|error| {
            refused(Reason::NotFound, format!("{} cannot be found: {error}.", asked.display()))
        })?;
        let file = tokio::fs::metadata(&path).await.map(|file| file.file_type());
        let fits =
            file.is_ok_and(|file| file.is_file() || std::os::unix::fs::FileTypeExt::is_block_device(&file));
        if !fits {
            let text = format!("{} is neither a file nor a block device.", path.display());
            return Err(refused(Reason::BadRequest, text));
        }
        let state = tokio::fs::canonicalize(&self.config().state).await;
        if state.is_ok_and(|state| path.starts_with(state)) {
            let text = format!("{} is one of the agent's own files.", path.display());
            return Err(refused(Reason::NotAllowed, text));
        }
        let shared = |disk: &Disk| disk.path == path && !(disk.read_only && command.readonly);
        let others = self.inner.machines.all();
        let other = others.iter().map(|other| other.record()).find(|other| {
            let of_other = other.id != held.record.id && other.definition.disks.iter().any(shared);
            of_other || other.layers.is_frozen(&path)
        });
        match other {
            None => Ok(path),
            Some(other) => {
                let text = format!("{} is a disk of {} already.", path.display(), other.name);
                Err(refused(Reason::Conflict, text).hint("Two machines may share what both can only read."))
            }
        }
    }
}

fn by_ending(path: &Path) -> Option<DiskFormat> {
    match path.extension()?.to_str()? {
        "qcow2" => Some(DiskFormat::Qcow2),
        "raw" | "img" | "iso" => Some(DiskFormat::Raw),
        _ => None,
    }
}

/// The name a disk is given: the one that was asked for, that of the detached disk, or the next free one.
pub(crate) fn meant(definition: &Definition, what: &str, name: Option<&str>) -> String {
    if let Some(name) = name {
        return name.to_owned();
    }
    let mut trial = definition.clone();
    let own = Disk { name: what.to_owned(), ..Disk::new("/", DiskFormat::Raw) };
    trial.disks.push(own);
    if !what.starts_with('/') && trial.check().is_ok() {
        return what.to_owned();
    }
    if let Some(last) = trial.disks.last_mut() {
        last.name = String::new();
    }
    trial.name_all();
    trial.disks.pop().map(|disk| disk.name).unwrap_or_default()
}
