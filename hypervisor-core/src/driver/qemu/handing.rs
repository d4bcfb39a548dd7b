//! Files that QEMU is handed while it runs. It reaches by itself what was bounded at its start (bounds.rs)
//! and what is made in its folder for disks; anything else the agent opens for it, and hands it the
//! descriptors (QMP's `add-fd`). QEMU itself keeps which file each is, so the next agent knows as well.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use nix::errno::Errno;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{arguments::disks::block_device, bounds::DISKS, qmp::QmpError, running::Running};
use crate::{
    definition::{Disk, DiskFormat},
    driver::{DriverError, qcow2::beneath::beneath},
};

/// How QEMU names what it was handed.
const PLACE: &str = "/dev/fdset/";
/// How the name of a file's node begins that is added while QEMU runs; what follows is the disk's node.
const FILE: &str = "f-";

/// What a disk that is added stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// What its header says.
    Named,
    /// Nothing, whatever its header says.
    Nothing,
}

/// The nodes of a machine that runs, and the files they are.
pub(super) struct Nodes {
    all: Vec<Value>,
    handed: HashMap<String, PathBuf>,
}

impl Nodes {
    /// The node of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.all.iter().find(|node| node["node-name"] == name)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.all.iter()
    }

    /// The file that a node is. What stands on a file that was handed has no plain name for QEMU: the node of
    /// the file itself is asked, which has one by us.
    pub(super) fn file(&self, node: &Value) -> Option<PathBuf> {
        let below = node["node-name"].as_str().and_then(|name| self.named(&format!("{FILE}{name}")));
        let said = below.unwrap_or(node)["file"].as_str()?;
        Some(self.handed.get(said).cloned().unwrap_or_else(|| said.into()))
    }

    fn uses(&self, place: &str) -> bool {
        self.all.iter().any(|node| node["file"] == place)
    }
}

impl Running {
    /// What it has open.
    pub(super) async fn nodes(&self) -> Result<Nodes, QmpError> {
        let all = self.qmp.ask("query-named-block-nodes", Some(json!({"flat": true}))).await?;
        let all = all.as_array().cloned().unwrap_or_default();
        Ok(Nodes { all, handed: self.handed().await? })
    }

    /// What it was handed, and which files these are.
    async fn handed(&self) -> Result<HashMap<String, PathBuf>, QmpError> {
        let sets = self.qmp.ask("query-fdsets", None).await?;
        let one = |set: &Value| {
            let path = set["fds"].as_array()?.iter().find_map(|fd| fd["opaque"].as_str())?;
            Some((format!("{PLACE}{}", set["fdset-id"].as_u64()?), PathBuf::from(path)))
        };
        Ok(sets.as_array().into_iter().flatten().filter_map(one).collect())
    }

    /// Hands it descriptors of one file, and says how it is to name it. `what` they are is kept by it.
    pub(super) async fn hand(&self, what: &str, files: Vec<OwnedFd>) -> Result<String, QmpError> {
        let mut words = json!({"opaque": what});
        for file in files {
            let added = self.qmp.hand("add-fd", words.clone(), file).await?;
            words["fdset-id"] = added["fdset-id"].clone();
        }
        Ok(format!("{PLACE}{}", words["fdset-id"]))
    }

    /// Takes back one that it was handed, as far as nothing has it open.
    pub(super) async fn take_back(&self, place: &str) {
        let Some(number) = place.strip_prefix(PLACE).and_then(|number| number.parse::<u64>().ok()) else {
            return;
        };
        if let Err(error) = self.qmp.ask("remove-fd", Some(json!({"fdset-id": number}))).await {
            tracing::debug!(machine = %self.id, %error, "a file that was handed over stays there");
        }
    }

    /// Takes back the files of disks that it was handed and has no disk in.
    pub(super) async fn take_back_unused(&self) {
        let Ok(nodes) = self.nodes().await else { return };
        for (place, _) in nodes.handed.iter().filter(|(_, file)| file.is_absolute()) {
            if !nodes.uses(place) {
                self.take_back(place).await;
            }
        }
    }

    /// Adds a disk's file, with what it stands on. Nothing is left of it after an error.
    pub(super) async fn add_node(&self, name: &str, disk: &Disk, below: Below) -> Result<(), DriverError> {
        let added = async {
            let words = self.describe(name, disk, below).await?;
            self.qmp.ask("blockdev-add", Some(words)).await.map_err(super::disks::unfit)?;
            Ok(())
        };
        let added = added.await;
        if added.is_err() {
            self.take_back_unused().await;
        }
        added
    }

    async fn describe(&self, name: &str, disk: &Disk, below: Below) -> Result<Value, DriverError> {
        let mut words: Value = serde_json::from_str(&block_device(disk)?)
            .map_err(|source| DriverError::system("describing a disk", source))?;
        let file = words["file"].take();
        words["file"] = self.describe_file(name, file, &disk.path, !disk.read_only).await?;
        words["node-name"] = name.into();
        if disk.format == DiskFormat::Qcow2 {
            match below {
                Below::Nothing => words["backing"] = Value::Null,
                Below::Named => self.describe_beneath(disk, &mut words).await?,
            }
        }
        Ok(words)
    }

    /// QEMU follows a header by itself only as far as it reaches.
    async fn describe_beneath(&self, disk: &Disk, words: &mut Value) -> Result<(), DriverError> {
        let beneath = beneath(&disk.path, disk.format)?;
        if beneath.iter().all(|one| self.reaches(&one.path)) {
            return Ok(());
        }
        let mut backing = Value::Null;
        for one in beneath.iter().rev() {
            if one.data_of.is_some() {
                let text = "its content is in a further file: attach it when the machine is off";
                return Err(DriverError::Unfit(text.into()));
            }
            let unique = Uuid::new_v4().simple().to_string();
            let name = format!("b-{}", unique.get(..12).unwrap_or(&unique));
            let file = self.describe_file(&name, json!({"driver": "file"}), &one.path, false).await?;
            let mut node =
                json!({"driver": one.format.word(), "node-name": name, "read-only": true, "file": file});
            if one.format == DiskFormat::Qcow2 {
                node["backing"] = backing;
            }
            backing = node;
        }
        words["backing"] = backing;
        Ok(())
    }

    async fn describe_file(
        &self,
        node: &str,
        mut words: Value,
        path: &Path,
        writes: bool,
    ) -> Result<Value, DriverError> {
        words["node-name"] = format!("{FILE}{node}").into();
        if self.reaches(path) {
            words["filename"] = path.to_string_lossy().into();
            return Ok(words);
        }
        // One that is written to is only read for as long as a snapshot stands on it.
        let mut files = vec![open(path, false)?];
        if writes {
            files.push(open(path, true)?);
        }
        words["filename"] = self.hand(&path.to_string_lossy(), files).await?.into();
        // A lock is a descriptor's, so the one to write with would keep the one to read with out.
        words["locking"] = "off".into();
        Ok(words)
    }

    /// Whether it can open a file by itself, whatever is bounded.
    fn reaches(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| parent == self.folder.within(DISKS))
    }
}

/// The file, or why not in QEMU's words.
fn open(path: &Path, writes: bool) -> Result<OwnedFd, DriverError> {
    let opened = OpenOptions::new().read(true).write(writes).open(path);
    opened.map(OwnedFd::from).map_err(|error: io::Error| {
        let why = error
            .raw_os_error()
            .map_or_else(|| error.to_string(), |code| Errno::from_raw(code).desc().into());
        DriverError::Unfit(format!("Could not open '{}': {why}", path.display()))
    })
}
