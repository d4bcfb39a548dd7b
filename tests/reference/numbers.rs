//! Examples of the replies about what is used.

use skerry_stanzas::reply::{
    AlertChanged, AlertLine, AlertList, DiskStats, HostStats, MachineStats, NicStats, PressureStats,
    QuietHours, Top, TopLine,
};

use crate::examples::{Example, example};

fn host() -> HostStats {
    HostStats {
        name: "kvm1".into(),
        over_seconds: 10.0,
        cpus: 8,
        cpu_percent: Some(37.5),
        steal_percent: Some(0.0),
        load: 2.5,
        memory_bytes: 17_179_869_184,
        memory_free_bytes: 9_663_676_416,
        read_bytes_per_second: Some(0),
        written_bytes_per_second: Some(3_145_728),
        received_bytes_per_second: Some(2_048),
        sent_bytes_per_second: Some(512),
        pressure: Some(PressureStats { cpu_percent: 1.5, memory_percent: 0.0, disk_percent: 4.0 }),
    }
}

/// What the commands about numbers answer.
pub fn of_numbers() -> Vec<Example> {
    let machine = MachineStats {
        name: "web1".into(),
        over_seconds: 10.0,
        vcpus: 2,
        cpu_percent: Some(62.5),
        host_percent: Some(15.8),
        steal_percent: Some(0.4),
        resident_bytes: 325_058_560,
        memory_mib: 512,
        guest_used_bytes: Some(125_829_120),
        guest_total_bytes: Some(513_802_240),
        disks: vec![DiskStats {
            name: "disk1".into(),
            read_bytes_per_second: Some(0),
            written_bytes_per_second: Some(1_572_864),
            read_bytes: 734_003_200,
            written_bytes: 52_428_800,
        }],
        nics: vec![NicStats {
            name: "net1".into(),
            received_bytes_per_second: Some(2_048),
            sent_bytes_per_second: Some(512),
            received_bytes: 1_048_576,
            sent_bytes: 262_144,
        }],
        pressure: None,
    };
    let line = TopLine {
        name: "web1".into(),
        cpu_percent: Some(62.5),
        host_percent: Some(15.8),
        steal_percent: Some(0.4),
        resident_bytes: 325_058_560,
        disk_bytes_per_second: Some(1_572_864),
        net_bytes_per_second: Some(2_560),
    };
    let alert = AlertLine {
        number: 3,
        machine: Some("web1".into()),
        rule: "cpu > 90 %".into(),
        clear: "81 %".into(),
        for_seconds: 300,
        since: Some("2026-11-22T20:31:00Z".parse().unwrap()),
    };
    let hours = Some("22:00-07:00 +02:00".to_owned());
    let told = "You will be told when web1 cpu > 90 % for 5 min, and when it is back at 81 % (number 3).";
    let quiet = "You are told nothing at 22:00-07:00 +02:00; what lasts longer is told after that.";
    vec![
        example(machine),
        example(host()),
        example(Top { host: host(), running: 12, machines: vec![line] }),
        example(AlertChanged { number: 3, sentence: told.into() }),
        example(AlertList { host: "kvm1".into(), alerts: vec![alert], quiet: hours.clone() }),
        example(QuietHours { hours, sentence: quiet.into() }),
    ]
}
