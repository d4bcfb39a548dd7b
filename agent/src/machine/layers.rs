//! External snapshots: files of disks that are left as they were, and what stands on which. Stored with the
//! machine, so that where a disk is and what it stands on are never told apart.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use hypervisor_core::{
    definition::{Definition, Disk, DiskFormat},
    driver::layers::{Layer, Merge},
};
use serde::{Deserialize, Serialize};
use skerry_stanzas::refusal::{Reason, Refusal};
use uuid::Uuid;

use super::Record;
use crate::handler::disks::files;

/// All of a machine's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layers {
    /// Oldest first.
    pub(crate) snapshots: Vec<External>,
    /// By disk: the file that its own one stands on.
    stands: BTreeMap<String, PathBuf>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct External {
    pub(crate) name: String,
    pub(crate) taken_at: DateTime<Utc>,
    /// The command that took it.
    pub(crate) by: Uuid,
    /// Nobody goes back to it any more: it is there for what stands on it.
    #[serde(default)]
    pub(crate) deleted: bool,
    /// In the order of the definition.
    pub(crate) disks: Vec<Frozen>,
}

/// A file of a disk that is left as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frozen {
    pub(crate) disk: String,
    pub(crate) path: PathBuf,
    pub(crate) format: DiskFormat,
    /// What it stands on of this machine's.
    on: Option<PathBuf>,
}

/// A change of what disks stand on, and so of where they are: made to what they are when it is its turn.
#[derive(Clone, Debug)]
pub(crate) enum Layering {
    /// A snapshot of this name is taken by a command: these disks go on in other files.
    Take(String, Uuid, Vec<Layer>),
    /// The snapshot of this name is gone back to: its disks go on in other files.
    Revert(String, Vec<Layer>),
    /// Nobody goes back to the snapshot of this name any more.
    Delete(String),
    /// Nothing stood on this file.
    Drop(PathBuf),
    /// Two files are one.
    Merged(Merge),
}

/// What can be done about a file that is there only for what stands on it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing does.
    Drop(Frozen),
    /// One does: they become one.
    Merge(Merge),
}

impl Layers {
    pub(crate) fn is_empty(&self) -> bool {
        self.snapshots.is_empty()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&External> {
        self.snapshots.iter().find(|one| one.name == name)
    }

    fn frozen(&self) -> impl Iterator<Item = &Frozen> {
        self.snapshots.iter().flat_map(|one| &one.disks)
    }

    /// The files that are left as they were.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.frozen().map(|one| one.path.as_path())
    }

    /// Whether this file is left as it was.
    pub(crate) fn is_frozen(&self, path: &Path) -> bool {
        self.frozen().any(|one| one.path == path)
    }

    /// The names of the snapshots that a disk is part of.
    pub(crate) fn of_disk(&self, disk: &str) -> Vec<&str> {
        let with = |one: &&External| one.disks.iter().any(|frozen| frozen.disk == disk);
        self.snapshots.iter().filter(with).map(|one| one.name.as_str()).collect()
    }

    pub(crate) fn lay(&mut self, layering: Layering, definition: &mut Definition) {
        match layering {
            Layering::Take(name, by, tops) => self.take(&name, by, definition, &tops),
            Layering::Revert(name, tops) => drop(self.revert(&name, definition, &tops)),
            Layering::Delete(name) => self.delete(&name),
            Layering::Drop(path) => self.drop_file(&path),
            Layering::Merged(merge) => self.merged(&merge, definition),
        }
    }

    /// One is taken: its disks go on in other files.
    pub(crate) fn take(&mut self, name: &str, by: Uuid, definition: &mut Definition, tops: &[Layer]) {
        let mut disks = Vec::new();
        for (disk, top) in tops {
            let Some(one) = disk_mut(definition, disk) else { continue };
            let path = std::mem::replace(&mut one.path, top.clone());
            let format = std::mem::replace(&mut one.format, DiskFormat::Qcow2);
            let on = self.stands.insert(disk.clone(), path.clone());
            disks.push(Frozen { disk: disk.clone(), path, format, on });
        }
        let (name, taken_at) = (name.to_owned(), Utc::now());
        self.snapshots.push(External { name, taken_at, by, deleted: false, disks });
    }

    /// One is gone back to: its disks go on in new files that stand on it. Answers those they were in.
    pub(crate) fn revert(&mut self, name: &str, definition: &mut Definition, tops: &[Layer]) -> Vec<PathBuf> {
        let frozen = self.find(name).map(|one| one.disks.clone()).unwrap_or_default();
        let mut before = Vec::new();
        for (disk, top) in tops {
            let (Some(one), Some(frozen)) =
                (disk_mut(definition, disk), frozen.iter().find(|frozen| frozen.disk == *disk))
            else {
                continue;
            };
            before.push(std::mem::replace(&mut one.path, top.clone()));
            one.format = DiskFormat::Qcow2;
            self.stands.insert(disk.clone(), frozen.path.clone());
        }
        before
    }

    /// Nobody goes back to one any more.
    pub(crate) fn delete(&mut self, name: &str) {
        self.snapshots.iter_mut().filter(|one| one.name == name).for_each(|one| one.deleted = true);
    }

    /// The files that stand on this one.
    fn children(&self, path: &Path, definition: &Definition) -> Vec<PathBuf> {
        let on = |on: Option<&PathBuf>| on.is_some_and(|on| on == path);
        let frozen = self.frozen().filter(|one| on(one.on.as_ref())).map(|one| one.path.clone());
        let tops = definition.disks.iter().filter(|disk| on(self.stands.get(&disk.name)));
        frozen.chain(tops.map(|disk| disk.path.clone())).collect()
    }

    /// What can be done next for those that are deleted; nothing while each has several that stand on it.
    pub(crate) fn step(&self, definition: &Definition) -> Option<Step> {
        let deleted = self.snapshots.iter().filter(|one| one.deleted);
        deleted.flat_map(|one| &one.disks).find_map(|frozen| {
            let children = self.children(&frozen.path, definition);
            match children.as_slice() {
                [] => Some(Step::Drop(frozen.clone())),
                [from] => Some(Step::Merge(Merge {
                    disk: frozen.disk.clone(),
                    from: from.clone(),
                    into: frozen.path.clone(),
                    format: frozen.format,
                    above: self.children(from, definition),
                })),
                _ => None,
            }
        })
    }

    /// Nothing stood on this file: it is forgotten.
    pub(crate) fn drop_file(&mut self, path: &Path) {
        for one in &mut self.snapshots {
            one.disks.retain(|frozen| frozen.path != path);
        }
        self.snapshots.retain(|one| !one.disks.is_empty());
    }

    /// Two files became one: whatever was in the upper one is in the lower one.
    pub(crate) fn merged(&mut self, merge: &Merge, definition: &mut Definition) {
        let on = self.frozen().find(|one| one.path == merge.into).and_then(|one| one.on.clone());
        self.drop_file(&merge.into);
        for one in self.snapshots.iter_mut().flat_map(|one| &mut one.disks) {
            if one.path == merge.from {
                (one.path, one.format, one.on) = (merge.into.clone(), merge.format, on.clone());
            } else if one.on.as_ref() == Some(&merge.from) {
                one.on = Some(merge.into.clone());
            }
        }
        match disk_mut(definition, &merge.disk).filter(|disk| disk.path == merge.from) {
            Some(disk) => {
                (disk.path, disk.format) = (merge.into.clone(), merge.format);
                match on {
                    Some(on) => self.stands.insert(merge.disk.clone(), on),
                    None => self.stands.remove(&merge.disk),
                };
            }
            None => {
                let stood = self.stands.get_mut(&merge.disk).filter(|on| **on == merge.from);
                stood.into_iter().for_each(|on| on.clone_from(&merge.into));
            }
        }
    }

    /// Refuses a definition in which disks that stand on files of snapshots are elsewhere, or gone.
    pub(crate) fn fits(&self, now: &Definition, new: &Definition) -> Result<(), Refusal> {
        let touched = self.frozen().map(|one| &one.disk).chain(self.stands.keys());
        for disk in touched {
            let place = |definition: &Definition| {
                definition.disk(disk).map(|disk| (disk.path.clone(), disk.format, disk.read_only))
            };
            if place(now) != place(new) {
                let text = format!(
                    "The disk {disk} has external snapshots, and stays where it is and as it is: {}.",
                    self.of_disk(disk).join(", ")
                );
                return Err(
                    Refusal::new(Reason::Conflict, text).hint("\"snapshot delete NAME\" deletes one.")
                );
            }
        }
        match new.disks.iter().find(|disk| self.is_frozen(&disk.path)) {
            Some(disk) => Err(is_frozen(disk)),
            None => Ok(()),
        }
    }

    /// Where disks are is no part of what a machine was: an older definition gets them where they are now. So
    /// it does where a file of a snapshot that is deleted is named.
    pub(crate) fn carry_over(&self, now: &Definition, old: &mut Definition) {
        for disk in &now.disks {
            if let Some(one) = disk_mut(old, &disk.name)
                && (self.stands.contains_key(&disk.name)
                    || one.path.parent() == disk.path.parent() && !one.path.exists())
            {
                (one.path, one.format) = (disk.path.clone(), disk.format);
            }
        }
    }
}

fn disk_mut<'a>(definition: &'a mut Definition, name: &str) -> Option<&'a mut Disk> {
    definition.disks.iter_mut().find(|disk| disk.name == name)
}

fn is_frozen(disk: &Disk) -> Refusal {
    let text = format!(
        "{} belongs to a snapshot, and stays as it is: it cannot be the disk {}.",
        disk.path.display(),
        disk.name
    );
    Refusal::new(Reason::Conflict, text).hint("\"snapshot revert NAME\" goes on from a snapshot.")
}

/// Refuses the start of a machine that would write to what is left as it was, of whatever machine, or would
/// take one of our own files for what it is not: raw, a guest would write over all that is in it.
pub(crate) fn may_start<'a>(
    record: &Record,
    folder: &Path,
    all: impl Iterator<Item = &'a Layers> + Clone,
) -> Result<(), Refusal> {
    for disk in &record.definition.disks {
        if all.clone().any(|layers| layers.is_frozen(&disk.path)) {
            return Err(is_frozen(disk));
        }
        if files::is_own(folder, &disk.path)
            && let Some(format) = files::format_of(&disk.path).filter(|format| *format != disk.format)
        {
            let text = format!(
                "The file of the disk {} is {}, and the definition has it as {}.",
                disk.name,
                format.word(),
                disk.format.word()
            );
            return Err(Refusal::new(Reason::Conflict, text)
                .hint("\"define\" says how it is written, \"definition revert\" goes back to what was."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hypervisor_core::definition::Boot;

    use super::*;

    fn at(name: &str) -> PathBuf {
        Path::new("/m/disks").join(name)
    }

    /// Of one disk, `/m/disks/0`, which is raw.
    fn bare() -> (Layers, Definition) {
        let mut definition = Definition::new(1, 64, Boot::Disk);
        definition.disks.push(Disk { name: "data".into(), ..Disk::new(at("0"), DiskFormat::Raw) });
        (Layers::default(), definition)
    }

    fn take(layers: &mut Layers, definition: &mut Definition, name: &str, top: &str) {
        layers.take(name, Uuid::nil(), definition, &[("data".into(), at(top))]);
    }

    fn merge(step: Option<Step>) -> Merge {
        match step {
            Some(Step::Merge(merge)) => merge,
            step => unreachable!("{step:?}"),
        }
    }

    fn files(layers: &Layers) -> Vec<(&str, &Path)> {
        layers.frozen().map(|one| (one.disk.as_str(), one.path.as_path())).collect()
    }

    #[test]
    fn one_in_the_middle_is_merged_into_what_it_stands_on() {
        let (mut layers, mut now) = bare();
        for (name, top) in [("a", "1"), ("b", "2"), ("c", "3")] {
            take(&mut layers, &mut now, name, top);
        }
        assert_eq!(layers.step(&now), None, "none is deleted");
        // b is file 1, on which 2 (c) stands, on which the disk's own 3 does.
        layers.delete("b");
        let step = merge(layers.step(&now));
        assert_eq!((&step.from, &step.into, step.above.as_slice()), (&at("2"), &at("1"), &[at("3")][..]));
        layers.merged(&step, &mut now);
        assert_eq!(files(&layers), [("data", at("0").as_path()), ("data", &at("1"))]);
        assert_eq!(now.disks[0].path, at("3"));
        layers.delete("a");
        let step = merge(layers.step(&now));
        assert_eq!((&step.from, &step.into, step.format), (&at("1"), &at("0"), DiskFormat::Raw));
        layers.merged(&step, &mut now);
        assert_eq!(layers.find("c").unwrap().disks[0].format, DiskFormat::Raw);
        layers.delete("c");
        let step = merge(layers.step(&now));
        assert_eq!((&step.from, step.above.len()), (&at("3"), 0));
        layers.merged(&step, &mut now);
        assert_eq!((&now.disks[0].path, now.disks[0].format), (&at("0"), DiskFormat::Raw));
        assert_eq!(layers, Layers::default(), "as it was before any was taken");
    }

    #[test]
    fn one_with_two_branches_stays_until_there_is_one() {
        let (mut layers, mut now) = bare();
        take(&mut layers, &mut now, "a", "1");
        take(&mut layers, &mut now, "b", "2");
        assert_eq!(layers.revert("a", &mut now, &[("data".into(), at("3"))]), [at("2")]);
        layers.delete("a");
        assert_eq!(layers.step(&now), None, "1 (b) and the disk's own 3 stand on it");
        layers.delete("b");
        let Some(Step::Drop(frozen)) = layers.step(&now) else { unreachable!() };
        assert_eq!(frozen.path, at("1"));
        layers.drop_file(&frozen.path);
        let step = merge(layers.step(&now));
        assert_eq!((&step.from, &step.into), (&at("3"), &at("0")));
        layers.merged(&step, &mut now);
        assert_eq!(layers, Layers::default());
    }

    #[test]
    fn a_disk_that_stands_on_something_stays_where_it_is() {
        let (mut layers, mut now) = bare();
        let before = now.clone();
        take(&mut layers, &mut now, "a", "1");
        assert!(layers.fits(&now, &now).is_ok());
        assert!(layers.fits(&now, &before).unwrap_err().text.contains("external snapshots"));
        let mut old = before.clone();
        layers.carry_over(&now, &mut old);
        assert_eq!(old.disks, now.disks);
        let mut twice = now.clone();
        twice.disks.push(Disk { name: "other".into(), ..Disk::new(at("0"), DiskFormat::Raw) });
        assert!(layers.fits(&now, &twice).unwrap_err().text.contains("belongs to a snapshot"));
        let mut gone = now.clone();
        gone.disks.clear();
        assert!(layers.fits(&now, &gone).is_err());
    }
}
