//! The files that a disk stands on, as QEMU finds them when it opens the disk.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::outside;
use crate::{
    definition::DiskFormat,
    driver::{Beneath, DriverError},
};

/// More than anybody has: who leads on for ever leads nowhere.
const DEPTH_MAX: usize = 256;

/// All that a disk stands on, from above to below. What cannot be read ends it: whoever opens the disk says
/// so in better words.
///
/// # Errors
/// [`DriverError::Unfit`] when there is no end of it, or a header names something that is no file.
pub(in super::super) fn beneath(path: &Path, format: DiskFormat) -> Result<Vec<Beneath>, DriverError> {
    let (mut all, mut upper, mut format) = (Vec::new(), path.to_owned(), format);
    for depth in 0..=DEPTH_MAX {
        if format != DiskFormat::Qcow2 {
            return Ok(all);
        }
        let Ok(named) = outside(&upper) else { return Ok(all) };
        let one = |name: &Path, format: Option<DiskFormat>, data_of| {
            let path = file(name, &upper).ok_or_else(|| {
                DriverError::Unfit(format!("{} names {}, which is no file", upper.display(), name.display()))
            })?;
            // As QEMU does where it is not said.
            let looks = || if outside(&path).is_ok() { DiskFormat::Qcow2 } else { DiskFormat::Raw };
            Ok::<_, DriverError>(Beneath {
                format: format.unwrap_or_else(looks),
                path,
                by: upper.clone(),
                data_of,
            })
        };
        if let Some(name) = &named.data_file {
            all.push(one(name, Some(DiskFormat::Raw), Some(depth))?);
        }
        let Some(name) = &named.backing else { return Ok(all) };
        let said =
            DiskFormat::ALL.into_iter().find(|one| named.backing_format.as_deref() == Some(one.word()));
        let lower = one(name, said, None)?;
        (upper, format) = (lower.path.clone(), lower.format);
        all.push(lower);
    }
    Err(DriverError::Unfit(format!("{} stands on more files than can be", path.display())))
}

/// The file that a name means in the header of `upper`.
fn file(name: &Path, upper: &Path) -> Option<PathBuf> {
    let text = name.to_string_lossy();
    if let Some(json) = text.strip_prefix("json:") {
        return file(Path::new(&named(&serde_json::from_str(json).ok()?)?), upper);
    }
    if let Some(plain) = text.strip_prefix("file:") {
        return Some(upper.parent()?.join(plain));
    }
    // A protocol is told by a colon before any slash.
    let is_elsewhere = text.split('/').next().is_some_and(|first| first.contains(':'));
    (!is_elsewhere).then(|| upper.parent().map(|folder| folder.join(name)))?
}

/// The one file that a description in QEMU's words is of. One that says more may mean anything.
fn named(words: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (mut name, mut is_plain) = (None, true);
    let mut look = |key: &str, value: &Value| match key {
        "filename" | "file.filename" => {
            is_plain &= name.is_none();
            name = text(value);
        }
        "driver" | "file.driver" => is_plain &= matches!(value.as_str(), Some("file" | "raw" | "qcow2")),
        _ => is_plain = false,
    };
    for (key, value) in words.as_object()? {
        match value.as_object().filter(|_| key == "file") {
            Some(inner) => inner.iter().for_each(|(key, value)| look(key, value)),
            None => look(key, value),
        }
    }
    name.filter(|_| is_plain)
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

    #[tokio::test]
    async fn a_file_with_the_content_is_told_as_one_and_what_is_no_file_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let make = |words: &[&str]| {
            let mut command = std::process::Command::new("qemu-img");
            let done = command.args(["create", "-q", "-f", "qcow2"]).args(words).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        };
        let (top, content) = (at("top.qcow2"), at("content"));
        make(&["-o", &format!("data_file={}", content.display()), top.to_str().unwrap(), "1M"]);
        let one =
            |path: PathBuf| Beneath { path, format: DiskFormat::Raw, by: top.clone(), data_of: Some(0) };
        assert_eq!(beneath(&top, DiskFormat::Qcow2).unwrap(), [one(content)]);
        std::fs::remove_file(&top).unwrap();
        make(&["-u", "-b", "nbd://elsewhere/disk", "-F", "raw", top.to_str().unwrap(), "1M"]);
        let said = beneath(&top, DiskFormat::Qcow2).unwrap_err().to_string();
        assert!(said.ends_with("names nbd://elsewhere/disk, which is no file"), "{said}");
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
        // It names two, or something that opens others.
        let odd = [
            r#"json:{"filename":"/y","file":{"filename":"/z"}}"#,
            r#"json:{"driver":"raw","file":{"driver":"blkverify","filename":"/y"}}"#,
            r#"json:{"driver":"raw","filename":"/y","file":"node"}"#,
        ];
        for odd in odd {
            assert_eq!(of(odd), None, "{odd}");
        }
    }
}
