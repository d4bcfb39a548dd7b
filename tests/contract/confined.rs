//! What a process of a machine reaches of its host: a program in QEMU's place tries, and QEMU itself is
//! looked at. Where the kernel has no landlock, the first have nothing to say.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use hypervisor_core::{
    confine::{self, Support, Users},
    definition::{Disk, DiskFormat},
    driver::{
        Driver, Launch, disk,
        layers::Merge,
        qemu::{Acceleration, Config, Keeper, Qemu},
    },
};

use crate::{
    bench::Bench,
    qemu::{QemuBench, processes_with},
    story::Story,
};

const MIB: u64 = 1 << 20;

/// What a program in QEMU's place has to say of each: it writes to the machine's log, where it may.
const TRIES: &str = r#"
[ "$1" = --version ] && { echo "QEMU emulator version 8.0.0"; exit; }
say() { echo "$1 $2" >>console.log; }
reads() { if cat "$2" >/dev/null 2>&1; then say reads "$1"; else say cannot-read "$1"; fi; }
writes() { if (: >>"$2") 2>/dev/null; then say writes "$1"; else say cannot-write "$1"; fi; }
makes() { if "$@" 2>/dev/null; then say makes "$1"; else say cannot-make "$1"; fi; }
reads secret SECRET; writes secret SECRET
reads shadow /etc/shadow
reads other OTHER; writes other OTHER
[ -e SECRET ] && say sees secret
[ -e OTHER ] && say sees other
[ -e /run ] && say sees run
reads image IMAGE; writes image IMAGE
reads disk DISK; writes disk DISK
reads later disks/later.qcow2; writes later disks/later.qcow2
writes note adopted.json
makes ln -s /etc/shadow link
makes mkfifo pipe
makes mkdir folder
makes ln DISK hard
(: >new) 2>/dev/null && say makes file
ls "ABOVE" >/dev/null 2>&1 && say lists above
kill -0 "$PPID" 2>/dev/null && say signals agent
say done all
exit 1
"#;

fn landlock() -> Option<i32> {
    match Support::of_host() {
        Support::Landlock(version) => Some(version),
        Support::Missing => {
            println!("not played: this kernel has no landlock");
            None
        }
    }
}

fn file(path: PathBuf) -> PathBuf {
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    path
}

/// A driver whose QEMU is a script.
fn driver(folder: &Path, script: &str) -> Qemu {
    let program = folder.join("stand-in");
    fs::write(&program, format!("#!/bin/sh{script}")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config =
        Config { program, acceleration: Acceleration::Tcg, keeper: Keeper::Nobody, ..Config::default() };
    Qemu::new(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_in_qemus_place_reaches_its_own_files_and_no_others() {
    let Some(version) = landlock() else { return };
    let bench = QemuBench::new();
    let (mut launch, other) = (bench.launch(), bench.launch());
    let above = launch.folder.parent().unwrap().to_owned();
    let (secret, image) = (file(above.join("agent.toml")), file(above.join("image.raw")));
    let theirs = file(other.folder.join("disk.qcow2"));
    let own = launch.folder.join("disk.qcow2");
    disk::overlay(&image, &own).await.unwrap();
    fs::create_dir(launch.folder.join("disks")).unwrap();
    file(launch.folder.join("disks/later.qcow2"));
    // As the note of a process, by which an agent knows whom to end.
    file(launch.folder.join("adopted.json"));
    launch.definition.disks = vec![Disk::new(own.clone(), DiskFormat::Qcow2)];
    launch.definition.name_all();

    let mut script = TRIES.to_owned();
    let places =
        [("SECRET", &secret), ("OTHER", &theirs), ("IMAGE", &image), ("DISK", &own), ("ABOVE", &above)];
    for (word, path) in places {
        script = script.replace(word, path.to_str().unwrap());
    }
    driver(&above, &script).start(&launch).await.unwrap_err();
    let said = fs::read_to_string(launch.folder.join("console.log")).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert!(said.ends_with(&["done all"]), "{said:?}");
    let may = ["reads image", "reads disk", "writes disk", "reads later", "writes later"];
    for one in may {
        assert!(said.contains(&one), "{one}: {said:?}");
    }
    for line in &said {
        let fine = may.contains(line) || line.starts_with("cannot-") || *line == "done all";
        // Before its sixth version, landlock knew nothing of signals.
        assert!(fine || version < 6 && *line == "signals agent", "{line}: {said:?}");
    }
    assert_eq!(fs::read(&image).unwrap().len(), 1 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qemu_has_nothing_of_roots_rights_and_gets_none() {
    let story = Story::open(Box::new(QemuBench::new())).await;
    let launch = story.running().await;
    let pid = processes_with(&launch.id.to_string())[0];
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&field(set), 16).unwrap(), 0, "{set}");
    }
    assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"));
    // And we have what we had.
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    assert!(ours.contains("NoNewPrivs:\t0"), "{ours}");
}

/// A folder that is no machine's, with a disk that stands on an image there.
async fn elsewhere(launch: &Launch) -> (PathBuf, Disk) {
    let folder = launch.folder.with_extension("elsewhere");
    fs::create_dir(&folder).unwrap();
    let image = file(folder.join("image.raw"));
    let path = folder.join("data.qcow2");
    disk::overlay(&image, &path).await.unwrap();
    (image, Disk { name: "data".into(), ..Disk::new(path, DiskFormat::Qcow2) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_from_anywhere_is_attached_later_layered_merged_and_let_go() {
    let mut story = Story::open(Box::new(QemuBench::new())).await;
    let mut launch = story.bench.launch();
    let (image, data) = elsewhere(&launch).await;
    story.boot(&launch).await;
    story.goes_well("attach", story.driver().disks().unwrap().attach(&launch, &data)).await;
    launch.definition.disks.push(data.clone());
    story
        .types(
            launch.id,
            b"until [ -b /dev/vda ]; do :; done; echo precious >/dev/vda && sync; echo wri''tten\n",
        )
        .await;
    story.shows(&launch, b"\nwritten").await;

    // What it is stays known to the agent after this one.
    story.restart().await;
    story.observe(&launch).await;
    let driver = story.driver();
    let (disks, can) = (driver.disks().unwrap(), driver.snapshots().unwrap());
    assert_eq!(disks.is_in(&launch, "data", &data.path).await.unwrap(), Some(true));
    let seen = story.goes_well("list", disks.list(&launch)).await;
    assert_eq!(seen[0].file.as_ref().unwrap().backing.as_deref(), Some(image.as_path()));

    let top = launch.folder.join("disks/data.1.qcow2");
    story.goes_well("cover", can.cover(&launch, "data", (&data.path, data.format), &top)).await;
    story.goes_well("layer", can.layer(&launch, &[("data".into(), top.clone())])).await;
    assert_eq!(disks.is_in(&launch, "data", &top).await.unwrap(), Some(true));
    launch.definition.disks[0].path = top.clone();
    story.types(launch.id, b"echo changed! >/dev/vda && sync; echo aga''in\n").await;
    story.shows(&launch, b"\nagain").await;
    let merge = Merge {
        disk: "data".into(),
        from: top,
        into: data.path.clone(),
        format: DiskFormat::Qcow2,
        above: vec![],
    };
    story.goes_well("merge", can.merge(&launch, &merge, &|_| {})).await;
    story.goes_well("turn", can.turn(&launch, &merge)).await;
    story.goes_well("go on", can.go_on(&launch)).await;
    launch.definition.disks[0].path = data.path.clone();
    assert_eq!(disks.is_in(&launch, "data", &data.path).await.unwrap(), Some(true));

    story.goes_well("detach", disks.detach(&launch, "data")).await;
    launch.definition.disks.clear();
    // Nobody holds on to it: no lock is left, and all that was written is there.
    let mut off = Launch { folder: launch.folder.with_extension("off"), ..story.bench.launch() };
    off.definition.disks.push(data.clone());
    story.goes_well("resize", disks.resize(&off, "data", 8 * MIB)).await;
    assert!(fs::read(&image).unwrap().iter().all(|byte| *byte == 0), "the image is as it was");
    assert!(contains(&data.path, b"changed!"));
}

fn contains(path: &Path, needle: &[u8]) -> bool {
    fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_on_the_way_to_a_disk_is_followed_when_the_agent_bounds_it() {
    let story = Story::open(Box::new(QemuBench::new())).await;
    let mut launch = story.bench.launch();
    let (_image, data) = elsewhere(&launch).await;
    let linked = launch.folder.with_extension("linked");
    symlink(data.path.parent().unwrap(), &linked).unwrap();
    launch.definition.disks = vec![Disk { path: linked.join("data.qcow2"), ..data }];
    story.boot(&launch).await;
    story.types(launch.id, b"blockdev --getsize64 /dev/vda\n").await;
    story.shows(&launch, b"1048576").await;
}

/// The users that a process is: real, effective, saved, and that of files.
fn users(pid: i32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// All below a folder that is not root's.
fn not_roots(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let what = entry.metadata().unwrap();
        if (what.uid(), what.gid()) != (0, 0) {
            found.push(entry.path());
        }
        if what.is_dir() {
            found.extend(not_roots(&entry.path()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_guest_is_a_user_of_its_own_and_owns_nothing_on_the_disk() {
    let said = confine::of_users(Some(Users::default()), Path::new("/tmp"));
    if !said.starts_with("Each guest has a user of its own") {
        println!("not played: {said}");
        return;
    }
    let story = Story::open(Box::new(QemuBench::new())).await;
    let (mut launch, other) = (story.bench.launch(), story.bench.launch());
    let above = launch.folder.parent().unwrap().to_owned();
    let disk = launch.folder.join("disks/data.raw");
    fs::create_dir(launch.folder.join("disks")).unwrap();
    file(disk.clone());
    // What nobody but its owner can read, and nobody but another owner.
    let theirs = file(above.join("theirs.raw"));
    std::os::unix::fs::chown(&theirs, Some(1234), Some(1234)).unwrap();
    for path in [&disk, &theirs] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    launch.definition.disks =
        vec![Disk::new(disk, DiskFormat::Raw), Disk::new(theirs.clone(), DiskFormat::Raw)];
    launch.definition.name_all();
    launch.definition.tpm = true;
    story.boot(&launch).await;
    story.boot(&other).await;
    story.types(launch.id, b"echo a >/dev/vda && echo b >/dev/vdb && sync; echo wri''tten\n").await;
    story.shows(&launch, b"\nwritten").await;

    let tpm: i32 = crate::folders::tpms(&launch)[0].parse().unwrap();
    let pid = |launch: &Launch| processes_with(&launch.id.to_string())[0].as_raw();
    let pids = [pid(&launch), pid(&other), tpm];
    let mut taken: Vec<u32> = pids.iter().flat_map(|pid| users(*pid)).collect();
    taken.dedup();
    assert_eq!(taken.len(), 3, "one each: {taken:?}");
    taken.sort_unstable();
    taken.dedup();
    assert!(taken.len() == 3 && taken.iter().all(|uid| (70_000..80_000).contains(uid)), "{taken:?}");
    let all_are_roots = |when: &str| {
        assert_eq!(not_roots(&launch.folder), Vec::<PathBuf>::new(), "{when}");
        assert_eq!(fs::metadata(&theirs).unwrap().uid(), 1234, "{when}");
    };
    all_are_roots("while it runs");
    story.kill(launch.id).await;
    all_are_roots("after");
    assert!(contains(&theirs, b"b\n"));
}
