//! Files that stand on one another, none of which a machine has open.

use std::{ffi::OsStr, path::Path};

use tokio::process::Command;

use super::{absolute, claim, converted, img, unclaimed};
use crate::{
    definition::DiskFormat,
    driver::{DriverError, Progress, layers::Merge, reach::Img},
};

/// Makes `path` an empty file that stands on `base`, which is not opened: a guest may write to it. Killed
/// at any moment, it is there whole or not at all.
pub(in super::super) async fn cover(
    base: (&Path, DiskFormat),
    size_bytes: u64,
    path: &Path,
) -> Result<(), DriverError> {
    let (below, path) = (absolute(base.0)?, absolute(path)?);
    if path.exists() {
        return Err(DriverError::Unfit(format!("{} is there already", path.display())));
    }
    let mut beside = path.clone().into_os_string();
    beside.push(".new");
    let beside = Path::new(&beside);
    // What an earlier life left of it.
    let _ = std::fs::remove_file(beside);
    claim(beside)?;
    let size = size_bytes.to_string();
    let words: [&OsStr; 11] = [
        "create".as_ref(),
        "-q".as_ref(),
        "-u".as_ref(),
        "-f".as_ref(),
        "qcow2".as_ref(),
        "-F".as_ref(),
        base.1.word().as_ref(),
        "-b".as_ref(),
        below.as_ref(),
        beside.as_ref(),
        size.as_ref(),
    ];
    let made = img(&words, Img::new().writes(beside)).await.map(drop).and_then(|()| {
        std::fs::rename(beside, &path)
            .map_err(|source| DriverError::system(format!("making {}", path.display()), source))
    });
    unclaimed(beside, made)
}

/// Writes what is in one into the one it stands on, and has those above stand on that. What is in the upper
/// one stays there: until somebody says otherwise, both can be read.
pub(in super::super) async fn merge(merge: &Merge, progress: Progress<'_>) -> Result<(), DriverError> {
    let mut command = Command::new("qemu-img");
    command.args(["commit", "-p", "-d", "-f", "qcow2", "-b"]).arg(&merge.into).arg(&merge.from);
    let reach = Img::new().follows(&merge.from, DiskFormat::Qcow2)?.writes(&merge.from).writes(&merge.into);
    converted(command, reach, progress).await?;
    for above in &merge.above {
        let words: [&OsStr; 9] = [
            "rebase".as_ref(),
            "-q".as_ref(),
            "-u".as_ref(),
            "-f".as_ref(),
            "qcow2".as_ref(),
            "-b".as_ref(),
            merge.into.as_ref(),
            "-F".as_ref(),
            merge.format.word().as_ref(),
        ];
        let reach = Img::new().writes(above).reads(&merge.into);
        img(&[&words[..], &[above.as_os_str()]].concat(), reach).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{io::Write, os::unix::fs::FileExt};

    use super::*;
    use crate::{definition::Disk, driver::qcow2};

    /// Writes a byte all over a cluster of a file, as a guest would.
    fn write(file: &Path, byte: u8, cluster: u64) {
        let words = format!("write -P {byte} {} 64k", cluster << 16);
        let mut command = std::process::Command::new("qemu-io");
        let done = command.args(["-f", "qcow2", "-c", &words]).arg(file).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// The first bytes of the first clusters, of all that a file leads to.
    async fn read(file: &Path, format: DiskFormat) -> Vec<u8> {
        let copy = file.with_extension("read");
        let disk = Disk::new(file, format);
        qcow2::copy(&disk, &copy, DiskFormat::Raw, &|_| {}).await.unwrap();
        let raw = std::fs::File::open(&copy).unwrap();
        std::fs::remove_file(&copy).unwrap();
        let mut found = vec![0; 4];
        for (cluster, byte) in found.iter_mut().enumerate() {
            raw.read_exact_at(std::slice::from_mut(byte), (cluster as u64) << 16).unwrap();
        }
        found
    }

    #[tokio::test]
    async fn all_that_was_written_is_there_at_each_step() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (lowest, middle, top) = (at("a, lowest.raw"), at("middle.qcow2"), at("top.qcow2"));
        // What a guest wrote to a raw disk looks like a qcow2 file that leads somewhere else.
        let mut raw = std::fs::File::create(&lowest).unwrap();
        raw.write_all(b"QFI\xfb").unwrap();
        raw.set_len(1 << 20).unwrap();
        let size = 1 << 20;
        cover((&lowest, DiskFormat::Raw), size, &middle).await.unwrap();
        write(&middle, 1, 1);
        write(&middle, 1, 2);
        cover((&middle, DiskFormat::Qcow2), size, &top).await.unwrap();
        write(&top, 2, 2);
        write(&top, 2, 3);
        let again = cover((&lowest, DiskFormat::Raw), size, &middle).await;
        assert!(matches!(again, Err(DriverError::Unfit(_))), "{again:?}");
        assert_eq!(read(&top, DiskFormat::Qcow2).await, [b'Q', 1, 2, 2]);
        assert_eq!(read(&middle, DiskFormat::Qcow2).await, [b'Q', 1, 1, 0]);

        let (disk, format) = (String::from("data"), DiskFormat::Raw);
        let merging =
            Merge { disk, from: middle.clone(), into: lowest.clone(), format, above: vec![top.clone()] };
        merge(&merging, &|_| {}).await.unwrap();
        assert_eq!(read(&middle, DiskFormat::Qcow2).await, [b'Q', 1, 1, 0], "until it is removed");
        std::fs::remove_file(&middle).unwrap();
        assert_eq!(read(&lowest, DiskFormat::Raw).await, [b'Q', 1, 1, 0]);
        assert_eq!(read(&top, DiskFormat::Qcow2).await, [b'Q', 1, 2, 2]);
        let last = Merge { from: top.clone(), above: vec![], ..merging };
        merge(&last, &|_| {}).await.unwrap();
        assert_eq!(read(&top, DiskFormat::Qcow2).await, [b'Q', 1, 2, 2], "until it is removed");
        assert_eq!(read(&lowest, DiskFormat::Raw).await, [b'Q', 1, 2, 2]);
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "nothing is left beside them");
    }
}
