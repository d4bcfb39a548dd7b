//! A console's log while no agent runs.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use skerry_tests::lab::{Lab, Wanted};

use crate::real_guests::Guest;

/// Some 3 MiB, and then the power goes off: all of it while no agent runs.
const FLOOD: &str = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); \
    echo \"line $i of many that a guest writes to its console while nobody is there to look at it, day and night\"; done; \
    echo its last words; poweroff -f";
/// What the log may be, and what is written while the trimmer rests.
const BOUND: u64 = (1 << 20) + (512 << 10);

fn log(lab: &Lab) -> PathBuf {
    let machines = lab.host().state().join("machines");
    let folder = std::fs::read_dir(machines).unwrap().flatten().next().unwrap();
    folder.path().join("console.log")
}

#[tokio::test]
async fn is_bounded_while_no_agent_runs_and_has_the_last_words() {
    let mut lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "operator").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    let log = log(&lab);
    let others = lab.processes();
    guest.ask("send", &[&format!("--line={FLOOD}")]).await;
    lab.crash("kvm1").await.unwrap();

    // The guest, and with it who bounds its log, end by themselves.
    let ours = |pid: &i32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.starts_with("qemu") || name.starts_with("skerry-trimmer")
    };
    let waited_for: Vec<i32> = others.into_iter().filter(ours).collect();
    assert_eq!(waited_for.len(), 2, "{waited_for:?}");
    let mut longest = 0;
    while waited_for.iter().any(|pid| lab.processes().contains(pid)) {
        let on_disk = std::fs::metadata(&log).unwrap().blocks() * 512;
        assert!(on_disk <= BOUND, "{on_disk}");
        longest = longest.max(on_disk);
        tokio::task::yield_now().await;
    }
    assert!(longest > 512 << 10, "it wrote too little to try anything: {longest}");

    lab.start("kvm1").await.unwrap();
    guest.becomes("stopped").await;
    let said = guest.says("console", &["--lines=500"]).await;
    assert!(said.contains("its last words") && said.contains("line 29999 of many"), "{said}");
    lab.down().await.unwrap();
    assert_eq!(lab.processes(), Vec::<i32>::new());
}
