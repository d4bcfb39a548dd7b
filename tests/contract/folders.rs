//! Folders of the host that a guest mounts, and its TPM: what takes more than the small guest, or more than
//! one process.

use std::{fs, path::Path, process::Command};

use hypervisor_core::{
    definition::{Boot, Share, Via},
    driver::{DriverError, Launch, Power},
};

use crate::{qemu::QemuBench, story::Story};

async fn story() -> Story {
    Story::open(Box::new(QemuBench::new())).await
}

/// Lets it boot the guest that has more drivers.
fn full(launch: &mut Launch) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let made = Command::new(repository.join("scripts/guest-full")).status().unwrap();
    assert!(made.success(), "scripts/guest-full could not make the guest");
    let guest = repository.join("build/guest-full");
    let cmdline = fs::read_to_string(guest.join("cmdline")).unwrap().trim().to_owned();
    let (kernel, initrd) = (guest.join("vmlinuz"), Some(guest.join("initrd.img")));
    launch.definition.boot = Boot::Kernel { kernel, initrd, cmdline };
    launch.definition.memory_mib = 192;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_mounts_folders_and_writes_only_where_it_may() {
    let story = story().await;
    let mut launch = story.bench.launch();
    full(&mut launch);
    let (look, write) = (launch.folder.with_extension("a, look"), launch.folder.with_extension("write"));
    for folder in [&look, &write] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("hello"), "from the host\n").unwrap();
    }
    let share = |name: &str, path: &Path, read_only| Share {
        name: name.into(),
        path: path.into(),
        read_only,
        via: Via::NineP,
    };
    launch.definition.shares = vec![share("look", &look, true), share("write", &write, false)];
    story.boot(&launch).await;
    let mount =
        b"for n in look write; do mkdir /$n; mount -t 9p -o trans=virtio,version=9p2000.L $n /$n; done; \
        cat /look/hello; echo no >/look/new; echo from the guest >/write/new; sync; echo do''ne\n";
    story.types(launch.id, mount).await;
    story.shows(&launch, b"\ndone").await;
    story.shows(&launch, b"from the host").await;
    story.shows(&launch, b"Read-only file system").await;
    assert!(!look.join("new").exists());
    assert_eq!(fs::read_to_string(write.join("new")).unwrap(), "from the guest\n");
    story.kill(launch.id).await;
    fs::remove_dir_all(&look).unwrap();
    let Err(DriverError::Unfit(why)) = story.driver().start(&launch).await else { panic!("it started") };
    assert!(why.contains("a, look") && why.contains("No such file"), "{why}");
}

/// The processes that share this folder.
fn sharing(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let of = |entry: &fs::DirEntry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace("\\,", ",");
        let is_it = words.split('\0').next().is_some_and(|program| program.ends_with("/virtiofsd"));
        (is_it && words.contains(&folder)).then(|| entry.file_name().to_string_lossy().into_owned())
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| of(&entry)).collect()
}

/// They end by themselves when QEMU has, in their own time.
async fn shared_no_more(story: &Story, launch: &Launch, folder: &Path) {
    let gone = async {
        while !sharing(folder).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    story.happens("the end of virtiofsd", gone).await;
    let left = fs::read_dir(&launch.folder).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("share-")).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".log")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_by_virtiofs_is_read_and_written_and_its_process_goes_with_the_machine() {
    let mut story = story().await;
    let mut launch = story.bench.launch();
    full(&mut launch);
    let (look, write) = (launch.folder.with_extension("a, look"), launch.folder.with_extension("write"));
    for folder in [&look, &write] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("hello"), "from the host\n").unwrap();
    }
    let share = |name: &str, path: &Path, read_only| Share {
        name: name.into(),
        path: path.into(),
        read_only,
        via: Via::Virtiofs,
    };
    launch.definition.shares = vec![share("look", &look, true), share("write", &write, false)];
    match story.driver().start(&launch).await {
        Err(DriverError::Unfit(why)) if why.contains("not installed") || why.contains("is root") => {
            eprintln!("skipped: {why}");
            return story.is_gone(&launch).await;
        }
        started => started.unwrap(),
    }
    story.comes_up_times(&launch, 1).await;
    let mount = b"for n in look write; do mkdir /$n; mount -t virtiofs $n /$n; done; cat /look/hello; \
        echo no >/look/new; echo from the guest >/write/new; mknod /write/dev c 1 3; sync; echo do''ne\n";
    story.types(launch.id, mount).await;
    story.shows(&launch, b"\ndone").await;
    story.shows(&launch, b"from the host").await;
    story.shows(&launch, b"Read-only file system").await;
    story.shows(&launch, b"mknod: /write/dev").await;
    assert!(!look.join("new").exists() && !write.join("dev").exists());
    assert_eq!(fs::read_to_string(write.join("new")).unwrap(), "from the guest\n");
    // On the host it can be written to as before.
    fs::write(look.join("other"), "by the host\n").unwrap();
    let memory = story.driver().snapshots().unwrap().take(&launch, "before", true).await;
    assert!(matches!(&memory, Err(DriverError::Unfit(why)) if why.contains("virtiofs")), "{memory:?}");

    // It goes on for the next agent, and ends with the machine.
    let first = sharing(&write);
    assert!(!first.is_empty());
    story.restart().await;
    assert_eq!(story.power(&launch).await, Power::Running);
    assert_eq!(sharing(&write), first);
    story.types(launch.id, b"cat /look/other\n").await;
    story.shows(&launch, b"by the host").await;
    story.kill(launch.id).await;
    shared_no_more(&story, &launch, &write).await;
    // Also where a start ends half-way, and where there is no such folder.
    launch.definition.disks.push(story.bench.broken().definition.disks.remove(0));
    assert!(story.driver().start(&launch).await.is_err());
    shared_no_more(&story, &launch, &write).await;
    launch.definition.disks.clear();
    fs::remove_dir_all(&look).unwrap();
    let Err(DriverError::Unfit(why)) = story.driver().start(&launch).await else { panic!("it started") };
    assert!(why.contains("a, look, which is no folder of this host"), "{why}");
    shared_no_more(&story, &launch, &write).await;
}

/// The TPMs whose folder this is.
pub fn tpms(launch: &Launch) -> Vec<String> {
    let of = |entry: &fs::DirEntry| {
        let here = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == launch.folder);
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        (here && name.trim() == "swtpm").then(|| entry.file_name().to_string_lossy().into_owned())
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| of(&entry)).collect()
}

/// Has the guest's TPM make a place in the memory that it keeps without power (TPM 2.0 Library, part 3,
/// TPM2_NV_DefineSpace).
const KEEP: &str = "printf '\\x80\\x02\\0\\0\\0\\x2d\\0\\0\\x01\\x2a\\x40\\0\\0\\x01\\0\\0\\0\\x09\\x40\\0\\0\\x09\\0\\0\\0\\0\\0\\0\\0\\0\\x0e\
\\x01\\x50\\0\\x01\\0\\x0b\\0\\x06\\0\\x06\\0\\0\\0\\x08' >/dev/tpm0\n";
/// Asks it what it knows of that place (TPM2_NV_ReadPublic), and shows how its answer begins.
const KEPT: &str = "exec 3<>/dev/tpm0; printf '\\x80\\x01\\0\\0\\0\\x0e\\0\\0\\x01\\x69\\x01\\x50\\0\\x01' >&3; \
    dd bs=4096 count=1 <&3 2>/dev/null | od -An -tx1 | head -n 1 | sed s/^/kept-/\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tpm_is_there_outlives_the_agent_and_goes_with_its_machine() {
    let mut story = story().await;
    let mut launch = story.bench.launch();
    launch.definition.tpm = true;
    match story.driver().start(&launch).await {
        Err(DriverError::Unfit(why)) if why.contains("not installed") => {
            eprintln!("skipped: {why}");
            return story.is_gone(&launch).await;
        }
        started => started.unwrap(),
    }
    story.comes_up_times(&launch, 1).await;
    story.types(launch.id, b"cat /sys/class/tpm/tpm0/tpm_version_major | sed s/^/tpm-/\n").await;
    story.shows(&launch, b"\ntpm-2").await;
    let first = tpms(&launch);
    assert_eq!(first.len(), 1);
    story.restart().await;
    assert_eq!(story.power(&launch).await, Power::Running);
    assert_eq!(tpms(&launch), first, "the same one");
    story.types(launch.id, b"grep -c . /sys/class/tpm/tpm0/pcr-sha256/0 | sed s/^/pcr-/\n").await;
    story.shows(&launch, b"\npcr-1").await;
    story.types(launch.id, KEEP.as_bytes()).await;
    story.types(launch.id, KEPT.as_bytes()).await;
    story.shows(&launch, b"\nkept- 80 01 00 00 00 3e 00 00 00 00").await;
    story.kill(launch.id).await;
    assert_eq!(tpms(&launch), Vec::<String>::new());
    assert!(!launch.folder.join("tpm.sock").exists() && !launch.folder.join("tpm.json").exists());
    let remembered = fs::read_dir(launch.folder.join("tpm")).unwrap().count();
    assert!(remembered > 0, "what it remembers stays with the machine");
    // One whose machine crashed goes as well, and the next start has another.
    story.driver().start(&launch).await.unwrap();
    story.comes_up_times(&launch, 2).await;
    story.types(launch.id, KEPT.replace("kept-", "again-").as_bytes()).await;
    story.shows(&launch, b"\nagain- 80 01 00 00 00 3e 00 00 00 00").await;
    story.bench.crash(&launch).await;
    story.event(launch.id).await;
    assert_eq!(tpms(&launch), Vec::<String>::new());
    // What a start left half-way is ended by the next.
    launch.definition.disks.push(story.bench.broken().definition.disks.remove(0));
    assert!(story.driver().start(&launch).await.is_err());
    assert_eq!(tpms(&launch), Vec::<String>::new());
}
