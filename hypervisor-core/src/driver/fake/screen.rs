//! The screen of a fake guest: the same for the same console.

use crate::driver::screen::{Picture, keys::Chord};

/// Cells in a row, and rows.
const COLUMNS: usize = 40;
const ROWS: usize = 25;
/// The cells of a screen, one a byte.
pub(super) const CELLS: usize = COLUMNS * ROWS;
/// Width and height of a cell in pixels.
const SIDE: usize = 4;
const DARK: [u8; 3] = [16, 24, 32];

/// Draws the last bytes of a console: a coloured cell for each, on a dark ground.
pub(super) fn draw(console: &[u8]) -> Picture {
    let (width, height) = (COLUMNS * SIDE, ROWS * SIDE);
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let byte = console.get(y / SIDE * COLUMNS + x / SIDE);
            let inside = !x.is_multiple_of(SIDE) && !y.is_multiple_of(SIDE);
            rgb.extend(byte.filter(|_| inside).map_or(DARK, |byte| colour(*byte)));
        }
    }
    let size = |side: usize| u32::try_from(side).unwrap_or(0);
    Picture::new(size(width), size(height), rgb).expect("invariant: as many pixels as were drawn")
}

fn colour(byte: u8) -> [u8; 3] {
    [byte.wrapping_mul(37) | 0x40, byte.wrapping_mul(91) | 0x40, byte.wrapping_mul(151) | 0x40]
}

/// What a keyboard writes, as a console takes it; keys that write nothing are lost on a fake guest.
pub(super) fn bytes(chords: &[Chord]) -> Vec<u8> {
    chords.iter().filter_map(Chord::writes).collect::<String>().into_bytes()
}
