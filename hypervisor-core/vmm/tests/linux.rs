//! Whole Linux guests: they run where KVM is real. Elsewhere `scripts/nested-lab` makes a machine that has
//! one, and runs this in it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod guest;

use guest::{Guest, Made};
use skerry_vmm::control::{Ask, Happened, Said};

/// Debian's kernel, and the small guest of `scripts/guest`; `None` where nobody has made a lab.
fn linux() -> Option<Made> {
    Some(Made {
        kernel: std::env::var_os("SKERRY_VMM_KERNEL")?.into(),
        initrd: std::env::var_os("SKERRY_VMM_INITRD").map(Into::into),
        processors: 1,
        memory: 256 << 20,
        disks: Vec::new(),
    })
}

/// That, or the end of the test: where KVM cannot run Linux it is said, and the lab has one that can.
macro_rules! linux {
    () => {
        match linux() {
            Some(made) => made,
            None => {
                eprintln!("no guest to boot: SKERRY_VMM_KERNEL is not set (scripts/nested-lab sets it)");
                return;
            }
        }
    };
}

#[test]
fn a_guest_boots_sees_its_processors_and_is_shut_down_by_its_button() {
    let mut guest = Guest::start(Made { processors: 2, ..linux!() });
    guest.until("skerry guest ready");
    assert_eq!(guest.run("nproc"), "2");
    assert_eq!(guest.ask(&Ask::Status), Said::Status { runs: true });
    assert_eq!(guest.ask(&Ask::Press), Said::Done);
    assert_eq!(guest.happened(), Happened::Halted);
    assert!(guest.end().success());
}

#[test]
fn a_guest_reboots_and_is_reset() {
    let mut guest = Guest::start(linux!());
    guest.until("skerry guest ready");
    guest.type_in("reboot -f\n");
    assert_eq!(guest.happened(), Happened::Rebooted);
    guest.until("skerry guest ready");
    assert_eq!(guest.ask(&Ask::Reset), Said::Done);
    guest.until("skerry guest ready");
    guest.type_in("poweroff -f\n");
    assert_eq!(guest.happened(), Happened::Halted);
    assert!(guest.end().success());
}

#[test]
fn a_disk_keeps_what_was_written_and_one_that_is_read_only_stays_as_it_is() {
    let made = Made { disks: vec![(8 << 20, false), (1 << 20, true)], ..linux!() };
    let mut guest = Guest::start(made);
    guest.until("skerry guest ready");
    assert_eq!(guest.run("cat /sys/block/vda/size /sys/block/vdb/ro"), "16384\n1");
    guest.run("dd if=/dev/urandom of=/tmp/some bs=64k count=100");
    guest.run("dd if=/tmp/some of=/dev/vda bs=256k conv=fsync; echo 3 >/proc/sys/vm/drop_caches");
    let sums = guest.run("md5sum </tmp/some; dd if=/dev/vda bs=64k count=100 2>/dev/null | md5sum");
    let (one, other) = sums.split_once('\n').unwrap();
    assert_eq!(one, other);
    guest.run("dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync");
    let written = std::fs::read(guest.disk(0)).unwrap();
    assert!(written[..6_553_600].chunks(512).all(|sector| sector.iter().any(|byte| *byte != 0)));
    assert_eq!(guest.run("blkdiscard -o 1048576 -l 1048576 /dev/vda 2>&1; echo $?"), "0");
    assert!(std::fs::read(guest.disk(0)).unwrap()[1 << 20..2 << 20].iter().all(|byte| *byte == 0));
    guest.ask(&Ask::End);
    assert!(guest.end().success());
}

#[test]
fn a_guest_that_is_held_does_nothing_and_then_goes_on() {
    let mut guest = Guest::start(Made { processors: 2, ..linux!() });
    guest.until("skerry guest ready");
    guest.type_in("while :; do echo tick; usleep 10000; done\n");
    guest.until("tick\r\ntick\r\ntick");
    assert_eq!(guest.ask(&Ask::Hold), Said::Done);
    assert_eq!(guest.ask(&Ask::Status), Said::Status { runs: false });
    let before = guest.settled();
    assert_eq!(guest.settled(), before);
    assert_eq!(guest.ask(&Ask::Go), Said::Done);
    guest.until("tick");
    guest.ask(&Ask::End);
    assert!(guest.end().success());
}

#[test]
fn a_panic_is_told_and_ends_the_machine() {
    let mut guest = Guest::start(linux!());
    guest.until("skerry guest ready");
    guest.type_in("echo c >/proc/sysrq-trigger\n");
    assert_eq!(guest.happened(), Happened::Panicked);
    assert!(!guest.end().success());
}
