//! What stands against taking a machine, and is known before anything is made for it.

use hypervisor_core::definition::Definition;
use skerry_stanzas::payload::migration::{Offer, OfferedDisk, Plan, Storage};

use crate::handler::disk_free_mib;

/// The reasons that stand against an offer, as they are found.
#[derive(Default)]
pub(super) struct Reasons(pub(super) Vec<String>);

impl Reasons {
    pub(super) fn add(&mut self, reason: impl Into<String>) {
        self.0.push(reason.into());
    }

    pub(super) fn found<T>(&mut self, found: Result<T, String>) -> Option<T> {
        found.map_err(|reason| self.add(reason)).ok()
    }
}

/// Which disks have to be copied.
pub(super) fn copies(offer: &Offer, reasons: &mut Reasons) -> Vec<String> {
    let mut copies = Vec::new();
    for disk in &offer.disks {
        let here = || std::path::Path::new(&disk.path).exists();
        if disk.read_only && !disk.own {
            if !here() {
                reasons.add(format!("it does not have {}", disk.path));
            }
        } else if disk.own || offer.storage == Storage::Copy {
            copies.push(disk.name.clone());
            if disk.own && offer.storage == Storage::Shared {
                reasons.add(format!(
                    "the disk {} is in the machine's own folder, which is not shared",
                    disk.name
                ));
            }
        } else if has_sign(disk) && here() {
        } else if offer.storage == Storage::Shared {
            reasons.add(format!("it does not see the disk {} at {}", disk.name, disk.path));
        } else {
            copies.push(disk.name.clone());
        }
    }
    copies
}

/// Whether this host sees what the source put beside the disk.
fn has_sign(disk: &OfferedDisk) -> bool {
    /// Much more than what is put there.
    const SIGN_BYTES_MAX: u64 = 64;
    let Some((path, said)) = &disk.sign else { return false };
    let beside = std::path::Path::new(path).parent() == std::path::Path::new(&disk.path).parent();
    let small =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() <= SIGN_BYTES_MAX);
    beside && small && std::fs::read_to_string(path).is_ok_and(|read| read == *said)
}

/// Whether there is room for it.
pub(super) fn room(
    state: &std::path::Path,
    definition: &Definition,
    offer: &Offer,
    plan: &Plan,
    reasons: &mut Reasons,
) {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if usize::try_from(definition.vcpus).is_ok_and(|vcpus| vcpus > cpus) && offer.driver != "fake" {
        reasons.add(format!("it has {cpus} processors, not {}", definition.vcpus));
    }
    let needs = if offer.live { definition.memory_mib } else { 0 };
    if needs > plan.memory_free_mib {
        reasons.add(format!("it has {} MiB of memory free, not {needs}", plan.memory_free_mib));
    }
    let copied = offer.disks.iter().filter(|disk| plan.copies.contains(&disk.name));
    let (needs, free) = (copied.map(|disk| disk.size_bytes >> 20).sum::<u64>(), disk_free_mib(state));
    if needs > free {
        reasons.add(format!("it has {free} MiB of disk free, not {needs}"));
    }
}

/// What has to be here as it is there: a TPM's program, and folders that it shares. A guest that runs has
/// these open, and would not find them again.
pub(super) fn rooted(definition: &Definition, offer: &Offer, reasons: &mut Reasons) {
    if definition.tpm && offer.driver != "fake" && !installed("swtpm") {
        reasons.add("it has no swtpm, which its TPM takes (Debian package swtpm)");
    }
    for share in &definition.shares {
        let (name, path) = (&share.name, share.path.display());
        if offer.live {
            reasons
                .add(format!("its guest has the folder {name} of its host open: it can move when it is off"));
        } else if !share.path.is_dir() {
            reasons.add(format!("it has no folder {path}, which the machine shares as {name}"));
        }
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
