//! Which files of the host a definition may name.
//!
//! Who may define a machine is not thereby allowed to read the host: a guest reads whatever file is its
//! disk. So a file that a definition names anew lies in the machine's own folder, belongs to an image of
//! the configuration, or is below a folder that `[files] allow` names. Where it really lies counts:
//! links are followed first. What a qcow2 file says of other files counts as named, too.

use std::path::{Path, PathBuf};

use hypervisor_core::{
    definition::{Boot, Definition, Disk, DiskFormat},
    driver::{DriverError, disk},
};
use skerry_stanzas::refusal::{Reason, Refusal};

use crate::{config::Config, reference};

/// How many files stand behind one another at most.
const CHAIN_MAX: usize = 16;

/// Looks at all files that the new definition names and the old one did not.
pub(crate) async fn check(
    config: &Config,
    folder: &Path,
    old: &Definition,
    new: &Definition,
) -> Result<(), Refusal> {
    let allowed = Allowed::new(config, folder);
    let known = plain(old);
    for (what, path) in plain(new).into_iter().filter(|named| !known.contains(named)) {
        allowed.admit(what, path).await?;
    }
    for share in new.shares.iter().filter(|share| !old.shares.iter().any(|was| was.path == share.path)) {
        allowed.admit_folder(&share.path).await?;
    }
    let same = |disk: &Disk| old.disks.iter().any(|was| was.path == disk.path && was.format == disk.format);
    for disk in new.disks.iter().filter(|disk| !same(disk)) {
        let path = allowed.admit("disk", &disk.path).await?;
        if disk.format == DiskFormat::Qcow2 {
            allowed.admit_chain(path).await?;
        }
    }
    Ok(())
}

/// Where a new file would really be, if a definition may name it.
pub(in super::super) async fn place(config: &Config, path: &Path) -> Result<PathBuf, Refusal> {
    let to = |refusal: Refusal| refusal.field("to");
    let (Some(folder), Some(name), true) = (path.parent(), path.file_name(), path.is_absolute()) else {
        return Err(to(Refusal::new(Reason::BadRequest, "That is no whole path of a file.")
            .hint("Such as: /srv/fast/web1-data.qcow2, or own for the machine's own folder.")));
    };
    if path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control) || path.to_str().is_none() {
        return Err(to(Refusal::new(Reason::BadRequest, "That cannot be the path of a disk.")));
    }
    let allowed = Allowed { files: Vec::new(), ..Allowed::new(config, Path::new("/nowhere")) };
    Ok(allowed.admit("folder", folder).await.map_err(to)?.join(name))
}

/// The files that are not disks.
fn plain(definition: &Definition) -> Vec<(&'static str, &Path)> {
    match &definition.boot {
        Boot::Disk => Vec::new(),
        Boot::Kernel { kernel, initrd, .. } => {
            let initrd = initrd.iter().map(|initrd| ("initrd", initrd.as_path()));
            std::iter::once(("kernel", kernel.as_path())).chain(initrd).collect()
        }
    }
}

/// Where files may be.
struct Allowed {
    /// The machine's own folder.
    own: PathBuf,
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Allowed {
    fn new(config: &Config, folder: &Path) -> Self {
        let really = |path: &Path| std::fs::canonicalize(path).ok();
        let folders = std::iter::once(folder).chain(config.files.allow.iter().map(PathBuf::as_path));
        let images = config.images.values().flat_map(|image| [&image.kernel, &image.initrd, &image.disk]);
        Self {
            own: really(folder).unwrap_or_else(|| folder.to_owned()),
            folders: folders.filter_map(really).collect(),
            files: images.flatten().filter_map(|path| really(path)).collect(),
        }
    }

    /// Where it really is, if it may be named.
    async fn admit(&self, what: &'static str, path: &Path) -> Result<PathBuf, Refusal> {
        let found = tokio::fs::canonicalize(path).await.map_err(|error| {
            Refusal::new(Reason::NotFound, format!("The {what} {}: {error}.", path.display())).field("toml")
        })?;
        if self.files.contains(&found) || self.folders.iter().any(|folder| found.starts_with(folder)) {
            return Ok(found);
        }
        let text = format!("The {what} {} is not where a definition may name files.", path.display());
        let hint = "The agent's configuration says where: [files] allow = [\"/srv/machines\"].";
        Err(Refusal::new(Reason::NotAllowed, text).field("toml").hint(hint))
    }

    /// A folder that is shared: below one that is allowed. The machine's own is none, with its sockets in it.
    async fn admit_folder(&self, path: &Path) -> Result<(), Refusal> {
        let found = self.admit("share", path).await?;
        if found.starts_with(&self.own) || !found.is_dir() {
            let text = format!("{} is no folder that a machine may share.", path.display());
            return Err(Refusal::new(Reason::NotAllowed, text).field("toml"));
        }
        Ok(())
    }

    /// What stands behind a qcow2 file: its image, the image's image …
    async fn admit_chain(&self, mut path: PathBuf) -> Result<(), Refusal> {
        for _ in 0..CHAIN_MAX {
            let described = disk::describe(&path).await.map_err(|error| match error {
                DriverError::Unfit(why) => Refusal::new(Reason::Conflict, format!("{why}.")).field("toml"),
                error => reference::internal("A disk could not be looked at", &error),
            })?;
            if described.data_file().is_some() {
                let text = format!("{} keeps what it holds in another file.", path.display());
                return Err(Refusal::new(Reason::NotAllowed, text).field("toml"));
            }
            let Some(image) = described.image else { return Ok(()) };
            path = self.admit("image of a disk,", Path::new(&image)).await?;
        }
        let text = format!("More than {CHAIN_MAX} images stand behind one another.");
        Err(Refusal::new(Reason::NotAllowed, text).field("toml"))
    }
}
