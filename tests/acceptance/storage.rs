//! Disks and snapshots of a real guest, as the guest itself sees them.

use skerry_tests::lab::Wanted;

use crate::real_guests::Guest;

/// As often as the guest is asked until it answers: each time the host waits until it is quiet.
const TRIES: usize = 300;

/// Has the guest's shell run a line until one of the lines it answers is the one expected.
async fn shows(guest: &Guest, line: &str, expected: &str) {
    let mut said = String::new();
    for _ in 0..TRIES {
        said = guest.says("send", &[&format!("--line={line}")]).await;
        if said.lines().any(|line| line.trim() == expected) {
            return;
        }
    }
    panic!("{line}: never {expected:?}, but {said}");
}

/// Writes to the disk itself, and reads it back from there rather than from the guest's memory.
pub async fn writes(guest: &Guest, what: &str) {
    let line = format!("echo {what} >/dev/vda; sync; echo 3 >/proc/sys/vm/drop_caches; head -n 1 /dev/vda");
    shows(guest, &line, what).await;
}

pub async fn holds(guest: &Guest, what: &str) {
    shows(guest, "echo 3 >/proc/sys/vm/drop_caches; head -n 1 /dev/vda", what).await;
}

/// What a command answers, which must be that it is done.
pub async fn done(guest: &Guest, verb: &str, argv: &[&str], expected: &str) {
    let said = guest.says(verb, argv).await;
    assert!(said.contains(expected), "{verb}: {said}");
}

#[tokio::test]
async fn a_real_guest_finds_its_disk_as_it_was_when_it_goes_back() {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "admin").await;
    done(&guest, "disk-create", &["--name=data", "--size=64M"], "has a new disk data").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    writes(&guest, "first").await;
    done(&guest, "snapshot-take", &["--name=running", "--memory"], "is taken, with its memory").await;
    writes(&guest, "second").await;
    done(&guest, "snapshot-revert", &["--name=running"], "goes on from its memory of then").await;
    assert_eq!(guest.state().await, "running");
    holds(&guest, "first").await;

    writes(&guest, "third").await;
    guest.ask("shutdown", &[]).await;
    guest.becomes("stopped").await;
    done(&guest, "snapshot-take", &["--name=resting"], "is taken").await;
    guest.ask("start", &[]).await;
    holds(&guest, "third").await;
    writes(&guest, "fourth").await;
    guest.ask("kill", &[]).await;
    done(&guest, "snapshot-revert", &["--name=resting"], "in the snapshot resting").await;
    guest.ask("start", &[]).await;
    holds(&guest, "third").await;
    // Another boot of the same machine: it is made as it was, and its memory fits.
    done(&guest, "snapshot-revert", &["--name=running"], "goes on from its memory of then").await;
    holds(&guest, "first").await;
    let tree = guest.says("snapshot-tree", &[]).await;
    assert!(tree.contains("running (") && tree.contains("\n  resting ("), "{tree}");

    guest.ask("kill", &[]).await;
    for name in ["running", "resting"] {
        done(&guest, "snapshot-delete", &[&format!("--name={name}")], "is deleted").await;
    }
    done(&guest, "clone", &["--name=web2"], "was cloned from web1").await;
    let clone = Guest {
        client: lab.client("admin").await.unwrap(),
        jid: guest.jid.replacen("web1", "web2", 1),
        ..guest
    };
    clone.ask("start", &[]).await;
    holds(&clone, "first").await;
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_real_guest_sees_a_disk_come_grow_and_go() {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "admin").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    shows(&guest, "ls -d /sys/block/vd* || echo none", "none").await;
    done(&guest, "disk-create", &["--name=data", "--size=16M"], "has a new disk data").await;
    shows(&guest, "cat /sys/block/vda/size", "32768").await;
    done(&guest, "disk-resize", &["--name=data", "--size=32M"], "has 32 MiB now").await;
    shows(&guest, "cat /sys/block/vda/size", "65536").await;
    writes(&guest, "kept").await;
    done(&guest, "disk-detach", &["--name=data"], "no longer has its disk data").await;
    shows(&guest, "ls -d /sys/block/vd* || echo none", "none").await;
    done(&guest, "disk-attach", &["--what=data"], "as its disk data").await;
    holds(&guest, "kept").await;
    lab.down().await.unwrap();
}
