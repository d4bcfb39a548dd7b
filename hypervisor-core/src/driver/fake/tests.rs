//! What the contract does not ask of the fake driver: its faults, its time, its file.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, io::Write, task::Poll};

use super::*;
use crate::{
    definition::{Boot, Definition},
    driver::{GuestEvent, Power},
    lifecycle::Cause,
};

const MINUTE: Duration = Duration::from_secs(60);

fn definition() -> Definition {
    let boot = Boot::Kernel { kernel: "/boot/vmlinuz".into(), initrd: None, cmdline: String::new() };
    Definition::new(1, 64, boot)
}

fn launch() -> Launch {
    let id = MachineId::fresh();
    Launch {
        id,
        name: "web1".into(),
        definition: definition(),
        folder: "/nowhere".into(),
        own: Vec::new(),
        networks: crate::driver::Networks::default(),
        devices: crate::driver::Devices::default(),
    }
}

async fn running(fake: &Fake) -> Launch {
    let launch = launch();
    fake.start(&launch).await.unwrap();
    launch
}

async fn power(fake: &Fake, launch: &Launch) -> Power {
    fake.observe(launch).await.unwrap().power
}

#[tokio::test(start_paused = true)]
async fn a_guest_ages_by_tokios_clock() {
    let fake = Fake::new();
    tokio::time::sleep(MINUTE).await;
    let launch = running(&fake).await;
    fake.kill(launch.id).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    fake.start(&launch).await.unwrap();
    tokio::time::sleep(10 * MINUTE).await;
    let again = Fake::on(fake.world());
    let seen = again.observe(&launch).await.unwrap();
    assert_eq!(seen.running_for, Some(10 * MINUTE));
    assert_eq!(seen.cpu_time, Some(MINUTE));
    assert_eq!(seen.resident_bytes, Some(64 << 20));
}

#[tokio::test(start_paused = true)]
async fn starts_fail_take_time_or_hang_as_ordered() {
    let fake = Fake::new();
    let launch = launch();
    fake.faults().next_start(launch.id, StartFault::Fails("no room".into()));
    fake.faults().next_start(launch.id, StartFault::Takes(MINUTE));
    fake.faults().next_start_of_any(StartFault::Hangs);
    assert!(matches!(fake.start(&launch).await, Err(DriverError::Unfit(why)) if why == "no room"));

    let before = tokio::time::Instant::now();
    fake.start(&launch).await.unwrap();
    assert_eq!(before.elapsed(), MINUTE);
    fake.kill(launch.id).await.unwrap();

    let hung = tokio::time::timeout(100 * MINUTE, fake.start(&launch)).await;
    assert!(hung.is_err(), "it hangs");
    assert_eq!(power(&fake, &launch).await, Power::Off);
    fake.start(&launch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_it_starts_a_second_start_is_refused_and_a_kill_ends_it() {
    let fake = Fake::new();
    let launch = launch();
    fake.faults().next_start(launch.id, StartFault::Takes(MINUTE));
    let mut first = fake.start(&launch);
    assert!(matches!(futures_poll(&mut first).await, Poll::Pending));
    assert!(matches!(fake.start(&launch).await, Err(DriverError::AlreadyRunning)));
    fake.kill(launch.id).await.unwrap();
    assert!(matches!(first.await, Err(DriverError::Unfit(_))), "it does not come up after the kill");
    assert_eq!(power(&fake, &launch).await, Power::Off);
}

/// Polls once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))).await
}

#[tokio::test(start_paused = true)]
async fn guests_take_their_time_and_a_kill_is_faster() {
    let fake = Fake::new();
    let mut events = fake.events().unwrap();
    fake.faults().guests_take(MINUTE);
    let (slow, killed) = (running(&fake).await, running(&fake).await);
    fake.shutdown(killed.id).await.unwrap();
    fake.kill(killed.id).await.unwrap();
    fake.start(&killed).await.unwrap();
    fake.shutdown(slow.id).await.unwrap();
    let asked = tokio::time::Instant::now();
    assert_eq!(events.recv().await, Some(DriverEvent { id: slow.id, what: GuestEvent::Halted }));
    assert_eq!(asked.elapsed(), MINUTE);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(power(&fake, &killed).await, Power::Running, "the earlier run was asked, not this one");
}

#[tokio::test]
async fn a_deaf_guest_runs_on_and_so_does_a_paused_one() {
    let fake = Fake::new();
    let launch = running(&fake).await;
    fake.faults().deaf(launch.id, true);
    fake.shutdown(launch.id).await.unwrap();
    assert_eq!(power(&fake, &launch).await, Power::Running);
    fake.faults().deaf(launch.id, false);
    Pause::pause(&fake, launch.id).await.unwrap();
    fake.shutdown(launch.id).await.unwrap();
    Console::send(&fake, launch.id, b"halt\n").await.unwrap();
    assert_eq!(power(&fake, &launch).await, Power::Paused);
}

#[tokio::test]
async fn one_deaf_for_some_times_hears_the_next_when_it_is_asked_again() {
    let fake = Fake::new();
    let launch = running(&fake).await;
    let again = async |plea| fake.ask_again(launch.id, plea).await.unwrap();
    again(Plea::Shutdown).await;
    assert_eq!(power(&fake, &launch).await, Power::Running, "it was not asked at all");
    fake.faults().deaf_for(launch.id, 2);
    fake.shutdown(launch.id).await.unwrap();
    again(Plea::Reboot).await;
    again(Plea::Shutdown).await;
    assert_eq!(power(&fake, &launch).await, Power::Running);
    again(Plea::Shutdown).await;
    assert_eq!(power(&fake, &launch).await, Power::Off);
    assert!(matches!(fake.ask_again(launch.id, Plea::Shutdown).await, Err(DriverError::NotRunning)));
    let mut events = fake.events().unwrap();
    assert_eq!(events.try_recv().unwrap().what, GuestEvent::Halted);
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_command_line_can_order_faults() {
    let fake = Fake::new();
    let ordered = |words: &str| {
        let mut launch = launch();
        let Boot::Kernel { cmdline, .. } = &mut launch.definition.boot else { panic!("it is a kernel") };
        *cmdline = format!("console=ttyS0 {words}");
        launch
    };
    let failed = fake.start(&ordered("fake.start=fails")).await;
    assert!(matches!(failed, Err(DriverError::Unfit(_))), "{failed:?}");
    let hung = tokio::time::timeout(MINUTE, fake.start(&ordered("fake.start=hangs"))).await;
    assert!(hung.is_err());
    let before = tokio::time::Instant::now();
    fake.start(&ordered("fake.start=2m")).await.unwrap();
    assert_eq!(before.elapsed(), 2 * MINUTE);
    let deaf = ordered("fake.deaf fake.start=nonsense");
    fake.start(&deaf).await.unwrap();
    fake.shutdown(deaf.id).await.unwrap();
    fake.reboot(deaf.id).await.unwrap();
    assert_eq!(power(&fake, &deaf).await, Power::Running);
    let once = ordered("fake.deaf=1");
    fake.start(&once).await.unwrap();
    fake.shutdown(once.id).await.unwrap();
    assert_eq!(power(&fake, &once).await, Power::Running);
    fake.kill(once.id).await.unwrap();
    assert!(fake.events().unwrap().try_recv().is_err());
}

#[tokio::test]
async fn what_guests_and_others_do_is_told_unless_it_is_lost() {
    let fake = Fake::new();
    let mut events = fake.events().unwrap();
    let faults = fake.faults();
    let launch = running(&fake).await;
    let id = launch.id;
    assert!(faults.reboot(id) && faults.hold_by_others(id, true) && faults.hold_by_others(id, false));
    faults.lose_events(true);
    assert!(faults.crash(id, "a bad cable"));
    assert_eq!(power(&fake, &launch).await, Power::Crashed(Cause("a bad cable".into())));
    faults.lose_events(false);
    fake.start(&launch).await.unwrap();
    assert!(faults.halt(id));
    assert!(!faults.halt(id) && !faults.reboot(id) && !faults.crash(id, "") && !faults.write(id, b""));
    for what in [GuestEvent::Rebooted, GuestEvent::Paused, GuestEvent::Resumed, GuestEvent::Halted] {
        assert_eq!(events.try_recv(), Ok(DriverEvent { id, what }));
    }
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn an_observation_says_what_was_ordered() {
    let fake = Fake::new();
    let launch = running(&fake).await;
    let odd = Observed { power: Power::Paused, running_for: None, cpu_time: None, resident_bytes: None };
    fake.faults().observed(launch.id, Some(odd.clone()));
    assert_eq!(fake.observe(&launch).await.unwrap(), odd);
    fake.faults().observed(launch.id, None);
    assert_eq!(power(&fake, &launch).await, Power::Running);
}

#[tokio::test(start_paused = true)]
async fn operations_are_as_slow_as_ordered() {
    let fake = Fake::new();
    fake.faults().slow(MINUTE);
    let before = tokio::time::Instant::now();
    let launch = running(&fake).await;
    fake.kill(launch.id).await.unwrap();
    assert_eq!(before.elapsed(), 2 * MINUTE);
}

#[tokio::test]
async fn a_later_driver_tells_only_what_it_looked_at() {
    let fake = Fake::new();
    let (seen, unseen) = (running(&fake).await, running(&fake).await);
    let later = Fake::on(fake.world());
    let mut events = later.events().unwrap();
    later.observe(&seen).await.unwrap();
    assert!(fake.faults().halt(unseen.id) && fake.faults().halt(seen.id));
    assert_eq!(events.try_recv().unwrap().id, seen.id);
    assert!(events.try_recv().is_err());
}

#[test]
fn each_capability_can_be_left_out() {
    for capability in Capability::ALL {
        let fake = Fake::new().without(capability);
        assert!(!fake.probe().capabilities.contains(&capability));
        assert_eq!(fake.probe().capabilities.len(), Capability::ALL.len() - 1);
        let reached = [
            Driver::reset(&fake).is_some(),
            Driver::pause(&fake).is_some(),
            Driver::console(&fake).is_some(),
            Driver::adopt(&fake).is_some(),
            Driver::screen(&fake).is_some(),
            Driver::disks(&fake).is_some(),
            Driver::snapshots(&fake).is_some(),
            Driver::guest_agent(&fake).is_some(),
            Driver::numbers(&fake).is_some(),
            Driver::alter(&fake).is_some(),
            Driver::migrate(&fake).is_some(),
        ];
        assert_eq!(
            reached.iter().filter(|can| **can).count(),
            Capability::ALL.len() - 1,
            "{}",
            capability.word()
        );
    }
}

#[tokio::test]
async fn a_console_is_bounded_and_what_is_typed_too() {
    let fake = Fake::new();
    let launch = running(&fake).await;
    for _ in 0..100 {
        Console::send(&fake, launch.id, &[b'x'; 4096]).await.unwrap();
    }
    assert_eq!(fake.tail(&launch, usize::MAX).await.unwrap().len(), 16 * 1024);
    Console::send(&fake, launch.id, b"\rhalt").await.unwrap();
    assert_eq!(power(&fake, &launch).await, Power::Running, "the line is not ended yet");
    Console::send(&fake, launch.id, b"\r").await.unwrap();
    assert_eq!(power(&fake, &launch).await, Power::Off);
}

#[tokio::test]
async fn a_file_keeps_the_world_a_torn_line_and_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("world");
    let fake = Fake::persistent(&path).unwrap();
    let [up, paused, crashed, off, forgotten, adopted] = [(); 6].map(|()| launch());
    for launch in [&up, &paused, &crashed, &off, &forgotten] {
        fake.start(launch).await.unwrap();
    }
    Pause::pause(&fake, paused.id).await.unwrap();
    fake.faults().crash(crashed.id, "a bad cable");
    fake.kill(off.id).await.unwrap();
    fake.kill(forgotten.id).await.unwrap();
    fake.forget(forgotten.id).await.unwrap();
    fake.faults().foreign("theirs", definition());
    fake.faults().foreign("taken", definition());
    Adopt::adopt(&fake, "taken", &adopted).await.unwrap();
    Console::send(&fake, up.id, b"\xffhello").await.unwrap();
    drop(fake);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"what\":\"gue").unwrap();

    for _ in 0..2 {
        let again = Fake::persistent(&path).unwrap();
        assert_eq!(power(&again, &up).await, Power::Running);
        assert!(again.observe(&up).await.unwrap().running_for.unwrap() < MINUTE);
        assert_eq!(power(&again, &paused).await, Power::Paused);
        assert_eq!(power(&again, &crashed).await, Power::Crashed(Cause("a bad cable".into())));
        assert_eq!(power(&again, &off).await, Power::Off);
        assert_eq!(again.tail(&forgotten, 100).await.unwrap(), b"");
        assert_eq!(power(&again, &adopted).await, Power::Running);
        let foreign = Adopt::foreign(&again).await.unwrap();
        assert_eq!(foreign.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["theirs"]);
        assert!(again.tail(&up, 6).await.unwrap() == b"\xffhello");
    }
    let again = Fake::persistent(&path).unwrap();
    Adopt::release(&again, adopted.id).await.unwrap();
    drop(again);
    for _ in 0..2 {
        let again = Fake::persistent(&path).unwrap();
        assert_eq!(power(&again, &adopted).await, Power::Off, "it is not ours any more");
        let foreign = Adopt::foreign(&again).await.unwrap();
        assert_eq!(foreign.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["taken", "theirs"]);
    }
}

#[tokio::test]
async fn the_age_is_counted_from_the_start_across_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("world");
    let launch = running(&Fake::persistent(&path).unwrap()).await;
    let kept = fs::read_to_string(&path).unwrap();
    let born = kept.split("\"born_ms\":").nth(1).unwrap().split(',').next().unwrap();
    let earlier = born.parse::<u64>().unwrap() - 3_600_000;
    fs::write(&path, kept.replace(born, &earlier.to_string())).unwrap();
    let age = Fake::persistent(&path).unwrap().observe(&launch).await.unwrap().running_for.unwrap();
    assert!(age >= 60 * MINUTE, "{age:?}");
}

#[tokio::test]
async fn the_file_is_written_anew_before_it_grows_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("world");
    let fake = Fake::persistent(&path).unwrap();
    let launch = running(&fake).await;
    for _ in 0..10_100 {
        Console::send(&fake, launch.id, b"x").await.unwrap();
    }
    assert!(fs::read(&path).unwrap().split(|byte| *byte == b'\n').count() < 200);
    assert_eq!(power(&Fake::persistent(&path).unwrap(), &launch).await, Power::Running);
}

#[test]
fn a_file_that_cannot_be_kept_is_said() {
    let error = Fake::persistent(Path::new("/proc/no/such/world")).unwrap_err();
    assert!(matches!(error, DriverError::System { .. }), "{error:?}");
}
