//! What a machine costs that does nothing. Run in release by whoever wants the figure:
//! `cargo test --release -p skerry-agent --test memory -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use stage::{ANN, stage};

const MACHINES: usize = 1000;
/// Resident, in bytes, a machine: the promise.
const EACH_MAX: usize = 10 << 10;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
#[ignore = "a measurement"]
async fn a_thousand_idle_machines() {
    let stage = stage().await;
    for n in 0..50 {
        stage.done(ANN, &format!("create warm{n} linux --start")).await;
    }
    let before = resident();
    for n in 0..MACHINES {
        stage.done(ANN, &format!("create m{n} linux --start")).await;
    }
    let each = (resident() - before) / MACHINES;
    println!("{} MiB with {} machines; {each} bytes a machine", resident() >> 20, MACHINES + 50);
    assert!(each <= EACH_MAX, "{each} bytes a machine");
}
