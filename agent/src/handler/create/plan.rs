//! What a machine is to be, looked at before anything is made.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hypervisor_core::{
    definition::{self, Definition, Disk, DiskFormat, Network, Nic, say_nic},
    driver::{Driver, disk},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::{
    command::host,
    refusal::{Reason, Refusal},
};

use super::{no_disk, origin::Origin};
use crate::{
    agent::Agent,
    handler::{
        define::{checked, memory_mib},
        name,
        storage::{shown, size_bytes},
    },
};

/// The first disk's file in a machine's folder: what differs from its image.
const OVERLAY: &str = "disk.qcow2";

/// What is to be made.
pub(super) struct Plan {
    pub(super) name: MachineName,
    pub(super) driver: Arc<dyn Driver>,
    pub(super) origin: Origin,
    pub(super) definition: Definition,
    /// Made from the image.
    pub(super) first: Option<First>,
    /// Made empty, with so many bytes.
    pub(super) empty: Vec<(PathBuf, u64)>,
}

impl Plan {
    /// As large as its disks will be for the guest.
    pub(super) async fn disk_bytes(&self) -> Result<u64, Refusal> {
        let first = match (&self.first, &self.origin.disk) {
            (Some(First { grown: Some(bytes), .. }), _) => *bytes,
            (Some(_), Some(image)) => {
                disk::describe(image).await.map_err(|error| no_disk(&self.name, error))?.size_bytes
            }
            _ => 0,
        };
        Ok(self.empty.iter().fold(first, |sum, (_, bytes)| sum.saturating_add(*bytes)))
    }
}

/// The disk with what the image brings.
pub(super) struct First {
    pub(super) path: PathBuf,
    /// Larger than the image: so many bytes.
    pub(super) grown: Option<u64>,
}

impl Agent {
    /// Reads and checks what was asked. Until the machine stands on its image, the caller holds the images.
    pub(super) async fn to_create(&self, id: MachineId, command: &host::Create) -> Result<Plan, Refusal> {
        let name = name(&command.name, "name")?;
        self.free(&name, "name").await?;
        let driver = self.inner.drivers.choose(command.driver.as_deref())?;
        let origin = self.origin(&command.image, command.full).await?;
        let folder = self.inner.folders.machine(id);
        let first = first(&name, &origin, command.size.as_deref(), &folder).await?;
        let mut definition = Definition {
            firmware: match command.firmware {
                host::Firmware::Bios => definition::Firmware::Bios,
                host::Firmware::Uefi => definition::Firmware::Uefi,
                host::Firmware::SecureBoot => definition::Firmware::SecureBoot,
            },
            disks: first.iter().map(|first| Disk::new(&first.path, DiskFormat::Qcow2)).collect(),
            nics: nics(command)?,
            note: command.note.clone().filter(|note| !note.is_empty()),
            ..Definition::new(command.vcpus, memory_mib(&command.memory)?, origin.boot.clone())
        };
        let empty = further(&mut definition, &command.disk, &folder)?;
        checked(&definition)?;
        if !empty.is_empty() && driver.disks().is_none() {
            let text = format!("The driver {} makes no further disks.", driver.name());
            return Err(Refusal::new(Reason::NotSupported, text).field("disk"));
        }
        self.check_nics(id, &definition).await.map_err(|refusal| {
            match (&command.network, command.nic.len()) {
                (Some(_), 0) => refusal.field("network"),
                _ => refusal,
            }
        })?;
        Ok(Plan { name, driver, origin, definition, first, empty })
    }
}

/// The disk from the image, where the image brings one.
async fn first(
    name: &MachineName,
    origin: &Origin,
    size: Option<&str>,
    folder: &Path,
) -> Result<Option<First>, Refusal> {
    let wanted = size.map(size_bytes).transpose()?;
    let path = folder.join(OVERLAY);
    let conflict = |text: String| Refusal::new(Reason::Conflict, text).field("size");
    match (&origin.disk, wanted) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(conflict("The image brings no disk that could have a size.".into())
            .hint("A disk of its own is made by disk=20G.")),
        (Some(_), None) => Ok(Some(First { path, grown: None })),
        (Some(image), Some(bytes)) => {
            let described = disk::describe(image).await.map_err(|error| no_disk(name, error))?;
            if bytes < described.size_bytes {
                let text = format!(
                    "The image has {}, and a disk is never made smaller: what lies at its end would be lost.",
                    shown(described.size_bytes)
                );
                return Err(conflict(text));
            }
            Ok(Some(First { path, grown: Some(bytes).filter(|bytes| *bytes > described.size_bytes) }))
        }
    }
}

fn nics(command: &host::Create) -> Result<Vec<Nic>, Refusal> {
    let network = match &command.network {
        None => Network::default(),
        Some(name) => {
            let name = name.parse().map_err(|error| {
                Refusal::new(Reason::BadRequest, format!("network: {error}.")).field("network")
            })?;
            Network::Named { name, address: None }
        }
    };
    let mut nics = vec![Nic { name: "net1".into(), ..Nic::new(network) }];
    for word in &command.nic {
        say_nic(&mut nics, word).map_err(|error| {
            Refusal::new(Reason::BadRequest, format!("nic: {error}."))
                .field("nic")
                .hint("Such as: nic=forward=8080:80, or nic=net2,network=lan")
        })?;
    }
    Ok(nics)
}

/// The empty disks: `20G`, or `data,20G`. They are in the definition then.
fn further(
    definition: &mut Definition,
    words: &[String],
    folder: &Path,
) -> Result<Vec<(PathBuf, u64)>, Refusal> {
    let had = definition.disks.len();
    let mut sizes = Vec::new();
    for (nth, word) in words.iter().enumerate() {
        let (name, size) = word.split_once(',').unwrap_or(("", word));
        sizes.push(size_bytes(size).map_err(|refusal| {
            refusal.field("disk").hint("Write a size, or a name and a size: disk=20G, disk=data,20G")
        })?);
        let disk = Disk::new(folder.join("disks").join(nth.to_string()), DiskFormat::Qcow2);
        definition.disks.push(Disk { name: name.trim().to_owned(), ..disk });
    }
    definition.name_all();
    // Names are looked at before they are part of a path.
    checked(definition).map_err(|refusal| match refusal.field.as_deref() {
        Some("disks") | None if !words.is_empty() => refusal.field("disk"),
        _ => refusal,
    })?;
    let new = definition.disks[had..].iter_mut().zip(sizes);
    Ok(new
        .map(|(disk, size)| {
            disk.path = folder.join("disks").join(format!("{}.qcow2", disk.name));
            (disk.path.clone(), size)
        })
        .collect())
}
