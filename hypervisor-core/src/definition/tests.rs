//! Definitions as people write them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod devices;
mod round_trip;

use super::*;

const LINUX: &str = r#"
vcpus = 2
memory_mib = 512
note = "the web"

[boot]
from = "kernel"
kernel = "/boot/vmlinuz"
cmdline = "console=ttyS0"

[[disks]]
path = "/srv/web.qcow2"
format = "qcow2"
"#;

fn linux() -> Definition {
    Definition::from_toml(LINUX).unwrap()
}

fn wrong(line: &str, instead: &str) -> String {
    assert!(LINUX.contains(line), "{line}");
    Definition::from_toml(&LINUX.replace(line, instead)).unwrap_err().to_string()
}

#[test]
fn what_a_person_writes_is_read() {
    let definition = linux();
    assert_eq!((definition.vcpus, definition.memory_mib), (2, 512));
    assert_eq!(definition.disks[0].format, DiskFormat::Qcow2);
    assert!(!definition.disks[0].read_only);
}

#[test]
fn what_is_not_known_names_what_may_be_meant() {
    // Inside a tagged table the parser only knows where the table begins.
    let known = [
        ("memory_mib", "memroy_mib", r#"line 3: "memroy_mib" is not known here; is "memory_mib" meant?"#),
        ("cmdline", "comandline", r#"line 6: "comandline" is not known here; is "cmdline" meant?"#),
        ("path", "pth", r#"line 12: "pth" is not known here; is "path" meant?"#),
        ("\"qcow2\"", "\"qcow\"", r#"line 13: "qcow" is not known here; is "qcow2" meant?"#),
        ("\"kernel\"", "\"kernal\"", r#""kernal" is not known here; is "kernel" meant?"#),
        ("note", "zebra", r#"line 4: "zebra" is not known here"#),
    ];
    for (line, instead, expected) in known {
        let error = wrong(line, instead);
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn what_is_out_of_range_is_refused() {
    let both = wrong("vcpus = 2", "vcpus = 0");
    assert_eq!(both, "a machine has 1 to 255 virtual processors, not 0");
    assert!(wrong("vcpus = 2", "vcpus = 256").contains("256"));
    assert_eq!(wrong("= 512", "= 15"), "a machine has 16M to 16T of memory, not 15M");
    assert_eq!(wrong("= 512", "= 16777217"), "a machine has 16M to 16T of memory, not 16777217M");
    assert!(wrong("/boot/", "boot/").contains("must be a whole path"));
    assert!(wrong("/srv/", "../").contains("must be a whole path"));
    assert!(wrong("console=ttyS0", "console=ttyS0\\ninit=/bin/sh").contains("one line"));
    assert!(wrong("/srv/web", "/srv/\\u0000web").contains("control characters"));
    for (memory_mib, vcpus) in [(16, 1), (16 * 1024 * 1024, 255)] {
        assert_eq!(Definition { memory_mib, vcpus, ..linux() }.check(), Ok(()));
    }
}

#[test]
fn memory_and_processors_have_a_range() {
    let room = |min, max| Definition { memory_min_mib: min, memory_max_mib: max, ..linux() };
    assert_eq!(room(Some(512), Some(512)).check(), Ok(()));
    let error = room(Some(1024), None).check().unwrap_err().to_string();
    assert_eq!(error, "512M of memory do not fit memory_min_mib, which is 1G");
    assert!(room(None, Some(256)).check().is_err() && room(Some(8), None).check().is_err());
    assert_eq!(
        Definition { vcpus_max: Some(1), ..linux() }.check(),
        Err(DefinitionError::VcpusOver { vcpus: 2, max: 1 })
    );
    let uefi = Definition { firmware: Firmware::Uefi, memory_mib: 128, ..linux() };
    let error = uefi.check().unwrap_err().to_string();
    assert_eq!(error, "a UEFI needs 256M of memory, not 128M: give it more, or firmware = \"bios\"");
    let secure = Definition { firmware: Firmware::SecureBoot, ..linux() };
    assert_eq!(secure.check(), Err(DefinitionError::UncheckedKernel));
    let cpu = Cpu { pin: vec![0, 5000], ..Cpu::default() };
    assert_eq!(Definition { cpu, ..linux() }.check(), Err(DefinitionError::Pin(5000)));
}

#[test]
fn it_needs_something_to_boot_from_and_disks_of_its_own() {
    let bare = Definition { boot: Boot::Disk, disks: vec![], ..linux() };
    assert_eq!(bare.check(), Err(DefinitionError::NoBootDisk));
    let mut twice = linux();
    twice.disks.push(Disk { name: "copy".into(), ..twice.disks[0].clone() });
    assert_eq!(twice.check(), Err(DefinitionError::DiskTwice("/srv/web.qcow2".into())));
    twice.disks.iter_mut().for_each(|disk| disk.read_only = true);
    assert_eq!(twice.check(), Ok(()));
    let many = (0..33).map(|nth| Disk::new(format!("/d{nth}"), DiskFormat::Raw)).collect();
    assert_eq!(Definition { disks: many, ..linux() }.check(), Err(DefinitionError::Disks(33)));
}

#[test]
fn what_is_huge_or_no_toml_is_refused_shortly() {
    let huge = format!("{LINUX}\n# {}", "x".repeat(Definition::TOML_BYTES_MAX));
    assert_eq!(Definition::from_toml(&huge), Err(DefinitionError::TooLong));
    let odd = format!("{} = 1", "k".repeat(60_000));
    assert!(Definition::from_toml(&odd).unwrap_err().to_string().len() < 500);
    assert!(wrong("vcpus = 2", "vcpus = \"two\"").starts_with("line 2: "));
}

#[test]
fn differences_are_said_in_words_with_their_time() {
    let old = linux();
    assert_eq!(differences(&old, &old), []);
    let mut new = Definition { vcpus: 4, memory_mib: 1536, note: None, ..old.clone() };
    new.disks[0].read_only = true;
    let Boot::Kernel { initrd, .. } = &mut new.boot else { panic!("it is a kernel") };
    *initrd = Some("/boot/initrd.img".into());
    let said: Vec<_> = differences(&old, &new)
        .into_iter()
        .map(|difference| format!("{difference} ({})", difference.effective.words()))
        .collect();
    assert_eq!(
        said,
        [
            "vcpus: 2 → 4 (at the next start)",
            "memory: 512M → 1.5G (at the next start)",
            "initrd: none → /boot/initrd.img (at the next start)",
            "disk disk1: /srv/web.qcow2 (qcow2, virtio) → /srv/web.qcow2 (qcow2, virtio, read-only) (at the next start)",
            "note: \"the web\" → none (now)",
        ]
    );
    let disk = Definition { boot: Boot::Disk, ..old.clone() };
    assert_eq!(differences(&old, &disk)[0].words, "boot: kernel → disk");
}
