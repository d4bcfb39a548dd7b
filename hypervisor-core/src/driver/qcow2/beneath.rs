//! The files that a disk stands on, as QEMU finds them when it opens the disk.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::outside;
use crate::{definition::DiskFormat, driver::DriverError};

/// More than anybody has: who leads on for ever leads nowhere.
const DEPTH_MAX: usize = 256;

/// A file that a disk stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Beneath {
    pub(in super::super) path: PathBuf,
    pub(in super::super) format: DiskFormat,
    /// It has the content of the disk itself (0), or of the file so far below it (an external data file).
    pub(in super::super) data_of: Option<usize>,
}

/// All that a disk stands on, from above to below. What cannot be read ends it: whoever opens the disk says
/// so in better words. What is named by another protocol is no file.
///
/// # Errors
/// [`DriverError::Unfit`] when there is no end of it.
pub(in super::super) fn beneath(path: &Path, format: DiskFormat) -> Result<Vec<Beneath>, DriverError> {
    let (mut all, mut upper) = (Vec::new(), Beneath { path: path.into(), format, data_of: None });
    for depth in 0..=DEPTH_MAX {
        if upper.format != DiskFormat::Qcow2 {
            return Ok(all);
        }
        let Ok(named) = outside(&upper.path) else { return Ok(all) };
        if let Some(path) = named.data_file.as_deref().and_then(|name| file(name, &upper.path)) {
            all.push(Beneath { path, format: DiskFormat::Raw, data_of: Some(depth) });
        }
        let Some(path) = named.backing.as_deref().and_then(|name| file(name, &upper.path)) else {
            return Ok(all);
        };
        let said =
            DiskFormat::ALL.into_iter().find(|one| named.backing_format.as_deref() == Some(one.word()));
        // As QEMU does where it is not said.
        let looks = || if outside(&path).is_ok() { DiskFormat::Qcow2 } else { DiskFormat::Raw };
        upper = Beneath { format: said.unwrap_or_else(looks), path, data_of: None };
        all.push(upper.clone());
    }
    Err(DriverError::Unfit(format!("{} stands on more files than can be", path.display())))
}

/// The file that a name means in the header of `upper`.
fn file(name: &Path, upper: &Path) -> Option<PathBuf> {
    let text = name.to_string_lossy();
    if let Some(json) = text.strip_prefix("json:") {
        let words: Value = serde_json::from_str(json).ok()?;
        let places = ["/file/filename", "/file.filename", "/filename"];
        let found = places.iter().find_map(|place| words.pointer(place)?.as_str())?;
        return file(Path::new(found), upper);
    }
    if let Some(plain) = text.strip_prefix("file:") {
        return Some(upper.parent()?.join(plain));
    }
    // A protocol is told by a colon before any slash.
    let is_elsewhere = text.split('/').next().is_some_and(|first| first.contains(':'));
    (!is_elsewhere).then(|| upper.parent().map(|folder| folder.join(name)))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::driver::{disk, qcow2::chain::cover};

    #[tokio::test]
    async fn a_disk_leads_to_all_it_stands_on() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("image.raw"), vec![0; 1 << 20]).unwrap();
        disk::overlay(&at("image.raw"), &at("middle.qcow2")).await.unwrap();
        cover((&at("middle.qcow2"), DiskFormat::Qcow2), 1 << 20, &at("top.qcow2")).await.unwrap();
        let found = beneath(&at("top.qcow2"), DiskFormat::Qcow2).unwrap();
        let found: Vec<_> = found.iter().map(|one| (one.path.clone(), one.format)).collect();
        assert_eq!(found, [(at("middle.qcow2"), DiskFormat::Qcow2), (at("image.raw"), DiskFormat::Raw)]);
        // What a guest wrote to a raw disk is never taken for a header.
        std::fs::copy(at("top.qcow2"), at("guest.raw")).unwrap();
        assert_eq!(beneath(&at("guest.raw"), DiskFormat::Raw).unwrap(), []);
        std::fs::remove_file(at("middle.qcow2")).unwrap();
        std::fs::rename(at("top.qcow2"), at("middle.qcow2")).unwrap();
        let endless = beneath(&at("middle.qcow2"), DiskFormat::Qcow2).unwrap_err();
        assert!(endless.to_string().contains("more files than can be"), "{endless}");
    }

    #[test]
    fn a_name_is_a_file_or_is_not() {
        let upper = Path::new("/srv/a.qcow2");
        let of = |name: &str| file(Path::new(name), upper);
        assert_eq!(of("base.qcow2").as_deref(), Some(Path::new("/srv/base.qcow2")));
        assert_eq!(of("/images/b:c").as_deref(), Some(Path::new("/images/b:c")));
        assert_eq!(of("file:/x").as_deref(), Some(Path::new("/x")));
        let json = r#"json:{"driver":"raw","file":{"driver":"file","filename":"/y"}}"#;
        assert_eq!(of(json).as_deref(), Some(Path::new("/y")));
        assert_eq!(of("nbd://other/disk"), None);
    }
}
