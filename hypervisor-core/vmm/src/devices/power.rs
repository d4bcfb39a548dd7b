//! How a guest turns itself off, and begins anew.

use std::sync::Arc;

use crate::{
    bus::Device,
    ending::{Ending, Endings},
};

/// The kind of sleep that is being off, as the tables say of `_S5`.
pub const OFF: u8 = 5;
/// Go to sleep, in the sleep control register; above its kind (ACPI 6.5, table 4.21).
const GO: u8 = 1 << 5;
/// What is written to the reset register, as the tables say.
pub const RESET: u8 = 1;
/// Where these are, from [`crate::layout::SLEEP_PORT`] on.
pub const CONTROL: u64 = 0;
/// The sleep status register.
pub const STATUS: u64 = 1;
/// The reset register.
pub const RESETS: u64 = 2;

/// The registers of a machine without the hardware of old PCs (ACPI 6.5, 4.8.3.7).
pub struct Power(pub Arc<Endings>);

impl Device for Power {
    fn read(&mut self, _: u64, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        match (offset, bytes) {
            (CONTROL, [byte, ..]) if byte & GO != 0 && byte >> 2 & 7 == OFF => self.0.tell(Ending::Halted),
            (RESETS, [RESET, ..]) => self.0.tell(Ending::Reset),
            _ => {}
        }
    }
}

/// The keyboard controller of a machine without a keyboard: kernels reset a PC by it (`reboot=k`).
pub struct I8042(pub Arc<Endings>);

const COMMAND: u64 = 4;
const PULSE_RESET: u8 = 0xfe;

impl Device for I8042 {
    fn read(&mut self, _: u64, bytes: &mut [u8]) {
        // Nothing to read, and ready to be written to.
        bytes.fill(0);
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        if (offset, bytes) == (COMMAND, &[PULSE_RESET]) {
            self.0.tell(Ending::Reset);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_turned_off_and_reset_by_these_words_alone() {
        let endings = Arc::new(Endings::new().unwrap());
        let mut power = Power(endings.clone());
        let mut keyboard = I8042(endings.clone());
        power.write(CONTROL, &[OFF << 2]);
        power.write(CONTROL, &[3 << 2 | GO]);
        power.write(RESETS, &[0]);
        power.write(RESETS, &[]);
        keyboard.write(0, &[PULSE_RESET]);
        keyboard.write(COMMAND, &[0xd1]);
        assert_eq!(endings.take(), None);
        power.write(CONTROL, &[OFF << 2 | GO]);
        power.write(RESETS, &[RESET]);
        assert_eq!(endings.take(), Some(Ending::Halted), "the first word counts");
        keyboard.write(COMMAND, &[PULSE_RESET]);
        assert_eq!(endings.take(), Some(Ending::Reset));
    }
}
