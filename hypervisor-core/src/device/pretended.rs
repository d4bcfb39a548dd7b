//! A host that is made up: what sysfs would say of it, in a folder, and what a kernel would do when it is
//! written to. For agents that only pretend to run machines, and for tests.

use std::{fs, io, os::unix::fs::symlink, path::Path};

use super::tree::led_to;

/// Drivers on PCI, and what they would have of their own accord.
const DRIVERS: [(&str, &str); 4] = [
    ("vfio-pci", ""),
    ("nouveau", "0x10de0x2204"),
    ("snd_hda_intel", "0x10de0x1aef"),
    ("igb", "0x80860x1521"),
];

/// Address, vendor, product, class, driver, group.
type Function = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const FUNCTIONS: [Function; 4] = [
    ("0000:00:1c.0", "0x8086", "0xa110", "0x060400", "", "7"),
    ("0000:01:00.0", "0x10de", "0x2204", "0x030000", "nouveau", "14"),
    ("0000:01:00.1", "0x10de", "0x1aef", "0x040300", "snd_hda_intel", "14"),
    ("0000:02:00.0", "0x8086", "0x1521", "0x020000", "igb", "15"),
];

/// Port, vendor, product, class, serial, number, maker, product's name.
type Plugged = [&'static str; 8];

const PLUGGED: [Plugged; 3] = [
    ["usb1", "1d6b", "0002", "09", "0000:00:14.0", "1", "Linux", "xHCI Host Controller"],
    ["1-2", "1050", "0407", "00", "0012345678", "3", "Yubico", "YubiKey OTP+FIDO+CCID"],
    ["1-3", "0403", "6001", "00", "", "4", "FTDI", "FT232R USB UART"],
];

/// Makes it, unless it is there.
pub(super) fn furnish(root: &Path) -> io::Result<()> {
    if root.join("sys/bus/usb").is_dir() {
        return Ok(());
    }
    let pci = root.join("sys/bus/pci");
    for (driver, _) in DRIVERS {
        let folder = pci.join("drivers").join(driver);
        write(&folder, &["bind", "unbind"].map(|attribute| (attribute, "")))?;
    }
    write(&pci, &[("drivers_probe", "")])?;
    for (address, vendor, product, class, driver, group) in FUNCTIONS {
        let device = pci.join("devices").join(address);
        let says = [("vendor", vendor), ("device", product), ("class", class), ("driver_override", "(null)")];
        write(&device, &says)?;
        let group_folder = root.join("sys/kernel/iommu_groups").join(group);
        fs::create_dir_all(&group_folder)?;
        symlink(format!("../../../../kernel/iommu_groups/{group}"), device.join("iommu_group"))?;
        if !driver.is_empty() {
            symlink(format!("../../drivers/{driver}"), device.join("driver"))?;
        }
        write(&root.join("dev/vfio"), &[(group, "")])?;
    }
    let usb = root.join("sys/bus/usb");
    for [port, vendor, product, class, serial, number, maker, name] in PLUGGED {
        let device = usb.join("devices").join(port);
        let says = [
            ("idVendor", vendor),
            ("idProduct", product),
            ("bDeviceClass", class),
            ("devnum", number),
            ("manufacturer", maker),
            ("product", name),
        ];
        write(&device, &says)?;
        if !serial.is_empty() {
            write(&device, &[("serial", serial)])?;
        }
        write(&root.join("dev/bus/usb/001"), &[(format!("{number:0>3}").as_str(), "")])?;
    }
    write(&usb, &[("drivers_probe", "")])?;
    fs::create_dir_all(usb.join("drivers/usbfs"))
}

fn write(folder: &Path, attributes: &[(&str, &str)]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (attribute, text) in attributes {
        fs::write(folder.join(attribute), format!("{text}\n"))?;
    }
    Ok(())
}

/// Does what a kernel would, after this was written there.
pub(super) fn obey(root: &Path, attribute: &Path, text: &str) -> io::Result<()> {
    let pci = root.join("sys/bus/pci");
    let device = pci.join("devices").join(text);
    match attribute.file_name().and_then(|name| name.to_str()) {
        Some("unbind") => fs::remove_file(device.join("driver")),
        Some("bind") => {
            let driver = attribute.parent().and_then(Path::file_name).unwrap_or_default();
            symlink(Path::new("../../drivers").join(driver), device.join("driver"))
        }
        Some("drivers_probe") if attribute.starts_with(&pci) && led_to(&device.join("driver")).is_none() => {
            let read = |name| fs::read_to_string(device.join(name)).map(|text| text.trim().to_owned());
            let (wanted, id) = (read("driver_override")?, read("vendor")? + &read("device")?);
            let free = wanted.is_empty() || wanted == "(null)";
            let fits = |driver: &&(&str, &str)| if free { driver.1 == id } else { driver.0 == wanted };
            match DRIVERS.iter().find(fits) {
                Some((driver, _)) => symlink(format!("../../drivers/{driver}"), device.join("driver")),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
