//! How a kernel finds out what the machine has: ACPI tables
//! ([ACPI 6.5](https://uefi.org/specs/ACPI/6.5/)).
//!
//! Many distributions' kernels look for virtio devices nowhere else, and for processors neither. The machine
//! is one without the hardware of old PCs: it is turned off and reset by registers
//! ([`crate::devices::power`]), and tells of its power button by a generic event device.

use acpi_tables::{Aml, aml, sdt::Sdt};
use vm_memory::{Bytes, GuestAddress};

use crate::{
    devices::{events, power},
    error::{Error, Result},
    layout,
    memory::GuestMemory,
};

/// Who made the tables, and for which machine.
const MAKER: [u8; 6] = *b"SKERRY";
const TABLE: [u8; 8] = *b"MICROVM ";

/// The FADT's length and version (table 5.9), and what of it is not zero.
const FADT_LENGTH: u32 = 276;
const FADT_VERSION: u8 = 6;
/// A machine for work; no old devices but the serial port, no VGA, no clock of old (IAPC_BOOT_ARCH).
const PROFILE: (usize, u8) = (45, 4);
const BOOT_ARCH: (usize, u16) = (109, 1 << 2 | 1 << 5);
/// WBINVD works; power and sleep button are no fixed ones; it can be reset; hardware-reduced.
const FLAGS: (usize, u32) = (112, 1 | 1 << 4 | 1 << 5 | 1 << 10 | 1 << 20);
const RESET_REGISTER: usize = 116;
const RESET_VALUE: usize = 128;
const MINOR: (usize, u8) = (131, 5);
const DSDT_AT: usize = 140;
const SLEEP_CONTROL: usize = 244;
const SLEEP_STATUS: usize = 256;

/// A register of one byte at a port, as tables have it (5.2.3.2).
fn port(at: u64) -> [u8; 12] {
    let mut address = [1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    address[4..].copy_from_slice(&at.to_le_bytes());
    address
}

fn fadt(dsdt: u64) -> Sdt {
    let mut table = Sdt::new(*b"FACP", FADT_LENGTH, FADT_VERSION, MAKER, TABLE, 1);
    table.write_u8(PROFILE.0, PROFILE.1);
    table.write_u16(BOOT_ARCH.0, BOOT_ARCH.1);
    table.write_u32(FLAGS.0, FLAGS.1);
    table.write_bytes(RESET_REGISTER, &port(layout::SLEEP_PORT + power::RESETS));
    table.write_u8(RESET_VALUE, power::RESET);
    table.write_u8(MINOR.0, MINOR.1);
    table.write_u64(DSDT_AT, dsdt);
    table.write_bytes(SLEEP_CONTROL, &port(layout::SLEEP_PORT + power::CONTROL));
    table.write_bytes(SLEEP_STATUS, &port(layout::SLEEP_PORT + power::STATUS));
    table.update_checksum();
    table
}

/// Processors and interrupt controllers (5.2.12).
fn madt(processors: u32) -> Sdt {
    let mut table = Sdt::new(*b"APIC", 44, 6, MAKER, TABLE, 1);
    table.write_u32(36, layout::LOCAL_APIC);
    for processor in 0..processors as u8 {
        // Enabled; its number and that of its APIC are the same.
        table.append_slice(&[0, 8, processor, processor, 1, 0, 0, 0]);
    }
    table.append_slice(&[1, 12, 0, 0]);
    table.append_slice(&layout::IOAPIC.to_le_bytes());
    table.append_slice(&0_u32.to_le_bytes());
    // The second pin of every APIC is for what cannot be masked.
    table.append_slice(&[4, 6, 0xff, 0, 0, 1]);
    table
}

/// What is to be found at a memory address, by one interrupt that comes by its edge.
fn resources(at: u64, gsi: u32) -> (aml::Memory32Fixed, aml::Interrupt) {
    let window = aml::Memory32Fixed::new(true, at as u32, layout::VIRTIO_EACH as u32);
    (window, aml::Interrupt::new(true, true, false, false, gsi))
}

fn virtio(which: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (window, interrupt) =
        resources(layout::VIRTIO + which as u64 * layout::VIRTIO_EACH, layout::VIRTIO_GSI + which as u32);
    let name = format!("VM{which:02}");
    aml::Device::new(
        name.as_str().into(),
        vec![
            // What Linux' virtio_mmio and others look for.
            &aml::Name::new("_HID".into(), &"LNRO0005"),
            &aml::Name::new("_UID".into(), &(which as u32)),
            &aml::Name::new("_CCA".into(), &1_u8),
            &aml::Name::new("_CRS".into(), &aml::ResourceTemplate::new(vec![&window, &interrupt])),
        ],
    )
    .to_aml_bytes(&mut bytes);
    bytes
}

fn serial() -> Vec<u8> {
    let mut bytes = Vec::new();
    let port = layout::SERIAL_PORT as u16;
    aml::Device::new(
        "COM1".into(),
        vec![
            &aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0501")),
            &aml::Name::new("_UID".into(), &0_u8),
            &aml::Name::new(
                "_CRS".into(),
                &aml::ResourceTemplate::new(vec![
                    &aml::IO::new(port, port, 0, 8),
                    &aml::Interrupt::new(true, true, false, false, layout::SERIAL_GSI),
                ]),
            ),
        ],
    )
    .to_aml_bytes(&mut bytes);
    bytes
}

/// The power button, and what tells of it: an interrupt, on which the kernel reads what happened (5.6.9).
fn events() -> Vec<u8> {
    let mut bytes = Vec::new();
    let id = aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0C0C"));
    aml::Device::new("PWRB".into(), vec![&id]).to_aml_bytes(&mut bytes);
    let happened = aml::Path::new("HAPP");
    let field = vec![aml::FieldEntry::Named(*b"HAPP", 8)];
    let pressed = aml::And::new(&aml::Local(1), &aml::Local(0), &events::BUTTON);
    let button = aml::Path::new("PWRB");
    let notify = aml::Notify::new(&button, &0x80_u8);
    aml::Device::new(
        "EVTS".into(),
        vec![
            &aml::Name::new("_HID".into(), &"ACPI0013"),
            &aml::Name::new("_UID".into(), &0_u8),
            &aml::Name::new(
                "_CRS".into(),
                &aml::ResourceTemplate::new(vec![&aml::Interrupt::new(
                    true,
                    true,
                    false,
                    false,
                    layout::EVENTS_GSI,
                )]),
            ),
            &aml::OpRegion::new(
                "EREG".into(),
                aml::OpRegionSpace::SystemIO,
                &(layout::EVENTS_PORT as u16),
                &1_u8,
            ),
            &aml::Field::new(
                "EREG".into(),
                aml::FieldAccessType::Byte,
                aml::FieldLockRule::NoLock,
                aml::FieldUpdateRule::WriteAsZeroes,
                field,
            ),
            &aml::Method::new(
                "_EVT".into(),
                1,
                true,
                vec![
                    &aml::Store::new(&aml::Local(0), &happened),
                    &pressed,
                    &aml::If::new(&aml::Equal::new(&aml::Local(1), &events::BUTTON), vec![&notify]),
                ],
            ),
        ],
    )
    .to_aml_bytes(&mut bytes);
    bytes
}

/// Where a kernel tells that it panicked, as QEMU's has it: Linux' pvpanic-mmio takes a port as well.
fn panic() -> Vec<u8> {
    let mut bytes = Vec::new();
    let port = layout::PANIC_PORT as u16;
    aml::Device::new(
        "PEVT".into(),
        vec![
            &aml::Name::new("_HID".into(), &"QEMU0001"),
            &aml::Name::new("_STA".into(), &0xf_u8),
            &aml::Name::new(
                "_CRS".into(),
                &aml::ResourceTemplate::new(vec![&aml::IO::new(port, port, 1, 1)]),
            ),
        ],
    )
    .to_aml_bytes(&mut bytes);
    bytes
}

fn dsdt(devices: usize) -> Sdt {
    let mut body = Vec::new();
    let inner: Vec<Raw> =
        [serial(), events(), panic()].into_iter().chain((0..devices).map(virtio)).map(Raw).collect();
    let inner = inner.iter().map(|device| device as &dyn Aml).collect();
    aml::Scope::new("_SB_".into(), inner).to_aml_bytes(&mut body);
    aml::Name::new("_S5_".into(), &aml::Package::new(vec![&power::OFF])).to_aml_bytes(&mut body);
    let mut table = Sdt::new(*b"DSDT", 36, 6, MAKER, TABLE, 1);
    table.append_slice(&body);
    table
}

/// What is AML already.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(&self.0);
    }
}

/// Writes the tables of a machine with so many processors and virtio devices.
///
/// # Errors
/// When they do not fit where kernels look for them.
pub fn write(memory: &GuestMemory, processors: u32, devices: usize) -> Result<()> {
    // After the root (36 bytes), on a boundary.
    let mut at = layout::ACPI + 64;
    let mut put = |table: &[u8]| -> Result<u64> {
        let here = at;
        at = (here + table.len() as u64).next_multiple_of(16);
        if at > layout::RESET_VECTOR {
            return Err(Error::new("the ACPI tables do not fit below 1 MiB"));
        }
        memory.write_slice(table, GuestAddress(here)).map_err(Error::at("the ACPI tables"))?;
        Ok(here)
    };
    let dsdt = put(dsdt(devices).as_slice())?;
    let tables = [put(fadt(dsdt).as_slice())?, put(madt(processors).as_slice())?];
    let mut root = Sdt::new(*b"XSDT", 36, 1, MAKER, TABLE, 1);
    tables.iter().for_each(|table| root.append(*table));
    let root = put(root.as_slice())?;
    let mut pointer = Vec::new();
    acpi_tables::rsdp::Rsdp::new(MAKER, root).to_aml_bytes(&mut pointer);
    memory.write_slice(&pointer, GuestAddress(layout::ACPI)).map_err(Error::at("the ACPI tables"))
}
