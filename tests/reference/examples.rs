//! One example of every reply there is, for docs/protocol.md.

use std::any::TypeId;

use serde_json::Value;
use skerry_stanzas::{
    command::{COMMANDS, Command, Declaration, host, machine},
    each_command,
    reply::{
        Adoption, Cancelled, Changed, ConsoleOutput, Defined, DefinitionHistory, DefinitionLine, DiskLine,
        DiskList, DriverLine, DriverList, Evacuated, EvacuatedLine, Executed, FileWritten, Frozen,
        GuestAddress, GuestFacts, GuestFile, HostStatus, ImageChanged, ImageDetails, ImageExported,
        ImageKept, ImageLine, ImageList, ImageOffered, ImageShared, JobLine, JobList, LogLine, LogLines,
        MachineLine, MachineList, MachineStatus, Migrated, PNG, PasswordSet, Redefined, Released, Removed,
        Reply, ScheduleLine, Schedules, ScreenPicture, ScreenTicket, SnapshotFile, SnapshotLine,
        SnapshotList, SnapshotTree, Thawed, TrashLine, TrashList, Trimmed, TrimmedDisk, Typed, Uptime,
        Version,
    },
};

use crate::{
    approvals::of_approvals,
    audit::of_audit,
    devices::of_devices,
    networks::{of_firewalls, of_networks},
    numbers::of_numbers,
    rights::{of_limits, of_rights},
};

/// A reply on both its faces.
pub struct Example {
    /// The commands that answer so, by permission.
    pub commands: Vec<String>,
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

macro_rules! answers {
    ($($command:ty),* $(,)?) => {
        [$((Declaration::of::<$command>().permission(), TypeId::of::<<$command as Command>::Reply>())),*]
    };
}

pub fn example<R: Reply>(reply: R) -> Example {
    let answers = each_command!(answers);
    let commands: Vec<String> = answers
        .into_iter()
        .filter(|(_, kind)| *kind == TypeId::of::<R>())
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    assert!(!commands.is_empty(), "no command answers so");
    Example { commands, text: reply.text(), json: serde_json::to_value(&reply).unwrap() }
}

/// The answer to `start`.
pub fn changed() -> Changed {
    Changed {
        name: "web1".into(),
        jid: "web1@kvm1.example.org".into(),
        state: "running".into(),
        generation: 7,
        sentence: "web1 is running.".into(),
    }
}

/// Every kind of reply, once.
pub fn replies() -> Vec<Example> {
    let all = [
        of_machines(),
        of_screens(),
        of_storage(),
        vec![of_trim()],
        of_hosts(),
        of_images(),
        of_rights(),
        of_approvals(),
        of_audit(),
        of_limits(),
        of_jobs(),
        of_moves(),
        of_networks(),
        of_firewalls(),
        of_devices(),
        of_numbers(),
    ];
    let all: Vec<Example> = all.into_iter().flatten().collect();
    let shown: usize = all.iter().map(|example| example.commands.len()).sum();
    assert_eq!(shown, COMMANDS.len(), "a reply is missing, or is there twice");
    all
}

fn of_moves() -> Vec<Example> {
    let line = |name: &str, to: Option<&str>, why_not: Option<&str>| EvacuatedLine {
        name: name.into(),
        to: to.map(Into::into),
        why_not: why_not.map(Into::into),
    };
    vec![
        example(Migrated {
            name: "web1".into(),
            to: "kvm2.example.org".into(),
            address: "web1@kvm2.example.org".into(),
            planned: false,
            copies: vec!["disk1".into()],
            downtime_ms: Some(48),
            sent_bytes: Some(212 << 20),
            slowed_percent: Some(40),
            notes: vec![
                "Its address 10.20.0.7 on the network lan is another's there: the guest has to ask for one again.".into(),
            ],
        }),
        example(Evacuated {
            machines: vec![
                line("web1", Some("kvm2.example.org"), None),
                line("web2", None, Some("web2 is shutting down. It cannot be moved now.")),
            ],
        }),
    ]
}

fn of_machines() -> Vec<Example> {
    let (ann, at) = ("ann@example.org", "2026-11-22T20:31:00Z");
    vec![
        example(changed()),
        example(MachineStatus {
            name: "web1".into(),
            jid: "web1@kvm1.example.org".into(),
            host: "kvm1.example.org".into(),
            state: "running".into(),
            sentence: "Running".into(),
            wanted: "running".into(),
            generation: 7,
            driver: "qemu".into(),
            vcpus: 1,
            memory_mib: 512,
            running_since: Some(at.parse().unwrap()),
            cpu_seconds: Some(125.5),
            labels: vec!["web".into(), "prod".into()],
            autostart: true,
            protected: false,
            note: Some("ask ann before touching it".into()),
            guest: Some(GuestFacts {
                agent: "present".into(),
                os: Some("Debian GNU/Linux 12 (bookworm)".into()),
                kernel: Some("6.1.0-44-cloud-amd64".into()),
                hostname: Some("web1".into()),
                frozen_until: None,
            }),
            addresses: vec![GuestAddress {
                address: "10.0.2.15".into(),
                nic: "net1".into(),
                from: "guest".into(),
            }],
            links_down: vec![],
        }),
        example(Defined {
            name: "web1".into(),
            changed: vec![Redefined {
                what: "memory: 512M → 1G".into(),
                effective: "at the next start".into(),
            }],
            toml: "vcpus = 1\nmemory_mib = 1024\n".into(),
            definition: serde_json::json!({"vcpus": 1, "memory_mib": 1024}),
        }),
        example(DefinitionHistory {
            name: "web1".into(),
            definitions: vec![DefinitionLine {
                number: 2,
                at: at.parse().unwrap(),
                who: ann.into(),
                what: "memory: 512M → 1G".into(),
            }],
        }),
        example(LogLines {
            entries: vec![LogLine {
                at: at.parse().unwrap(),
                who: ann.into(),
                what: "start".into(),
                outcome: "web1 is running.".into(),
            }],
            older: false,
        }),
        example(ConsoleOutput { name: "web1".into(), lines: vec!["web1 login: root".into(), "#".into()] }),
        example(Released { name: "web1".into() }),
        example(Removed { name: "web1".into(), purged_at: "2026-11-29T20:31:00Z".parse().unwrap() }),
    ]
}

fn of_screens() -> Vec<Example> {
    vec![
        example(ScreenTicket {
            name: "web1".into(),
            sid: "vnc:c0ffee00c0ffee00c0ffee00c0ffee00".into(),
            view_only: false,
            block_bytes_max: 32768,
            good_for_seconds: 60,
        }),
        example(ScreenPicture {
            name: "web1".into(),
            title: None,
            url: Some("https://upload.example.org/5f3a/web1.png".into()),
            cid: Some("sha1+2fd4e1c67a2d28fced849ee1bb76e7391b93eb12@bob.xmpp.org".into()),
            kind: PNG.into(),
            width: 720,
            height: 400,
            bytes: 6840,
            blank: false,
        }),
        example(Executed {
            name: "web1".into(),
            code: Some(0),
            signal: None,
            output: vec!["Linux web1 6.1.0-56-cloud-amd64 x86_64 GNU/Linux".into()],
            errors: vec![],
            cut: false,
        }),
        example(GuestFile {
            name: "web1".into(),
            path: "/etc/hostname".into(),
            from: 0,
            bytes: 5,
            ends: true,
            base64: "d2ViMQo=".into(),
            lines: Some(vec!["web1".into()]),
        }),
        example(FileWritten { name: "web1".into(), path: "/etc/motd".into(), bytes: 14 }),
        example(PasswordSet { name: "web1".into(), user: "root".into() }),
        example(Frozen {
            name: "web1".into(),
            file_systems: 2,
            until_at: "2026-11-22T20:32:00Z".parse().unwrap(),
        }),
        example(Thawed { name: "web1".into(), file_systems: 2 }),
        example(Typed { name: "web1".into(), keys: 14 }),
    ]
}

fn of_trim() -> Example {
    example(Trimmed {
        name: "web1".into(),
        named_bytes: 2 << 30,
        file_systems: 1,
        disks: vec![TrimmedDisk { name: "disk1".into(), before_bytes: 300 << 20, after_bytes: 180 << 20 }],
        without_discard: vec![],
    })
}

fn of_storage() -> Vec<Example> {
    let line = SnapshotLine {
        name: "before".into(),
        taken_at: "2026-11-22T20:31:00Z".parse().unwrap(),
        memory_bytes: Some(512 << 20),
        disks: vec!["disk1".into()],
        parent: None,
        quiesced: Some(true),
        kept: "internal".into(),
        files: vec![],
    };
    let external = SnapshotLine {
        name: "backup".into(),
        memory_bytes: None,
        kept: "external".into(),
        files: vec![SnapshotFile {
            disk: "disk1".into(),
            path: "/var/lib/skerry/machines/019a/disk.qcow2".into(),
            used_bytes: Some(3 << 30),
        }],
        ..line.clone()
    };
    let (name, current) = (String::from("web1"), Some(String::from("before")));
    vec![
        example(DiskList {
            name: name.clone(),
            disks: vec![DiskLine {
                name: "disk1".into(),
                size_bytes: Some(20 << 30),
                used_bytes: Some(3 << 30),
                format: "qcow2".into(),
                bus: "virtio".into(),
                state: "attached".into(),
                path: "/var/lib/skerry/machines/019a/disk.qcow2".into(),
                backing: Some("/srv/images/debian.qcow2".into()),
            }],
        }),
        example(SnapshotList {
            name: name.clone(),
            current: current.clone(),
            snapshots: vec![line.clone(), external],
        }),
        example(SnapshotTree { name: name.clone(), current, snapshots: vec![line] }),
        example(Schedules {
            name,
            schedules: vec![ScheduleLine {
                name: "nightly".into(),
                every: "1day".into(),
                at: Some("03:00".into()),
                keep: 7,
                due: "2026-11-24T03:00:00Z".parse().unwrap(),
                by: "ann@example.org".into(),
            }],
            sentence: None,
        }),
    ]
}

fn of_hosts() -> Vec<Example> {
    let (ann, at) = ("ann@example.org", "2026-11-22T20:31:00Z");
    vec![
        example(MachineList {
            machines: vec![MachineLine {
                name: "web1".into(),
                jid: "web1@kvm1.example.org".into(),
                host: "kvm1.example.org".into(),
                state: "running".into(),
                driver: "qemu".into(),
                vcpus: 1,
                memory_mib: 512,
                labels: vec!["web".into()],
            }],
        }),
        example(Adoption { adopted: None, machines: vec![] }),
        example(host_status()),
        example(DriverList {
            drivers: vec![DriverLine {
                name: "qemu".into(),
                usable: true,
                default: true,
                why: "QEMU 7.2 with KVM".into(),
                capabilities: vec!["reset".into(), "pause".into(), "console".into()],
            }],
        }),
        example(ImageList {
            images: vec![ImageLine {
                name: "linux".into(),
                kind: "kernel".into(),
                size_mib: 30,
                format: None,
                used_by: vec![],
                about: "a small Linux".into(),
            }],
            available: vec![ImageOffered {
                name: "debian-12".into(),
                catalogue: "main".into(),
                download_mib: 420,
                format: "qcow2".into(),
                here: false,
                about: "Debian 12".into(),
            }],
            complaints: vec![],
        }),
        example(TrashList {
            machines: vec![TrashLine {
                name: "web1".into(),
                deleted_at: at.parse().unwrap(),
                deleted_by: ann.into(),
                purged_at: "2026-11-29T20:31:00Z".parse().unwrap(),
            }],
        }),
        example(Version { agent: "0.1.0".into(), os: "Debian 12".into(), kernel: "6.1.0".into() }),
        example(Uptime { host_seconds: 90_000, agent_seconds: 3_661, link_seconds: 60 }),
    ]
}

fn of_images() -> Vec<Example> {
    let at = "2026-11-22T20:31:00Z".parse().unwrap();
    let sha256 = "b1946ac92492d2347c6235b4d2611184ec6d3f2e4ab0e7e6b3a6cf5a0ab1bd25".to_owned();
    vec![
        example(ImageDetails {
            name: "debian-12".into(),
            kind: "disk".into(),
            size_mib: 2048,
            file_mib: 420,
            format: Some("qcow2".into()),
            sha256: Some(sha256.clone()),
            source: "https://example.org/debian-12.qcow2".into(),
            made_at: Some(at),
            made_by: Some("ann@example.org".into()),
            used_by: vec!["web1".into(), "old (in the trash)".into()],
            about: "Debian 12".into(),
        }),
        example(ImageKept {
            name: "debian-12".into(),
            kind: "disk".into(),
            size_mib: 2048,
            format: "qcow2".into(),
            sha256,
            pinned: true,
            already: false,
            sentence: "The image debian-12 is here: a disk of 2 GiB.".into(),
        }),
        example(ImageShared {
            name: "debian-12".into(),
            to: "kvm2.example.org".into(),
            there: "debian-12".into(),
            already: false,
            sent_bytes: 312 << 20,
            sentence: "The image debian-12 is on kvm2.example.org now, as debian-12: 312 MiB went there."
                .into(),
        }),
        example(ImageChanged {
            name: "debian-12".into(),
            sentence: "The image debian-12 was deleted.".into(),
        }),
        example(ImageExported {
            name: "debian-12".into(),
            file: "/var/lib/skerry/export/debian-12.qcow2".into(),
            sentence: "debian-12 is written to /var/lib/skerry/export/debian-12.qcow2 on this host.".into(),
        }),
    ]
}

fn of_jobs() -> Vec<Example> {
    vec![
        example(JobList {
            jobs: vec![JobLine {
                id: "66jf".into(),
                what: "image import".into(),
                machine: None,
                by: "ann@example.org".into(),
                started_at: "2026-11-22T20:31:00Z".parse().unwrap(),
                percent: Some(45),
                sentence: "debian-12 is being fetched: 45 %".into(),
                can_be_cancelled: true,
            }],
        }),
        example(Cancelled {
            id: "66jf".into(),
            sentence: "\"image import\" (66jf) was cancelled: nothing of it is left.".into(),
        }),
    ]
}

fn host_status() -> HostStatus {
    HostStatus {
        name: "kvm1".into(),
        jid: "kvm1.example.org".into(),
        machines: 3,
        running: 2,
        cpus: 8,
        load: 0.42,
        memory_mib: 16_384,
        memory_free_mib: 9_216,
        disk_free_mib: 204_800,
        driver: "qemu".into(),
    }
}
