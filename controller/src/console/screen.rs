//! What a guest writes to a console, on its way to the person's terminal.
//!
//! A guest may draw: cursor, colours and erasing (CSI) pass. Strings to the terminal itself (OSC, DCS,
//! APC, PM, SOS: the title, the clipboard, downloads, keys redefined) do not: the guest is not trusted
//! with them, and a serial console needs none.

/// Takes such strings out of a stream of blocks; a string may span several. Remembers on which screen the
/// guest draws.
#[derive(Debug, Default)]
pub(super) struct Screen {
    at: At,
    /// The private modes being set or reset, `?1049`, as far as they came.
    modes: Vec<u8>,
    on_other: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// Within a control sequence (CSI), which is shown.
    Sequence,
    /// Within a string.
    String,
    /// Within a string, after ESC: `\` ends it.
    StringEscape,
}

/// The private modes that mean the other screen (xterm).
const OTHER_SCREEN: [&[u8]; 3] = [b"47", b"1047", b"1049"];
/// As much of a sequence's parameters as is looked at, in bytes.
const MODES_BYTES_MAX: usize = 64;
const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;

impl Screen {
    /// The block without strings to the terminal.
    pub(super) fn safe(&mut self, block: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(block.len());
        for byte in block {
            self.at = match (self.at, *byte) {
                (At::Text, ESC) => At::Escape,
                (At::Text, other) => {
                    shown.push(other);
                    At::Text
                }
                (At::Escape, b']' | b'P' | b'_' | b'^' | b'X') => At::String,
                (At::Escape, ESC) => At::Escape,
                (At::Escape, b'[') => {
                    self.modes.clear();
                    shown.extend([ESC, b'[']);
                    At::Sequence
                }
                (At::Sequence, other) => {
                    let next = if other == ESC { At::Escape } else { self.sequence(other) };
                    shown.extend((other != ESC).then_some(other));
                    next
                }
                (At::Escape, other) => {
                    shown.extend([ESC, other]);
                    At::Text
                }
                (At::String | At::StringEscape, BEL | CAN | SUB) => At::Text,
                (At::String, ESC) => At::StringEscape,
                (At::String, _) => At::String,
                (At::StringEscape, b'\\') => At::Text,
                (At::StringEscape, ESC) => At::StringEscape,
                (At::StringEscape, _) => At::String,
            };
        }
        shown
    }

    /// Whether the guest draws on the other screen and has not come back.
    pub(super) fn is_on_other(&self) -> bool {
        self.on_other
    }

    /// A further byte of a control sequence (ECMA-48 §5.4).
    fn sequence(&mut self, byte: u8) -> At {
        match byte {
            b'h' | b'l' => {
                let modes = self.modes.strip_prefix(b"?").unwrap_or_default();
                if modes.split(|byte| *byte == b';').any(|mode| OTHER_SCREEN.contains(&mode)) {
                    self.on_other = byte == b'h';
                }
                At::Text
            }
            0x40..=0x7e | CAN | SUB => At::Text,
            _ => {
                if self.modes.len() < MODES_BYTES_MAX {
                    self.modes.push(byte);
                }
                At::Sequence
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(blocks: &[&str]) -> String {
        let mut screen = Screen::default();
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| screen.safe(block.as_bytes())).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn drawing_passes() {
        let drawing = "\u{1b}[2J\u{1b}[1;31mlogin:\u{1b}[0m é\r\n\u{1b}(B\u{1b}7";
        assert_eq!(shown(&[drawing]), drawing);
    }

    #[test]
    fn the_screen_drawn_on_is_known() {
        for (blocks, on_other) in [
            (vec!["\u{1b}[?1049h"], true),
            (vec!["\u{1b}[?10", "49h drawn \u{1b}[2J\u{1b}[3;4H"], true),
            (vec!["\u{1b}[?1;1047h"], true),
            (vec!["\u{1b}[?1049h", "\u{1b}[?1049l"], false),
            (vec!["\u{1b}[1049h", "\u{1b}[?25l", "?1049h"], false),
        ] {
            let mut screen = Screen::default();
            for block in &blocks {
                assert_eq!(screen.safe(block.as_bytes()), block.as_bytes());
            }
            assert_eq!(screen.is_on_other(), on_other, "{blocks:?}");
        }
    }

    #[test]
    fn titles_and_clipboards_do_not() {
        assert_eq!(shown(&["a\u{1b}]0;title\u{7}b"]), "ab");
        assert_eq!(shown(&["a\u{1b}]52;c;ZWNobw==\u{1b}\\b"]), "ab");
        assert_eq!(shown(&["a\u{1b}P+q544e\u{1b}\\b\u{1b}_x\u{1b}\\c\u{1b}^y\u{7}d"]), "abcd");
    }

    #[test]
    fn a_string_may_span_blocks() {
        assert_eq!(shown(&["a\u{1b}", "]0;ti", "tle\u{1b}", "\\b"]), "ab");
        assert_eq!(shown(&["\u{1b}", "[31m"]), "\u{1b}[31m");
    }

    #[test]
    fn a_string_that_never_ends_can_be_cancelled() {
        assert_eq!(shown(&["\u{1b}]0;never \u{18}ended"]), "ended");
    }
}
