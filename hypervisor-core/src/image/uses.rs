//! Which machines stand on which images: read from the disks themselves, which cannot be out of date.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use super::header::{bytes, qcow2_backing};

/// Folders below a machine's own that are looked through.
const DEPTH_MAX: usize = 3;

/// The files that are backing files, and what needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses(BTreeMap<OsString, BTreeSet<User>>);

/// What needs a backing file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum User {
    /// A machine, by the name of its folder.
    Machine(String),
    /// A disk that is no machine's own, by its file's name.
    Disk(OsString),
}

impl Uses {
    /// Looks through `places`, each holding one folder a machine, and disks that machines share. Files are
    /// told apart by their names: an image's is its content's hash, wherever the agent's folder was when
    /// the disk was made.
    ///
    /// # Errors
    /// When a folder or a disk cannot be read: then it is not known what is used.
    pub fn look(places: &[&Path]) -> io::Result<Self> {
        let mut uses = Self::default();
        for place in places {
            for machine in listed(place)? {
                let kind = machine.file_type()?;
                if kind.is_dir() {
                    let user = User::Machine(machine.file_name().to_string_lossy().into_owned());
                    uses.look_into(&machine.path(), &user, DEPTH_MAX)?;
                } else if kind.is_file() {
                    uses.look_at(&machine.path(), &User::Disk(machine.file_name()))?;
                }
            }
        }
        Ok(uses)
    }

    fn look_into(&mut self, folder: &Path, user: &User, depth: usize) -> io::Result<()> {
        for entry in listed(folder)? {
            let kind = entry.file_type()?;
            if kind.is_dir() && depth > 0 {
                self.look_into(&entry.path(), user, depth - 1)?;
            } else if kind.is_file() {
                self.look_at(&entry.path(), user)?;
            }
        }
        Ok(())
    }

    fn look_at(&mut self, disk: &Path, user: &User) -> io::Result<()> {
        if let Some(name) = backing_file(disk)?.and_then(|path| path.file_name().map(OsString::from)) {
            self.0.entry(name).or_default().insert(user.clone());
        }
        Ok(())
    }

    /// The machines that need the file of this name, by the names of their folders; a shared disk that no
    /// machine needs stands for itself.
    pub fn of(&self, file: &Path) -> Vec<String> {
        let mut machines = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<OsString> = file.file_name().map(OsString::from).into_iter().collect();
        while let Some(name) = open.pop() {
            for user in self.0.get(&name).into_iter().flatten() {
                match user {
                    User::Machine(machine) => drop(machines.insert(machine.clone())),
                    User::Disk(disk) if !seen.insert(disk.clone()) => {}
                    User::Disk(disk) if self.0.contains_key(disk) => open.push(disk.clone()),
                    User::Disk(disk) => drop(machines.insert(disk.to_string_lossy().into_owned())),
                }
            }
        }
        machines.into_iter().collect()
    }
}

/// What is in a folder; nothing when it went meanwhile.
fn listed(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The backing file a qcow2 image names; none for any other file, and for one that went meanwhile.
///
/// # Errors
/// When it cannot be read.
pub fn backing_file(path: &Path) -> io::Result<Option<PathBuf>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let Some((offset, length)) = qcow2_backing(&bytes(&file, 0, 512)?) else { return Ok(None) };
    Ok(Some(OsString::from_vec(bytes(&file, offset, length)?).into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::driver::disk;

    #[tokio::test]
    async fn a_disk_says_what_it_stands_on() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("sha256-1.qcow2");
        File::create(&image).unwrap().set_len(1 << 20).unwrap();
        let machines = folder.path().join("machines");
        fs::create_dir_all(machines.join("m1/disks")).unwrap();
        fs::create_dir_all(machines.join("m2")).unwrap();
        disk::overlay(&image, &machines.join("m1/disk.qcow2")).await.unwrap();
        disk::overlay(&machines.join("m1/disk.qcow2"), &machines.join("m1/disks/more.qcow2")).await.unwrap();
        fs::write(machines.join("m2/console.log"), "QFI").unwrap();
        let bases = folder.path().join("bases");
        fs::create_dir(&bases).unwrap();
        let shared = bases.join("m3-disk1.qcow2");
        disk::overlay(&image, &shared).await.unwrap();
        let places = [machines.as_path(), &folder.path().join("not-there"), &bases];
        let uses = Uses::look(&places).unwrap();
        assert_eq!(uses.of(&image), ["m1", "m3-disk1.qcow2"], "a shared disk of nobody holds it too");
        disk::overlay(&shared, &machines.join("m2/disk.qcow2")).await.unwrap();
        assert_eq!(Uses::look(&places).unwrap().of(&image), ["m1", "m2"], "through the disk they share");
        fs::remove_file(machines.join("m2/disk.qcow2")).unwrap();
        fs::remove_file(&shared).unwrap();
        let uses = Uses::look(&places).unwrap();
        assert_eq!(uses.of(&image), ["m1"]);
        assert_eq!(uses.of(Path::new("elsewhere/sha256-1.qcow2")), ["m1"], "by name");
        assert_eq!(uses.of(Path::new("disk.qcow2")), ["m1"]);
        assert!(uses.of(Path::new("console.log")).is_empty());
    }
}
