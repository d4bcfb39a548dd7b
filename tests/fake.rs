//! The fake driver as fleets and bot authors use it: thousands of machines, and a process that is
//! killed at any moment.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::HashSet,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use hypervisor_core::{
    definition::{Boot, Definition},
    driver::{Driver, Launch, Power, fake::Fake},
    machine::MachineId,
};

fn launch(id: MachineId) -> Launch {
    let boot = Boot::Kernel { kernel: "/boot/vmlinuz".into(), initrd: None, cmdline: String::new() };
    let definition = Definition::new(1, 64, boot);
    Launch {
        id,
        name: "web1".into(),
        definition,
        folder: "/nowhere".into(),
        own: Vec::new(),
        networks: Default::default(),
        devices: Default::default(),
    }
}

/// Resident memory of this process, in bytes.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn ten_thousand_machines_take_less_than_2_kb_each() {
    const MACHINES: usize = 10_000;
    let fake = Fake::new();
    let launches: Vec<_> = (0..MACHINES).map(|_| launch(MachineId::fresh())).collect();
    let before = resident_bytes();
    for launch in &launches {
        fake.start(launch).await.unwrap();
    }
    let each = resident_bytes().saturating_sub(before) / MACHINES;
    println!("{each} bytes a machine");
    assert!(each < 2000, "{each} bytes a machine");
    for launch in &launches {
        assert_eq!(fake.observe(launch).await.unwrap().power, Power::Running);
    }
}

/// Where the process to be killed keeps its world.
const WORLD: &str = "SKERRY_TEST_FAKE_WORLD";

/// Not a test: the process that is killed. Starts machines and says so, until it is.
#[tokio::test]
#[ignore = "it is run, and killed, by the test below"]
async fn starts_machines_until_it_is_killed() {
    let Some(world) = env::var_os(WORLD) else { return };
    let fake = Fake::persistent(Path::new(&world)).unwrap();
    loop {
        let id = MachineId::fresh();
        fake.start(&launch(id)).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nstarted {}", id.0).unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn a_process_killed_at_any_moment_finds_its_guests_again() {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path().join("world");
    let mut started = HashSet::new();
    for round in 1..=5 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "starts_machines_until_it_is_killed", "--ignored", "--nocapture"])
            .env(WORLD, &world)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut here = 0;
        for line in lines {
            let line = line.unwrap();
            let Some(id) = line.strip_prefix("started ") else { continue };
            // What the kill cut off in the middle was not said.
            let Ok(id) = id.parse() else { continue };
            started.insert(MachineId(id));
            here += 1;
            if here == 20 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(here >= 20 * round, "the process ended by itself after {here} machines");
        let again = Fake::persistent(&world).unwrap();
        for id in &started {
            let seen = again.observe(&launch(*id)).await.unwrap();
            assert_eq!(seen.power, Power::Running, "it was said to run, before the process was killed");
            assert!(seen.running_for.is_some());
        }
    }
}
