//! External snapshots of a real guest: it goes on writing while the files of its disk are merged under it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use skerry_tests::lab::{Lab, Wanted};

use crate::{
    real_guests::Guest,
    storage::{done, holds, writes},
};

/// The folder of web1's disks.
fn folder(lab: &Lab) -> PathBuf {
    fn find(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true if entry.file_name() == "disks" => found.push(entry.path()),
                true => find(&entry.path(), found),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    find(lab.dir(), &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn files(lab: &Lab) -> Vec<String> {
    let entries = std::fs::read_dir(folder(lab)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn img(words: &[&str]) -> String {
    let done = Command::new("qemu-img").args(words).output().unwrap();
    assert!(done.status.success(), "qemu-img {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Counts on the disk, and writes all over the rest of it meanwhile.
const COUNT: &str = "i=0; while :; do i=$((i+1)); \
                 echo $i | dd of=/dev/vda bs=512 seek=8 conv=sync,fsync 2>/dev/null; \
                 dd if=/dev/urandom of=/dev/vda bs=64k seek=$((16+i%800)) \
                 count=1 conv=fsync 2>/dev/null; done &";

/// The number that the guest's loop wrote last.
async fn counted(guest: &Guest) -> u64 {
    let line = "--line=echo 3 >/proc/sys/vm/drop_caches; \
                echo at $(dd if=/dev/vda bs=512 skip=8 count=1 | head -n 1) end";
    for _ in 0..300 {
        let said = guest.says("send", &[line]).await;
        let number = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("at ")?.strip_suffix(" end")?.trim().parse().ok());
        if let Some(number) = number {
            return number;
        }
    }
    panic!("it does not count");
}

#[tokio::test]
async fn a_real_guest_goes_on_writing_while_its_snapshots_are_merged() {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "admin").await;
    done(&guest, "disk-create", &["--name=data", "--size=64M"], "has a new disk data").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    writes(&guest, "first").await;
    guest.says("send", &[&format!("--line={COUNT}")]).await;
    let begun = counted(&guest).await;
    done(&guest, "snapshot-take", &["--name=a", "--external"], "its files stay as they are").await;
    // What is left as it was can be copied by anybody, and read as it is.
    let frozen = folder(&lab).join("data.qcow2");
    let copy = lab.dir().join("backup.raw");
    let words = ["convert", "-f", "qcow2", "-O", "raw", frozen.to_str().unwrap(), copy.to_str().unwrap()];
    img(&[&words[..1], &["-U"], &words[1..]].concat());
    assert!(std::fs::read(&copy).unwrap().starts_with(b"first\n"));
    writes(&guest, "second").await;
    done(&guest, "snapshot-take", &["--name=b", "--external"], "its files stay as they are").await;
    let list = guest.says("snapshot-list", &[]).await;
    assert_eq!(list.matches("external (").count(), 2, "{list}");
    assert_eq!(files(&lab), ["data.1.qcow2", "data.2.qcow2", "data.qcow2"]);
    let before = counted(&guest).await;
    for (name, left) in [("a", &["data.2.qcow2", "data.qcow2"][..]), ("b", &["data.qcow2"])] {
        done(&guest, "snapshot-delete", &[&format!("--name={name}")], "is deleted").await;
        assert_eq!(files(&lab), left, "{name}");
        assert_eq!(guest.state().await, "running");
    }
    holds(&guest, "second").await;
    let mut after = counted(&guest).await;
    while after <= before {
        after = counted(&guest).await;
    }
    assert!(begun < before, "{begun} {before} {after}");
    guest.ask("kill", &[]).await;
    img(&["check", "-q", "-f", "qcow2", frozen.to_str().unwrap()]);
    guest.ask("start", &[]).await;
    guest.booted().await;
    holds(&guest, "second").await;
    assert!(counted(&guest).await >= after, "what it wrote is on its disk");
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_real_guest_with_a_raw_disk_goes_back_and_takes_another_way() {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "admin").await;
    let argv = ["--name=data", "--size=64M", "--format=raw"];
    done(&guest, "disk-create", &argv, "has a new disk data").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    writes(&guest, "first").await;
    done(&guest, "snapshot-take", &["--name=a", "--external"], "its files stay as they are").await;
    writes(&guest, "second").await;
    guest.ask("kill", &[]).await;
    done(&guest, "snapshot-take", &["--name=b", "--external"], "its files stay as they are").await;
    done(&guest, "snapshot-revert", &["--name=a"], "in the snapshot a").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    holds(&guest, "first").await;
    writes(&guest, "third").await;
    let tree = guest.says("snapshot-tree", &[]).await;
    assert!(tree.contains("a (") && tree.contains("\n  b ("), "{tree}");
    done(&guest, "snapshot-delete", &["--name=a"], "more than one thing stands on them").await;
    guest.ask("kill", &[]).await;
    done(&guest, "snapshot-revert", &["--name=b"], "in the snapshot b").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    holds(&guest, "second").await;
    guest.ask("kill", &[]).await;
    done(&guest, "snapshot-delete", &["--name=b"], "is deleted").await;
    assert_eq!(files(&lab), ["data.raw"]);
    let raw = folder(&lab).join("data.raw");
    assert!(std::fs::read(&raw).unwrap().starts_with(b"second\n"));
    guest.ask("start", &[]).await;
    guest.booted().await;
    holds(&guest, "second").await;
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_guest_goes_on_in_the_right_file_when_the_agent_dies_while_it_changes_over() {
    let mut lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "admin").await;
    done(&guest, "disk-create", &["--name=data", "--size=64M"], "has a new disk data").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    guest.says("send", &[&format!("--line={COUNT}")]).await;
    for step in ["layers-merged", "layers-turned", "layers-stored"] {
        done(&guest, "snapshot-take", &["--name=a", "--external"], "its files stay as they are").await;
        writes(&guest, step).await;
        let before = counted(&guest).await;
        lab.crash("kvm1").await.unwrap();
        lab.start_to_die("kvm1", step).await.unwrap();
        guest.client.reach(&lab.host().jid).await.unwrap();
        let node = format!("{}snapshot-delete", guest.node);
        tokio::select! {
            answer = guest.client.command(&guest.jid, &node, &["--name=a"]) => panic!("at {step}: {answer:?}"),
            ended = lab.host().ended() => ended.unwrap(),
        }
        lab.start("kvm1").await.unwrap();
        guest.client.reach(&lab.host().jid).await.unwrap();
        assert_eq!(guest.state().await, "running", "at {step}");
        if step == "layers-merged" {
            assert_eq!(files(&lab), ["data.1.qcow2", "data.qcow2"]);
            done(&guest, "snapshot-delete", &["--name=a"], "is deleted").await;
        }
        assert_eq!(files(&lab), ["data.qcow2"], "at {step}");
        holds(&guest, step).await;
        let mut after = counted(&guest).await;
        while after <= before {
            after = counted(&guest).await;
        }
    }
    guest.ask("kill", &[]).await;
    img(&["check", "-q", "-f", "qcow2", folder(&lab).join("data.qcow2").to_str().unwrap()]);
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}
