//! What holds for QEMU alone, beyond the contract: disks, panics, sockets, and what a folder may be.

use std::{fs, io::Write, os::unix::fs::MetadataExt, path::Path};

use hypervisor_core::{
    definition::{Boot, Definition, Disk, DiskFormat},
    driver::{DriverError, GuestEvent, Launch, Plea, Power, disk},
};

use crate::{
    qemu::{QemuBench, processes_with},
    story::{Story, count},
};

async fn story() -> Story {
    Story::open(Box::new(QemuBench::new())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guests_panic_is_told_as_one() {
    let mut story = story().await;
    let launch = story.listening().await;
    story.types(launch.id, b"echo c >/proc/sysrq-trigger\n").await;
    let GuestEvent::Crashed(cause) = story.event(launch.id).await else { panic!("something else is told") };
    assert_eq!(cause.0, "the guest's kernel panicked");
    assert_eq!(story.power(&launch).await, Power::Crashed(cause));
    story.leaves_nothing(&launch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_told_with_how_the_process_ended() {
    let mut story = story().await;
    let launch = story.running().await;
    story.bench.crash(&launch).await;
    let GuestEvent::Crashed(cause) = story.event(launch.id).await else { panic!("something else is told") };
    assert!(cause.0.starts_with("QEMU ended by SIGKILL"), "{cause:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_qemu_complains_of_is_what_is_answered() {
    let story = story().await;
    let launch = story.bench.broken();
    let Err(DriverError::Unfit(why)) = story.driver().start(&launch).await else { panic!("it started") };
    let path = launch.definition.disks[0].path.display().to_string();
    assert_eq!(why, format!("Could not open '{path}': No such file or directory"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_sees_its_disks_and_writes_only_where_it_may() {
    let story = story().await;
    let mut launch = story.bench.launch();
    let image = launch.folder.with_extension("img");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let copy = launch.folder.with_extension("qcow2");
    disk::overlay(&image, &copy).await.unwrap();
    launch.definition.disks = vec![
        Disk::new(copy, DiskFormat::Qcow2),
        Disk { read_only: true, ..Disk::new(image.clone(), DiskFormat::Raw) },
    ];
    launch.definition.name_all();
    story.boot(&launch).await;
    story.types(launch.id, b"blockdev --getsize64 /dev/vda; blockdev --getro /dev/vdb\n").await;
    story.shows(&launch, b"8388608\r\n1\r\n").await;
    story.types(launch.id, b"echo precious >/dev/vda && sync && head -n1 /dev/vda | tr a-z A-Z\n").await;
    story.shows(&launch, b"PRECIOUS").await;
    story.kill(launch.id).await;
    assert!(fs::read(&image).unwrap().iter().all(|byte| *byte == 0), "the image is as it was");
    // What was written is there in the next run.
    story.boot(&launch).await;
    story.types(launch.id, b"head -n1 /dev/vda | sed s/precious/kept-it/\n").await;
    story.shows(&launch, b"\nkept-it").await;
}

/// Says a word on the first serial port, and stops.
fn boot_sector(word: &str) -> Vec<u8> {
    let code = [
        0xfc, 0x31, 0xc0, 0x8e, 0xd8, // cld; ds = 0
        0xba, 0xf8, 0x03, // dx = the port
        0xbe, 0x16, 0x7c, // si = the word, which follows
        0xac, 0x84, 0xc0, 0x74, 0x03, // next byte, the last is 0
        0xee, 0xeb, 0xf8, // out; on
        0xf4, 0xeb, 0xfd, // hlt, for ever
    ];
    assert_eq!(code.len(), 0x16);
    let mut sector = [&code, word.as_bytes(), &[0]].concat();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    sector
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_boots_from_its_first_disk() {
    let story = story().await;
    let mut launch = story.bench.launch();
    let image = launch.folder.with_extension("img");
    fs::write(&image, boot_sector("booted from disk")).unwrap();
    let copy = launch.folder.with_extension("qcow2");
    disk::overlay(&image, &copy).await.unwrap();
    let disks = vec![Disk::new(copy, DiskFormat::Qcow2)];
    launch.definition = Definition { disks, ..Definition::new(1, 64, Boot::Disk) };
    launch.definition.name_all();
    story.start(&launch).await;
    story.shows(&launch, b"booted from disk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reboot_outlives_the_agent_that_asked_for_it() {
    let mut story = story().await;
    let launch = story.listening().await;
    let before = story.observe(&launch).await;
    story.goes_well("reboot", story.driver().reboot(launch.id)).await;
    story.restart().await;
    // Found before the guest has shut down, or after: it is rebooted all the same.
    let after = story.observe(&launch).await;
    assert_eq!(after.power, Power::Running);
    assert_eq!(story.event(launch.id).await, GuestEvent::Rebooted);
    assert!(after.running_for >= before.running_for, "{before:?} {after:?}");
    story.kill(launch.id).await;
    story.is_gone(&launch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reboot_is_told_once_however_often_the_machine_is_reset_for_it() {
    let mut story = story().await;
    let launch = story.listening().await;
    story.goes_well("reboot", story.driver().reboot(launch.id)).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Rebooted);
    story.comes_up_times(&launch, 2).await;
    // Linux tries several ways, one after the other.
    story.types(launch.id, b"reboot\n").await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Rebooted);
    story.comes_up_times(&launch, 3).await;
    story.goes_well("reset", story.driver().reset().unwrap().reset(launch.id)).await;
    story.comes_up_times(&launch, 4).await;
    story.shutdown(launch.id).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted, "our own reset is not told, nor one twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_that_came_too_early_is_heard_when_it_is_asked_again() {
    let mut story = story().await;
    let launch = story.running().await;
    // It has not got as far as to listen, nor does it later think of what was pressed before.
    story.shutdown(launch.id).await;
    story.comes_up_times(&launch, 1).await;
    let again = async |plea| story.goes_well("ask again", story.driver().ask_again(launch.id, plea)).await;
    again(Plea::Reboot).await;
    // Twice, as when the first of them was heard after all.
    again(Plea::Shutdown).await;
    again(Plea::Shutdown).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
    story.is_gone(&launch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_rebooted_is_not_asked_again() {
    let mut story = story().await;
    let launch = story.listening().await;
    story.goes_well("reboot", story.driver().reboot(launch.id)).await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Rebooted);
    story.comes_up_times(&launch, 2).await;
    story.goes_well("ask again", story.driver().ask_again(launch.id, Plea::Reboot)).await;
    story.types(launch.id, b"echo still he''re\n").await;
    story.shows(&launch, b"still here").await;
    story.types(launch.id, b"poweroff\n").await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted, "a shutdown of its own is no reboot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_after_a_reboot_that_nobody_heard_is_a_shutdown() {
    let mut story = story().await;
    let launch = story.listening().await;
    let deaf = b"killall acpid; echo dea''f\n";
    story.types(launch.id, deaf).await;
    story.shows(&launch, b"\ndeaf").await;
    story.goes_well("reboot", story.driver().reboot(launch.id)).await;
    story.shutdown(launch.id).await;
    story.types(launch.id, b"poweroff\n").await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
    story.is_gone(&launch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_may_have_a_longer_path_than_a_socket() {
    let mut story = story().await;
    let mut launch = story.bench.launch();
    launch.folder = launch.folder.join("a folder, whose name is far too long for a socket".repeat(4));
    fs::create_dir(&launch.folder).unwrap();
    story.boot(&launch).await;
    assert_eq!(mode(&launch.folder), 0o700);
    story.restart().await;
    assert_eq!(story.power(&launch).await, Power::Running);
    story.types(launch.id, b"echo lo''ng\n").await;
    story.shows(&launch, b"\nlong").await;
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_cannot_be_reached_is_neither_forgotten_nor_started_twice() {
    let mut story = story().await;
    let launch = story.running().await;
    let control = launch.folder.join("qmp.sock");
    fs::rename(&control, launch.folder.join("elsewhere")).unwrap();
    story.restart().await;
    for asked in [story.driver().observe(&launch).await.map(drop), story.driver().start(&launch).await] {
        let Err(DriverError::Unfit(why)) = asked else { panic!("{asked:?}") };
        assert!(why.contains("runs, but its control socket is gone"), "{why}");
    }
    fs::rename(launch.folder.join("elsewhere"), &control).unwrap();
    assert_eq!(story.power(&launch).await, Power::Running);
    fs::remove_file(&control).unwrap();
    story.restart().await;
    assert!(story.driver().observe(&launch).await.is_err());
    story.kill(launch.id).await;
    story.is_gone(&launch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_inherits_nothing_of_the_agent() {
    // What systemd passes to a service is not closed on exec, nor is a copy made so.
    let passed = tempfile::NamedTempFile::new().unwrap();
    let _passed = nix::unistd::dup(passed.as_file()).unwrap();
    let story = story().await;
    let launch = story.running().await;
    let pids = processes_with(&launch.id.to_string());
    let process = Path::new("/proc").join(pids[0].to_string());

    let environment = fs::read(process.join("environ")).unwrap();
    let names: Vec<_> = environment
        .split(|byte| *byte == 0)
        .filter(|one| !one.is_empty())
        .map(|one| String::from_utf8_lossy(one).split('=').next().unwrap().to_owned())
        .collect();
    assert!(names.iter().all(|name| name == "PATH" || name == "SKERRY_LAB"), "{names:?}");

    let open = fs::read_dir(process.join("fd")).unwrap().flatten();
    let files: Vec<_> =
        open.filter_map(|fd| Some((fd.file_name(), fs::read_link(fd.path()).ok()?))).collect();
    assert!(files.len() > 3, "{files:?}");
    assert!(files.iter().all(|(_, file)| file != passed.path()), "{files:?}");
    let ours: Vec<_> = files
        .iter()
        .filter(|(_, file)| {
            file.is_absolute() && !file.starts_with("/dev") && !file.starts_with(&launch.folder)
        })
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grew_while_no_agent_ran_is_cut_when_its_guest_is_found() {
    let mut story = story().await;
    let launch = story.running().await;
    let log = launch.folder.join("console.log");
    let mut grown = fs::OpenOptions::new().append(true).open(&log).unwrap();
    for _ in 0..16 {
        grown.write_all(&[b'x'; 1 << 20]).unwrap();
    }
    grown.write_all(b"last words").unwrap();
    let before = bytes_read();
    story.restart().await;
    assert_eq!(story.power(&launch).await, Power::Running);
    let read = bytes_read() - before;
    assert!(read < 4 << 20, "{read} bytes were read to cut 16 MiB");
    let on_disk = fs::metadata(&log).unwrap().blocks() * 512;
    assert!(on_disk <= 1 << 20, "{on_disk} bytes are left on the disk");
    let kept = story.tail(&launch, 1 << 20).await;
    assert!(count(&kept, b"last words") == 1 && kept.len() >= 512 << 10, "{}", kept.len());
}

/// What this process has read so far, of whatever.
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machines_folder_is_not_taken_for_ones_own() {
    let mut story = story().await;
    let launch = story.running().await;
    story.restart().await;
    let other = Launch { folder: launch.folder.clone(), ..story.bench.launch() };
    let answer = story.driver().observe(&other).await;
    assert!(matches!(answer, Err(DriverError::Unfit(_))), "{answer:?}");
    assert_eq!(story.power(&launch).await, Power::Running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_halted_while_no_agent_ran_is_off_and_cleared_away() {
    let mut story = story().await;
    let launch = story.listening().await;
    story.types(launch.id, b"poweroff\n").await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Halted);
    // As it would be had the agent been killed meanwhile.
    fs::write(launch.folder.join("qmp.sock"), "").unwrap();
    fs::write(
        launch.folder.join("qemu.json"),
        r#"{"process": {"pid": 1, "started_ticks": 1, "boot": "another"}}"#,
    )
    .unwrap();
    story.restart().await;
    story.is_gone(&launch).await;
}
