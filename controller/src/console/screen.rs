//! What a guest writes to a console, on its way to the person's terminal.
//!
//! A guest may draw: cursor, colours and erasing (CSI) pass. Strings to the terminal itself (OSC, DCS,
//! APC, PM, SOS: the title, the clipboard, downloads, keys redefined) do not: the guest is not trusted
//! with them, and a serial console needs none.

/// Takes such strings out of a stream of blocks; a string may span several.
#[derive(Debug, Default)]
pub(super) struct Screen {
    at: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// Within a string.
    String,
    /// Within a string, after ESC: `\` ends it.
    StringEscape,
}

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
