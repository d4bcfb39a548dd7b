//! What the processes of a machine may reach of their host (docs/design/0016-confined-guests.md): of the
//! system what programs need to run, of machines their own folder, and what the definition names.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{
    arguments::{CONSOLE_LOG, Ready},
    folder::Folder,
    tpm,
};
use crate::{
    confine::{Bounds, May, Right},
    definition::{Boot, Disk, Network, Via},
    device::Lent,
    driver::{DriverError, Launch, qcow2::beneath::beneath, reach},
};

/// Where disks are that were made after a start, in the machine's folder.
pub(super) const DISKS: &str = "disks";
/// What the user network asks for names.
const RESOLVER: [&str; 4] =
    ["/etc/resolv.conf", "/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf"];
/// What is plugged in by USB, and what libusb asks about it.
const USB: [&str; 3] = ["/sys/bus/usb", "/sys/devices", "/run/udev"];
/// Where the devices themselves are.
const USB_DEVICES: &str = "/dev/bus/usb";

/// Its TPM's: sockets in the machine's folder, and what it remembers.
pub(super) fn of_tpm(program: &Path, folder: &Folder) -> Bounds {
    let mut bounds = reach::of_program(program);
    bounds.may(May::Listen, folder.path()).may(May::Fill, folder.within(tpm::STATE));
    bounds
}

/// QEMU's own. What is to be there at its start is; what comes later is handed to it (handing.rs).
///
/// # Errors
/// The files that a disk leads to cannot be followed.
pub(super) fn of_qemu(
    program: &Path,
    launch: &Launch,
    ready: &Ready,
    folder: &Folder,
    in_units: bool,
) -> Result<Bounds, DriverError> {
    prepare(folder).map_err(|source| DriverError::system("preparing its folder", source))?;
    let definition = &launch.definition;
    let mut bounds = reach::of_program(program);
    bounds.may(May::Drive, "/dev/kvm").may(May::Listen, folder.path());
    bounds.may_all(May::Write, [folder.within(CONSOLE_LOG), folder.within(DISKS)]);
    if let Some(firmware) = &ready.firmware {
        bounds.may(May::Read, &firmware.code).may(May::Write, &firmware.variables);
    }
    if let Boot::Kernel { kernel, initrd, .. } = &definition.boot {
        bounds.may(May::Read, kernel).may_all(May::Read, initrd);
    }
    for disk in &definition.disks {
        let_use(&mut bounds, disk, launch)?;
    }
    for share in definition.shares.iter().filter(|share| share.via != Via::Virtiofs) {
        bounds.may(if share.read_only { May::Read } else { May::Fill }, &share.path);
        // They are anybody's; and QEMU sets the mode of a new file by /proc/self/fd.
        bounds.may(May::Pass, "/proc").keeps(Right::AnyFile).keeps(Right::FileOwners);
    }
    let mut nics = definition.nics.iter().map(|nic| &nic.network);
    if nics.clone().any(|network| matches!(network, Network::User { .. })) {
        bounds.may_all(May::Read, RESOLVER).keeps(Right::LowPorts);
    }
    // There QEMU makes its interface itself.
    if in_units && nics.any(|network| !matches!(network, Network::User { .. })) {
        bounds.may(May::Drive, "/dev/net/tun").keeps(Right::Networks);
    }
    if ready.postcopy {
        // The device came with Linux 6.1, and QEMU 8.1 knows it; before, it takes the right.
        bounds.may(May::Drive, "/dev/userfaultfd").keeps(Right::MemoryOnDemand);
    }
    lend(&mut bounds, ready);
    Ok(bounds)
}

/// What is bounded by name has to be there.
fn prepare(folder: &Folder) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.within(DISKS))?;
    fs::File::options().create(true).append(true).open(folder.within(CONSOLE_LOG)).map(drop)
}

/// A disk, and what it stands on: written where it is the machine's own, else only read.
fn let_use(bounds: &mut Bounds, disk: &Disk, launch: &Launch) -> Result<(), DriverError> {
    reach::disk(bounds, &disk.path, !disk.read_only);
    for one in beneath(&disk.path, disk.format)? {
        let is_own = one.path.starts_with(&launch.folder) || launch.own.contains(&one.path);
        reach::disk(bounds, &one.path, is_own || one.data_of == Some(0) && !disk.read_only);
    }
    Ok(())
}

/// The devices it was lent.
fn lend(bounds: &mut Bounds, ready: &Ready) {
    for (_, lent) in &ready.devices {
        match lent {
            Lent::Pci { address } => {
                let device = PathBuf::from(format!("/sys/bus/pci/devices/{address}"));
                let group = fs::canonicalize(device.join("iommu_group")).unwrap_or_default();
                let number = group.file_name().unwrap_or_default();
                bounds.may(May::Drive, Path::new("/dev/vfio").join(number));
                bounds.may(May::Drive, "/dev/vfio/vfio").may(May::Read, device).may(May::Read, group);
                bounds.keeps(Right::LockedMemory);
            }
            Lent::Usb { .. } => {
                // What is pulled out and plugged in again is another file.
                bounds.may(May::Drive, USB_DEVICES).may_all(May::Read, USB);
                bounds.keeps(Right::AnyFile);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        definition::{Definition, DiskFormat, Nic},
        driver::{Devices, Networks, disk},
        machine::MachineId,
    };

    fn launch(folder: &Path) -> Launch {
        Launch {
            id: MachineId(uuid::Uuid::from_u128(7)),
            name: "web1".into(),
            definition: Definition::new(1, 64, Boot::Disk),
            folder: folder.into(),
            own: Vec::new(),
            networks: Networks::default(),
            devices: Devices::default(),
        }
    }

    fn bounds(launch: &Launch, ready: &Ready) -> Bounds {
        of_qemu(Path::new("qemu-system-x86_64"), launch, ready, &Folder::new(&launch.folder), false).unwrap()
    }

    fn says(bounds: &Bounds, may: May, path: &Path) -> bool {
        bounds.files().contains(&(path.to_owned(), may))
    }

    #[tokio::test]
    async fn what_a_disk_stands_on_is_written_only_where_it_is_the_machines() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("7");
        fs::create_dir(&folder).unwrap();
        let (image, frozen, top) =
            (above.path().join("i.raw"), above.path().join("f.qcow2"), folder.join("t.qcow2"));
        fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
        disk::overlay(&image, &frozen).await.unwrap();
        disk::overlay(&frozen, &top).await.unwrap();
        let mut launch = launch(&folder);
        launch.definition.disks = vec![Disk::new(&top, DiskFormat::Qcow2)];
        let before = bounds(&launch, &Ready::default());
        assert!(
            says(&before, May::Write, &top)
                && says(&before, May::Read, &frozen)
                && says(&before, May::Read, &image)
        );
        launch.own = vec![frozen.clone()];
        let after = bounds(&launch, &Ready::default());
        assert!(says(&after, May::Write, &frozen) && says(&after, May::Read, &image));
        launch.definition.disks[0].read_only = true;
        assert!(says(&bounds(&launch, &Ready::default()), May::Read, &top));
    }

    #[test]
    fn rights_are_kept_for_what_a_definition_asks_for_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut launch = launch(folder.path());
        let rights = |launch: &Launch, ready: &Ready| bounds(launch, ready).rights().to_vec();
        assert_eq!(rights(&launch, &Ready::default()), []);
        let ready = Ready { postcopy: true, ..Ready::default() };
        assert_eq!(rights(&launch, &ready), [Right::MemoryOnDemand]);
        let lent = Lent::Pci { address: "01:00.0".parse().unwrap() };
        let ready = Ready { devices: vec![("gpu".into(), lent)], ..Ready::default() };
        assert_eq!(rights(&launch, &ready), [Right::LockedMemory]);
        launch.definition.nics = vec![Nic::new(Network::User { forwards: vec![] })];
        assert_eq!(rights(&launch, &Ready::default()), [Right::LowPorts]);
    }
}
