//! The same for images: nothing is left of what was not finished.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use super::{die_everywhere, folders, name};

/// What there is of images: files that are kept, and what is on its way.
fn images(folder: &Path) -> (usize, usize) {
    let count = |of: &str| std::fs::read_dir(folder.join("state").join(of)).unwrap().count();
    (count("images") - 1, count("images/incoming"))
}

fn late(step: &str, done_at: &[&str]) -> bool {
    ["before-close", "closed"].contains(&step) || done_at.contains(&step)
}

const IMPORT: &str = "image import debian.qcow2 debian-12";

#[tokio::test]
async fn image_import() {
    let died = die_everywhere(&[], IMPORT, |_, folder, step| {
        let kept = usize::from(late(step, &["image-stored"]));
        assert_eq!(images(folder), (kept, 0), "at {step}");
    })
    .await;
    let steps = [
        "before-accepted",
        "accepted",
        "image-staged",
        "image-arrived",
        "image-converting",
        "image-finished",
        "image-kept",
        "image-stored",
        "before-close",
        "closed",
    ];
    assert_eq!(died.len(), steps.len(), "{died:?}");
    assert!(steps.iter().all(|step| died.contains(step)), "{died:?}");
}

#[tokio::test]
async fn image_publish() {
    let before = [IMPORT, "create golden debian-12"];
    let died = die_everywhere(&before, "image publish golden mine", |_, folder, step| {
        let kept = usize::from(late(step, &["image-stored"]));
        assert_eq!(images(folder), (1 + kept, 0), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 8, "{died:?}");
}

#[tokio::test]
async fn image_delete() {
    let died = die_everywhere(&[IMPORT], "image delete debian-12", |_, folder, step| {
        let gone = late(step, &["image-row-gone", "image-file-gone"]);
        assert_eq!(images(folder), (usize::from(!gone), 0), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 6, "{died:?}");
}

#[tokio::test]
async fn image_rename() {
    let died = die_everywhere(&[IMPORT], "image rename debian-12 bookworm", |_, folder, step| {
        assert_eq!(images(folder), (1, 0), "at {step}");
    })
    .await;
    assert_eq!(died.len(), 5, "{died:?}");
}

#[tokio::test]
async fn image_export() {
    let died = die_everywhere(&[IMPORT], "image export debian-12", |_, folder, step| {
        let export = std::fs::read_dir(folder.join("state/export")).into_iter().flatten().flatten();
        let names: Vec<_> = export.map(|entry| entry.file_name()).collect();
        let there = late(step, &["export-named"]);
        assert_eq!(names, if there { vec!["debian-12.qcow2"] } else { vec![] }, "at {step}");
    })
    .await;
    assert_eq!(died.len(), 6, "{died:?}");
}

#[tokio::test]
async fn export_of_an_archive() {
    let before = [IMPORT, "create web1 debian-12"];
    for line in ["image export debian-12 format=ova", "web1: export debian-12"] {
        let died = die_everywhere(&before, line, |_, folder, step| {
            let export = std::fs::read_dir(folder.join("state/export")).into_iter().flatten().flatten();
            let names: Vec<_> = export.map(|entry| entry.file_name()).collect();
            let there = late(step, &["export-named"]);
            assert_eq!(names, if there { vec!["debian-12.ova"] } else { vec![] }, "at {step}");
        })
        .await;
        assert_eq!(died.len(), 6, "{line}: {died:?}");
    }
}

#[tokio::test]
async fn create_of_a_kept_image() {
    for line in ["create web1 debian-12", "create web1 debian-12 --full"] {
        let died = die_everywhere(&[IMPORT], line, |agent, folder, step| {
            let there = agent.machine(&name("web1")).is_some();
            assert_eq!(folders(folder, "machines"), usize::from(there), "{step}");
            assert_eq!(images(folder), (1, 0), "at {step}");
        })
        .await;
        assert_eq!(died.len(), 7, "{died:?}");
    }
}

/// The processes that work on something below a folder.
fn at_work(folder: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let words = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let words = words.map(|words| String::from_utf8_lossy(&words).replace('\0', " "));
    words.filter(|words| words.starts_with("qemu-img") && words.contains(folder.to_str().unwrap())).collect()
}

#[tokio::test]
async fn a_conversion_ends_with_the_agent_that_wanted_it() {
    let folder = tempfile::tempdir().unwrap();
    let agent = super::open(folder.path()).await;
    agent.close().await;
    drop(agent);
    // Large enough to be at work for a while.
    let mut large = vec![0_u8; 512 << 20];
    for (number, bytes) in large.chunks_mut(4096).enumerate() {
        bytes[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    }
    large[510..512].copy_from_slice(b"\x55\xaa");
    std::fs::write(folder.path().join("state/import/large.raw"), large).unwrap();
    assert!(super::dies_at(folder.path(), "image import large.raw large", "image-converting"));
    // The kernel ends it with its parent: it is gone, or on its way out.
    while !at_work(folder.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(images(folder.path()).1, 1, "half of it is there still");
    let agent = super::open(folder.path()).await;
    super::settled(&agent, "image import large.raw large", "image-converting").await;
    assert_eq!(images(folder.path()), (0, 0));
    agent.close().await;
}
