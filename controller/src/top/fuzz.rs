//! What a fuzzer tells as what machines use.
#![allow(clippy::unwrap_used, clippy::panic)]

use ratatui::{Terminal, backend::TestBackend};

use super::{board::Board, view};

/// Draws it on terminals of some sizes.
pub(crate) fn drawn(board: &Board) {
    for (width, height) in [(100, 12), (30, 3), (1, 1)] {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view::draw(frame, board, true)).unwrap();
    }
}
