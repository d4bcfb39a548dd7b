//! What changes between two definitions, in words.

use std::{fmt, path::Path};

use super::{Boot, Definition, Disk, Size};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What changes, in words: `memory: 512M → 1G`.
    pub words: String,
    /// When it takes effect for a machine that runs.
    pub effective: Effective,
}

/// When a change takes effect for a machine that runs. For one that does not, all of them do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effective {
    /// At once.
    Now,
    /// When it is started the next time; a reboot of the guest is not enough.
    NextStart,
}

impl Effective {
    /// The words for it.
    pub const fn words(self) -> &'static str {
        match self {
            Effective::Now => "now",
            Effective::NextStart => "at the next start",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What changes from one definition to another, each in words and with when it takes effect; nothing
/// when they are the same.
pub fn differences(old: &Definition, new: &Definition) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |what: &str, old: String, new: String, effective| {
        if old != new {
            found.push(Difference { words: format!("{what}: {old} → {new}"), effective });
        }
    };
    // Nothing but the note reaches a guest that runs: hot-plug is a capability of its own.
    let next = Effective::NextStart;
    differ("vcpus", old.vcpus.to_string(), new.vcpus.to_string(), next);
    differ("memory", size(old.memory_mib), size(new.memory_mib), next);
    differ("boot", from(&old.boot).into(), from(&new.boot).into(), next);
    if let (
        Boot::Kernel { kernel, initrd, cmdline },
        Boot::Kernel { kernel: new_kernel, initrd: new_initrd, cmdline: new_cmdline },
    ) = (&old.boot, &new.boot)
    {
        differ("kernel", path(Some(kernel)), path(Some(new_kernel)), next);
        differ("initrd", path(initrd.as_deref()), path(new_initrd.as_deref()), next);
        differ("cmdline", text(Some(cmdline)), text(Some(new_cmdline)), next);
    }
    for nth in 0..old.disks.len().max(new.disks.len()) {
        differ(&format!("disk {}", nth + 1), disk(old.disks.get(nth)), disk(new.disks.get(nth)), next);
    }
    differ("note", text(old.note.as_ref()), text(new.note.as_ref()), Effective::Now);
    found
}

fn size(mib: u64) -> String {
    Size::from_mib(mib).map_or_else(|_| format!("{mib} MiB"), |size| size.to_string())
}

fn from(boot: &Boot) -> &'static str {
    match boot {
        Boot::Kernel { .. } => "kernel",
        Boot::Disk => "disk",
    }
}

fn path(path: Option<&Path>) -> String {
    path.map_or_else(|| "none".into(), |path| path.display().to_string())
}

fn text(text: Option<&String>) -> String {
    text.filter(|text| !text.is_empty()).map_or_else(|| "none".into(), |text| format!("{text:?}"))
}

fn disk(disk: Option<&Disk>) -> String {
    let Some(Disk { path, format, read_only }) = disk else { return "none".into() };
    let read_only = if *read_only { ", read-only" } else { "" };
    format!("{} ({}{read_only})", path.display(), format.word())
}
