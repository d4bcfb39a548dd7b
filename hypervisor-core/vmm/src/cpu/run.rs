//! A processor's thread: into the guest, and out again for what only the monitor can do.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    os::unix::thread::JoinHandleExt,
    ptr,
    sync::Arc,
    thread::{self, JoinHandle},
};

use kvm_ioctls::{VcpuExit, VcpuFd};
use nix::sys::{
    pthread::pthread_kill,
    signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

use super::gate::Gate;
use crate::{
    bus::Buses,
    calls::{self, Thread},
    ending::{Ending, Endings},
    error::{Error, Result},
};

/// What the system calls said that did nothing yet.
const INTERRUPTED: i32 = 4;
const AGAIN: i32 = 11;

thread_local! {
    /// The `immediate_exit` of this thread's processor; null where there is none.
    static LEAVE: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// The signal that brings a processor out of its guest.
const KICK: Signal = Signal::SIGUSR1;

extern "C" fn kicked(_: i32) {
    LEAVE.with(|leave| {
        let leave = leave.get();
        if !leave.is_null() {
            // SAFETY: the byte is in the page KVM shares with this thread (KVM's api, KVM_RUN), which is
            // mapped until after the pointer is taken back; only this thread reads and writes it, this
            // handler included.
            unsafe { leave.write_volatile(1) };
        }
    });
}

/// Once for a process: what comes by the signal that brings processors out.
///
/// # Errors
/// What the system says.
pub fn prepare() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(kicked), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches one byte that only its own thread uses, and nothing that is locked.
    unsafe { sigaction(KICK, &action) }.map_err(Error::at("a signal's handler"))?;
    Ok(())
}

/// A processor that has a thread.
#[derive(Debug)]
pub struct Cpu {
    thread: JoinHandle<VcpuFd>,
}

impl Cpu {
    /// Gives a processor its thread, which waits at the gate first.
    ///
    /// # Errors
    /// What the system says.
    pub fn begin(
        which: usize,
        cpu: VcpuFd,
        gate: Arc<Gate>,
        buses: Buses,
        endings: Arc<Endings>,
    ) -> Result<Self> {
        let thread = thread::Builder::new().name(format!("cpu {which}"));
        let run = move || {
            let mut cpu = cpu;
            if let Err(error) = calls::bound(Thread::Cpu) {
                endings.tell(Ending::Crashed(error.to_string()));
                gate.ended();
                return cpu;
            }
            let leave = ptr::from_mut(&mut cpu.get_kvm_run().immediate_exit);
            LEAVE.with(|own| own.set(leave));
            if let Some(ending) = run(&mut cpu, &gate, &buses) {
                endings.tell(ending);
            }
            LEAVE.with(|own| own.set(ptr::null_mut()));
            gate.ended();
            cpu
        };
        Ok(Self { thread: thread.spawn(run).map_err(Error::at("a thread for a processor"))? })
    }

    /// Brings it out of its guest, if it is there.
    pub fn kick(&self) {
        // One whose thread has ended is not in its guest.
        let _ = pthread_kill(self.thread.as_pthread_t(), KICK);
    }

    /// Waits for its thread to end, and has the processor back.
    ///
    /// # Errors
    /// When the thread broke off.
    pub fn end(self) -> Result<VcpuFd> {
        self.thread.join().map_err(|_| Error::new("a processor's thread broke off"))
    }
}

/// Runs until the gate says to end (`None`), or the guest has.
fn run(cpu: &mut VcpuFd, gate: &Gate, buses: &Buses) -> Option<Ending> {
    loop {
        if !gate.pass() {
            return None;
        }
        cpu.set_kvm_immediate_exit(0);
        // What was asked between the gate and here came with a signal that was just forgotten.
        if !gate.is_open() {
            continue;
        }
        match cpu.run() {
            Ok(VcpuExit::IoIn(port, bytes)) => buses.ports.read(u64::from(port), bytes),
            Ok(VcpuExit::IoOut(port, bytes)) => buses.ports.write(u64::from(port), bytes),
            Ok(VcpuExit::MmioRead(at, bytes)) => buses.memory.read(at, bytes),
            Ok(VcpuExit::MmioWrite(at, bytes)) => buses.memory.write(at, bytes),
            Ok(VcpuExit::Intr | VcpuExit::IrqWindowOpen | VcpuExit::Hlt) => {}
            // A triple fault: how a kernel that has nothing else left resets the machine.
            Ok(VcpuExit::Shutdown) => return Some(Ending::Reset),
            Ok(VcpuExit::SystemEvent(..)) => return Some(Ending::Halted),
            Ok(other) => return Some(Ending::Crashed(format!("KVM gave the processor up: {other:?}"))),
            Err(error) if matches!(error.errno(), INTERRUPTED | AGAIN) => {}
            Err(error) => return Some(Ending::Crashed(format!("KVM gave the processor up: {error}"))),
        }
    }
}
