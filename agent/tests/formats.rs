//! Disks as others write them: made by qemu-img when the test runs, imported, and compared byte for byte;
//! and a host on which there is no room for them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use skerry_stanzas::refusal::Reason;
use stage::{ANN, Stage, stage};

/// A disk with a boot record, and something else in each of its parts.
fn content() -> Vec<u8> {
    let mut content = vec![0; 6 << 20];
    content[510..512].copy_from_slice(b"\x55\xaa");
    for (part, bytes) in content.chunks_mut(1 << 20).enumerate().skip(1) {
        bytes[part * 1000..part * 1000 + 70_000].fill(u8::try_from(part).unwrap());
    }
    content
}

fn imports(stage: &Stage) -> PathBuf {
    stage.folder.path().join("state/import")
}

fn qemu_img(words: &[&str]) {
    let done = Command::new("qemu-img").args(words).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Writes the disk in some way, and gives back the name of the file.
fn written(stage: &Stage, format: &str, options: &str, name: &str) {
    let source = stage.folder.path().join("source.raw");
    fs::write(&source, content()).unwrap();
    let target = imports(stage).join(name).display().to_string();
    let mut words = vec!["convert", "-f", "raw", "-O", format];
    if !options.is_empty() {
        words.extend(["-o", options]);
    }
    let source = source.display().to_string();
    words.extend([source.as_str(), target.as_str()]);
    qemu_img(&words);
}

async fn comes_out_as_it_went_in(stage: &Stage, file: &str, name: &str) {
    let said = stage.done(ANN, &format!("image import {file} {name}")).await;
    assert!(said.contains("a disk of 6 MiB"), "{file}: {said}");
    stage.done(ANN, &format!("image export {name} format=raw")).await;
    let out = stage.folder.path().join(format!("state/export/{name}.raw"));
    assert!(fs::read(out).unwrap() == content(), "{file} is another disk now");
}

#[tokio::test]
async fn each_format_others_write_is_the_same_disk_here() {
    let stage = stage().await;
    let ways = [
        ("vmdk", "subformat=monolithicSparse", "sparse.vmdk"),
        ("vmdk", "subformat=streamOptimized", "stream.vmdk"),
        ("vdi", "", "dynamic.vdi"),
        ("vdi", "static=on", "static.vdi"),
        ("qcow2", "compat=0.10", "old.qcow2"),
        ("qcow2", "compression_type=zstd,extended_l2=on", "new.qcow2"),
        ("raw", "", "plain.raw"),
    ];
    for (format, options, file) in ways {
        written(&stage, format, options, file);
        comes_out_as_it_went_in(&stage, file, file.split('.').next().unwrap()).await;
    }
}

#[tokio::test]
async fn what_is_in_several_files_is_refused_with_the_way_out() {
    let stage = stage().await;
    for subformat in ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"] {
        let file = format!("{}.vmdk", subformat.to_lowercase());
        written(&stage, "vmdk", &format!("subformat={subformat}"), &file);
        let refusal = stage.refused(ANN, &format!("image import {file}")).await;
        assert!(refusal.text.contains("export it as one file"), "{subformat}: {refusal:?}");
    }
    written(&stage, "qcow2", "", "base.qcow2");
    let (base, thin) = (imports(&stage).join("base.qcow2"), imports(&stage).join("thin.qcow2"));
    let (base, thin) = (base.display().to_string(), thin.display().to_string());
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &base, &thin]);
    assert_eq!(stage.refused(ANN, "image import thin.qcow2").await.reason, Reason::Conflict);
    let left = fs::read_dir(stage.folder.path().join("state/images/incoming")).unwrap().count();
    assert_eq!(left, 0);
}

/// A small file system, as long as this lives.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn at(folder: &'a Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[tokio::test]
async fn where_there_is_no_room_nothing_is_left_and_the_answer_says_so() {
    // The second size has room for what comes, and none for what is made of it.
    for (size, mib) in [("150m", 64_usize), ("230m", 80)] {
        let stage = stage().await;
        let mut large = vec![7_u8; mib << 20];
        large[510..512].copy_from_slice(b"\x55\xaa");
        fs::write(imports(&stage).join("large.raw"), large).unwrap();
        let incoming = stage.folder.path().join("state/images/incoming");
        let Some(_small) = Small::at(&incoming, size) else {
            eprintln!("skipped: a small file system cannot be mounted here (it takes root)");
            return;
        };
        let refusal = stage.refused(ANN, "image import large.raw").await;
        assert_eq!(refusal.reason, Reason::Limit, "{refusal:?}");
        assert!(refusal.text.contains("MiB are free"), "{refusal:?}");
        assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0, "nothing is left, at {size}");
        assert!(stage.done(ANN, "image list").await.contains("linux"), "looking goes on");
    }
}
