//! One run of a machine: made of its parts, from its first instruction to its ending.

use std::{
    fs::File,
    sync::{Arc, Mutex},
};

use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::{IoEventAddress, Kvm, VcpuFd, VmFd};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EventFd};

use crate::{
    acpi,
    boot::{self, Boot},
    bus::{Bus, Buses},
    console::Screen,
    cpu::{features, gate::Gate, registers, run::Cpu},
    devices::{
        events::{self, Events},
        panic::Panic,
        power::{I8042, Power},
        serial::Port,
    },
    ending::Endings,
    error::{Error, Result},
    layout,
    memory::{self, GuestMemory},
    virtio::{
        Virtio,
        block::{Block, Raw},
        entropy::Entropy,
        net::Net,
        served::Served,
        transport::Transport,
    },
    worker::Worker,
};

/// What a machine runs with, opened once: it may begin anew, and its process may reach nothing more by then.
#[derive(Debug)]
pub struct Parts {
    /// `/dev/kvm`.
    pub kvm: Kvm,
    /// Processors.
    pub processors: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// The kernel.
    pub kernel: File,
    /// Its initial file system.
    pub initrd: Option<File>,
    /// Its command line.
    pub command_line: String,
    /// Disks: what they are in, whether they are only read, and their names.
    pub disks: Vec<(File, bool, String)>,
    /// NICs: their taps and addresses.
    pub nics: Vec<(File, [u8; 6])>,
}

/// A machine that runs, or is held still.
pub struct Machine {
    // Dropped in this order: who runs in it, who serves it, what it is.
    cpus: Vec<Cpu>,
    workers: Vec<Worker>,
    gate: Arc<Gate>,
    port: Port,
    events: Events,
    _vm: VmFd,
    _memory: GuestMemory,
}

/// An interrupt of the machine's, raised by writing to what this returns.
fn interrupt(vm: &VmFd, gsi: u32) -> Result<EventFd> {
    let line = EventFd::new(EFD_CLOEXEC).map_err(Error::at("an event"))?;
    vm.register_irqfd(&line, gsi).map_err(Error::at("KVM does not take an interrupt"))?;
    Ok(line)
}

/// The virtual machine as KVM has it, with its interrupt controllers and its memory.
fn virtual_machine(kvm: &Kvm, memory: &GuestMemory) -> Result<VmFd> {
    let refused = || Error::at("KVM does not make a machine");
    let vm = kvm.create_vm().map_err(refused())?;
    vm.set_tss_address(layout::TSS as usize).map_err(refused())?;
    vm.set_identity_map_address(layout::IDENTITY_MAP).map_err(refused())?;
    vm.create_irq_chip().map_err(refused())?;
    memory::give(memory, &vm)?;
    Ok(vm)
}

/// Its processors, the first as the kernel wants to be entered.
fn processors(kvm: &Kvm, vm: &VmFd, count: u32, entry: boot::Entry) -> Result<Vec<VcpuFd>> {
    debug_assert!(count as usize <= KVM_MAX_CPUID_ENTRIES);
    let offered = features::offered(kvm)?;
    let one = |which: u32| -> Result<VcpuFd> {
        let cpu = vm.create_vcpu(u64::from(which)).map_err(Error::at("KVM does not make a processor"))?;
        cpu.set_cpuid2(&features::of(&offered, which, count)?)
            .map_err(Error::at("KVM does not take what the processor is"))?;
        registers::common(&cpu)?;
        if which == 0 {
            registers::enter(&cpu, entry)?;
        }
        Ok(cpu)
    };
    (0..count).map(one).collect()
}

/// The devices of [`Parts`] in the order of their addresses, and the name of the thread each is served in.
fn devices(parts: &Parts) -> Result<Vec<(String, Box<dyn Virtio>)>> {
    let again = |file: &File| file.try_clone().map_err(Error::at("a file of the machine"));
    let mut devices: Vec<(String, Box<dyn Virtio>)> = Vec::new();
    for (which, (file, read_only, name)) in parts.disks.iter().enumerate() {
        let block = Block::new(Box::new(Raw::new(again(file)?)?), *read_only, name);
        devices.push((format!("disk {which}"), Box::new(block)));
    }
    for (which, (tap, address)) in parts.nics.iter().enumerate() {
        devices.push((format!("nic {which}"), Box::new(Net::new(again(tap)?, *address))));
    }
    devices.push(("entropy".into(), Box::new(Entropy)));
    Ok(devices)
}

impl Machine {
    /// Makes it, held still before its first instruction. `screen` takes what it writes; `typed` is told when
    /// it has read what was typed; `endings` hears how it ends.
    ///
    /// # Errors
    /// Why it cannot be made: nothing of it is left.
    pub fn make(parts: &Parts, screen: Screen, typed: &EventFd, endings: &Arc<Endings>) -> Result<Self> {
        let memory = memory::make(parts.memory)?;
        let boot =
            Boot { kernel: &parts.kernel, initrd: parts.initrd.as_ref(), command_line: &parts.command_line };
        let entry = boot::load(&memory, &boot)?;
        let vm = virtual_machine(&parts.kvm, &memory)?;
        let cpus = processors(&parts.kvm, &vm, parts.processors, entry)?;

        let mut ports = Bus::default();
        let room = typed.try_clone().map_err(Error::at("an event"))?;
        let port = Port::new(interrupt(&vm, layout::SERIAL_GSI)?, room, screen);
        let events = Events::new(interrupt(&vm, layout::EVENTS_GSI)?);
        ports.put(layout::SERIAL_PORT, 8, Arc::new(Mutex::new(port.clone())));
        ports.put(layout::I8042_PORT, 5, Arc::new(Mutex::new(I8042(endings.clone()))));
        ports.put(layout::SLEEP_PORT, 3, Arc::new(Mutex::new(Power(endings.clone()))));
        ports.put(layout::EVENTS_PORT, 1, Arc::new(Mutex::new(events.clone())));
        ports.put(layout::PANIC_PORT, 1, Arc::new(Mutex::new(Panic(endings.clone()))));

        let (mut memory_bus, mut workers) = (Bus::default(), Vec::new());
        let devices = devices(parts)?;
        acpi::write(&memory, parts.processors, devices.len())?;
        for (which, (name, device)) in devices.into_iter().enumerate() {
            let line = interrupt(&vm, layout::VIRTIO_GSI + which as u32)?;
            let at = layout::VIRTIO + which as u64 * layout::VIRTIO_EACH;
            let device = Transport::new(device, &memory, line)?;
            for (queue, notify) in device.notify().iter().enumerate() {
                let register = u64::from(virtio_bindings::virtio_mmio::VIRTIO_MMIO_QUEUE_NOTIFY);
                let register = IoEventAddress::Mmio(at + register);
                vm.register_ioevent(notify, &register, queue as u32)
                    .map_err(Error::at("KVM does not take a notification"))?;
            }
            let device = Arc::new(Mutex::new(device));
            memory_bus.put(at, layout::VIRTIO_EACH, device.clone());
            workers.push(Worker::begin(&name, vec![Arc::new(Mutex::new(Served(device)))])?);
        }

        let buses = Buses { ports: Arc::new(ports), memory: Arc::new(memory_bus) };
        let gate = Arc::new(Gate::new(cpus.len()));
        let begin = |(which, cpu)| Cpu::begin(which, cpu, gate.clone(), buses.clone(), endings.clone());
        let cpus = cpus.into_iter().enumerate().map(begin).collect::<Result<_>>()?;
        Ok(Self { cpus, workers, gate, port, events, _vm: vm, _memory: memory })
    }

    /// Its serial port.
    pub fn port(&self) -> &Port {
        &self.port
    }

    /// Lets it run.
    pub fn go(&self) {
        self.gate.open();
    }

    /// Holds it still: no processor of it runs when this returns.
    pub fn hold(&self) {
        self.gate.close(|| self.cpus.iter().for_each(Cpu::kick));
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.gate.is_open()
    }

    /// Presses its power button.
    ///
    /// # Errors
    /// When its interrupt cannot be raised.
    pub fn press(&self) -> Result<()> {
        self.events.happen(events::BUTTON)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.gate.end(|| self.cpus.iter().for_each(Cpu::kick));
        for cpu in self.cpus.drain(..) {
            // One whose thread broke off runs no more either.
            let _ = cpu.end();
        }
        self.workers.drain(..).for_each(Worker::end);
    }
}
