//! The whole process with a guest of a few instructions: it runs under any KVM, however slow, and says at
//! once what it is told to.
#![allow(clippy::unwrap_used, clippy::panic)]

mod guest;

use std::{fs, path::Path};

use guest::{Guest, Made};
use skerry_vmm::control::{Ask, Happened, Said};

/// Where it is in memory.
const AT: u32 = 0x10_0000;

/// `mov dx, port; mov al, value; out dx, al`, in 32-bit mode.
fn out(port: u16, value: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0x66, 0xba, low, high, 0xb0, value, 0xee]
}

/// Says that it is there; then echoes what is typed, and does what it means: `r`eset, `o`ff, `p`anic.
fn program() -> Vec<u8> {
    let mut code: Vec<u8> = b"tiny\n".iter().flat_map(|byte| out(0x3f8, *byte)).collect();
    let wait = code.len();
    // mov dx, 3fd; in al, dx; test al, 1; jz wait
    code.extend([0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7]);
    // mov dx, 3f8; in al, dx; out dx, al
    code.extend([0x66, 0xba, 0xf8, 0x03, 0xec, 0xee]);
    for (letter, port, value) in [(b'r', 0x602, 1), (b'o', 0x600, 5 << 2 | 1 << 5), (b'p', 0x505, 1)] {
        // cmp al, letter; jne over
        let does = out(port, value);
        code.extend([0x3c, letter, 0x75, does.len() as u8]);
        code.extend(does);
    }
    let back = wait as i64 - (code.len() as i64 + 2);
    code.extend([0xeb, back as i8 as u8]);
    code
}

/// It as a kernel: an ELF file with one segment, and a note that says where PVH enters it.
fn kernel(file: &Path) {
    let code = program();
    let mut note: Vec<u8> = [4_u32, 4, 18].iter().flat_map(|word| word.to_le_bytes()).collect();
    note.extend(b"Xen\0");
    note.extend(AT.to_le_bytes());
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    elf.extend(words(&[u64::from(AT), 64, 0]));
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    let start = 64 + 2 * 56_u64;
    for (kind, offset, length) in [(1_u64, start, code.len()), (4, start + code.len() as u64, note.len())] {
        let (at, length) = (u64::from(AT), length as u64);
        elf.extend(words(&[kind | 7 << 32, offset, at, at, length, length, 1]));
    }
    elf.extend(code);
    elf.extend(note);
    fs::write(file, elf).unwrap();
}

/// A guest of it, or the end of the test where there is no KVM at all.
macro_rules! tiny {
    ($processors:expr) => {{
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            eprintln!("there is no /dev/kvm here");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("tiny");
        self::kernel(&kernel);
        Guest::start(Made {
            kernel,
            initrd: None,
            processors: $processors,
            memory: 16 << 20,
            disks: vec![(4096, false)],
        })
    }};
}

#[test]
fn it_is_heard_typed_to_and_shut_down() {
    let mut guest = tiny!(1);
    guest.until("tiny");
    assert!(guest.is_bounded());
    guest.type_in(&"x".repeat(1000));
    guest.until(&"x".repeat(1000));
    assert_eq!(guest.ask(&Ask::Status), Said::Status { runs: true });
    guest.type_in("o");
    assert_eq!(guest.happened(), Happened::Halted);
    assert_eq!(guest.log(), format!("tiny\n{}o", "x".repeat(1000)));
    assert!(guest.end().success());
}

#[test]
fn it_begins_anew_as_often_as_it_likes_and_is_asked() {
    let mut guest = tiny!(2);
    for _ in 0..5 {
        guest.until("tiny");
        guest.type_in("r");
        assert_eq!(guest.happened(), Happened::Rebooted);
        guest.until("tiny");
        assert_eq!(guest.ask(&Ask::Reset), Said::Done);
    }
    guest.until("tiny");
    guest.type_in("p");
    assert_eq!(guest.happened(), Happened::Panicked);
    assert!(!guest.end().success());
}

#[test]
fn while_it_is_held_it_hears_nothing_and_nothing_is_lost() {
    let mut guest = tiny!(2);
    guest.until("tiny");
    assert_eq!(guest.ask(&Ask::Hold), Said::Done);
    assert_eq!(guest.ask(&Ask::Hold), Said::Done);
    assert_eq!(guest.ask(&Ask::Status), Said::Status { runs: false });
    guest.type_in("while you were away");
    assert_eq!(guest.settled(), guest.settled());
    assert!(!guest.log().contains("away"));
    // One that is held is reset, and stays held.
    assert_eq!(guest.ask(&Ask::Reset), Said::Done);
    assert_eq!(guest.ask(&Ask::Status), Said::Status { runs: false });
    assert_eq!(guest.ask(&Ask::Go), Said::Done);
    guest.until("tiny");
    assert_eq!(guest.ask(&Ask::End), Said::Done);
    assert!(guest.end().success());
}

#[test]
fn a_caller_that_talks_nonsense_is_hung_up_on_and_the_others_are_heard() {
    let mut guest = tiny!(1);
    guest.until("tiny");
    for nonsense in ["{}\n".to_owned(), "\0\n".into(), "{\"ask\":\"fly\"}\n".into(), "x".repeat(70 << 10)] {
        assert!(guest.is_hung_up_after(&nonsense), "{:.20}", nonsense);
    }
    assert_eq!(guest.ask(&Ask::Status), Said::Status { runs: true });
    guest.type_in("o");
    assert_eq!(guest.happened(), Happened::Halted);
    assert!(guest.end().success());
}
