//! Memory in huge pages: QEMU takes all of it at the start or ends, so it is looked beforehand whether
//! the host has so much.

use std::fs;

use crate::{definition::Definition, driver::DriverError};

/// Refuses a machine whose memory the host has not in huge pages.
pub(super) fn check(definition: &Definition) -> Result<(), DriverError> {
    if !definition.hugepages {
        return Ok(());
    }
    let known = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (free_kib, page_kib) = free(&known);
    let wanted_kib = definition.memory_room_mib() * 1024;
    if page_kib > 0 && !wanted_kib.is_multiple_of(page_kib) {
        let text = format!("its memory is no whole number of huge pages of {} MiB", page_kib / 1024);
        return Err(DriverError::Unfit(text));
    }
    if free_kib >= wanted_kib {
        return Ok(());
    }
    let pages = wanted_kib.div_ceil(page_kib.max(1));
    let text = format!(
        "it is to have {} MiB in huge pages, and this host has {} MiB free: keep some for it (sysctl \
         vm.nr_hugepages={pages} or more), or leave hugepages out",
        wanted_kib / 1024,
        free_kib / 1024
    );
    Err(DriverError::Unfit(text))
}

/// How much is free in huge pages, and how large one is, in KiB, in the words of `/proc/meminfo`.
fn free(known: &str) -> (u64, u64) {
    let number = |key: &str| {
        let line = known.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let (free, reserved, page_kib) =
        (number("HugePages_Free:"), number("HugePages_Rsvd:"), number("Hugepagesize:"));
    (u64::saturating_sub(free, reserved).saturating_mul(page_kib), page_kib)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_others_is_not_free() {
        let known = "HugePages_Total:      64\nHugePages_Free:       50\nHugePages_Rsvd:       10\nHugepagesize:       2048 kB\n";
        assert_eq!(free(known), (40 * 2048, 2048));
        assert_eq!(free(""), (0, 0));
    }
}
