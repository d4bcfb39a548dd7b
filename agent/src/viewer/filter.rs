//! What a viewer says to a screen (RFC 6143 §7.5, and what QEMU knows besides), message by message: so
//! that who may only look does not type, and nobody throws others out.
//!
//! Pure: bytes in, bytes out, however they are cut. What cannot be read ends the viewer, since nobody
//! could say where the next message begins.

/// The longest list of encodings or text of a clipboard, in bytes.
const LONG_MAX: u32 = 1 << 20;

/// The viewer said something that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the viewer says what no viewer of this protocol says ({0})")]
pub(crate) struct Odd(String);

/// Where in the conversation a viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Twelve bytes: `RFB 003.008\n`.
    Version,
    /// One byte: the kind of password that it wants to give. The older version has no such choice.
    Security,
    /// One byte: whether others may look as well.
    Shared,
    /// From then on.
    Message,
    /// Within a message that is read and passed on, or not: so many bytes are left of it.
    Rest { bytes: u64, passes: bool },
}

/// What a message is to those who may only look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// About the picture.
    Looking,
    /// Keys, the pointer, the clipboard, the size of the guest's screen, its power.
    Input,
}

/// What is read of a viewer.
#[derive(Debug)]
pub(crate) struct Filter {
    at: At,
    /// The beginning of a message, until its length is known.
    held: Vec<u8>,
}

/// The head of a message.
enum Head {
    /// Not all of it is there.
    Partly,
    /// What it is, and how long all of it is.
    Whole(Kind, u64),
}

impl Filter {
    /// For a viewer that has said nothing yet.
    pub(crate) fn new() -> Self {
        Self { at: At::Version, held: Vec::new() }
    }

    /// What of these bytes goes on to the screen.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn pass(&mut self, bytes: &[u8], may_type: bool) -> Result<Vec<u8>, Odd> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut left = bytes;
        while !left.is_empty() {
            left = match self.at {
                At::Rest { bytes, passes } => {
                    let count = usize::try_from(bytes).unwrap_or(usize::MAX).min(left.len());
                    let (now, later) = left.split_at(count);
                    if passes {
                        out.extend_from_slice(now);
                    }
                    self.at = match bytes - count as u64 {
                        0 => At::Message,
                        bytes => At::Rest { bytes, passes },
                    };
                    later
                }
                _ => {
                    let (byte, later) = left.split_at(1);
                    self.held.extend_from_slice(byte);
                    self.step(may_type, &mut out)?;
                    later
                }
            };
        }
        Ok(out)
    }

    /// Looks at what is held after one more byte.
    fn step(&mut self, may_type: bool, out: &mut Vec<u8>) -> Result<(), Odd> {
        self.at = match self.at {
            At::Version if self.held.len() < 12 => return Ok(()),
            At::Version => match minor(&self.held) {
                Some(7..) => At::Security,
                Some(_) => At::Shared,
                None => return Err(Odd("its version".into())),
            },
            At::Security => At::Shared,
            At::Shared => {
                // Whoever asks to be alone is not: it would end the others.
                self.held = vec![1];
                At::Message
            }
            At::Message | At::Rest { .. } => match head(&self.held)? {
                Head::Partly => return Ok(()),
                Head::Whole(kind, length) => {
                    let passes = may_type || kind == Kind::Looking;
                    let bytes = length - self.held.len() as u64;
                    let held = std::mem::take(&mut self.held);
                    if passes {
                        out.extend(held);
                    }
                    self.at = if bytes == 0 { At::Message } else { At::Rest { bytes, passes } };
                    return Ok(());
                }
            },
        };
        out.append(&mut self.held);
        Ok(())
    }
}

/// The version a viewer wants: 3.this.
fn minor(version: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(version).ok()?;
    text.strip_prefix("RFB 003.")?.strip_suffix('\n')?.parse().ok()
}

/// The kind and the length of the message that begins so.
fn head(held: &[u8]) -> Result<Head, Odd> {
    let short = |at: usize| Some(u16::from_be_bytes([*held.get(at)?, *held.get(at + 1)?]));
    let long = |at: usize| Some(u32::from_be_bytes(held.get(at..at + 4)?.try_into().ok()?));
    let odd = |what: String| Err(Odd(what));
    let whole = |kind: Kind, length: u64| Ok(Head::Whole(kind, length));
    match held.first().copied() {
        // SetPixelFormat, FramebufferUpdateRequest, EnableContinuousUpdates
        Some(0) => whole(Kind::Looking, 20),
        Some(3 | 150) => whole(Kind::Looking, 10),
        // SetEncodings
        Some(2) => match short(2) {
            None => Ok(Head::Partly),
            Some(count) => whole(Kind::Looking, 4 + 4 * u64::from(count)),
        },
        // KeyEvent, PointerEvent, xvp
        Some(4) => whole(Kind::Input, 8),
        Some(5) => whole(Kind::Input, 6),
        Some(250) => whole(Kind::Input, 4),
        // ClientCutText; the extended one says its length below zero.
        Some(6) => match long(4).map(|length| length.cast_signed().unsigned_abs()) {
            None => Ok(Head::Partly),
            Some(length) if length > LONG_MAX => odd("a clipboard of too much text".into()),
            Some(length) => whole(Kind::Input, 8 + u64::from(length)),
        },
        // Fence
        Some(248) => match held.get(8) {
            None => Ok(Head::Partly),
            Some(length) => whole(Kind::Looking, 9 + u64::from(*length)),
        },
        // SetDesktopSize
        Some(251) => match held.get(6) {
            None => Ok(Head::Partly),
            Some(screens) => whole(Kind::Input, 8 + 16 * u64::from(*screens)),
        },
        // QEMU's own: keys by what is printed on them, and sound.
        Some(255) => match (held.get(1), short(2)) {
            (None, _) | (Some(1), None) => Ok(Head::Partly),
            (Some(0), _) => whole(Kind::Input, 12),
            (Some(1), Some(0 | 1)) => whole(Kind::Looking, 4),
            (Some(1), Some(2)) => whole(Kind::Looking, 10),
            (Some(other), _) => odd(format!("a message 255.{other}")),
        },
        Some(other) => odd(format!("a message {other}")),
        None => Ok(Head::Partly),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const HELLO: &[u8] = b"RFB 003.008\n\x01\x00";
    const LOOK: &[u8] = &[3, 1, 0, 0, 0, 0, 2, 208, 1, 144];
    const KEY: &[u8] = &[4, 1, 0, 0, 0, 0, 0, b'a'];

    /// All of a conversation, and of it what is about looking.
    fn conversation() -> (Vec<u8>, Vec<u8>) {
        let format = [&[0, 0, 0, 0][..], &[7; 16]].concat();
        let encodings = [2, 0, 0, 2, 0, 0, 0, 7, 255, 255, 255, 33];
        let size = [&[251, 0, 2, 128, 1, 224, 1, 0][..], &[9; 16]].concat();
        let fence = [248, 0, 0, 0, 0, 0, 0, 1, 3, b'a', b'b', b'c'];
        let sound = [255, 1, 0, 2, 3, 2, 0, 0, 172, 68];
        let cut = [&[6, 0, 0, 0, 0, 0, 0, 5][..], b"\x03\x04\xff\x00x"].concat();
        let extended = [&[6, 0, 0, 0][..], &(-6_i32).to_be_bytes(), &[1; 6]].concat();
        let qemu_key = [255, 0, 0, 1, 0, 0, 0, 97, 0, 0, 0, 30];
        let said: [(&[u8], bool); 13] = [
            (&format, true),
            (&encodings, true),
            (LOOK, true),
            (KEY, false),
            (&[5, 1, 0, 10, 0, 20], false),
            (&cut, false),
            (&extended, false),
            (&[250, 0, 1, 2], false),
            (&size, false),
            (&fence, true),
            (&qemu_key, false),
            (&sound, true),
            (LOOK, true),
        ];
        let all = said.iter().flat_map(|(bytes, _)| bytes.iter().copied());
        let looking = said.iter().filter(|(_, looks)| *looks).flat_map(|(bytes, _)| bytes.iter().copied());
        (
            HELLO.iter().copied().chain(all).collect(),
            [b"RFB 003.008\n\x01\x01".to_vec(), looking.collect()].concat(),
        )
    }

    fn passed(said: &[u8], pieces: usize, may_type: bool) -> Vec<u8> {
        let mut filter = Filter::new();
        said.chunks(pieces).flat_map(|piece| filter.pass(piece, may_type).unwrap()).collect()
    }

    #[test]
    fn who_may_only_look_does_nothing_else_however_it_is_cut() {
        let (all, looking) = conversation();
        for pieces in 1..=all.len() {
            assert_eq!(passed(&all, pieces, false), looking, "in pieces of {pieces}");
        }
    }

    #[test]
    fn who_may_type_does_but_is_never_alone() {
        let (mut all, _) = conversation();
        let said = all.clone();
        all[13] = 1;
        for pieces in 1..=said.len() {
            assert_eq!(passed(&said, pieces, true), all, "in pieces of {pieces}");
        }
    }

    #[test]
    fn a_right_that_is_lost_is_lost_between_two_messages() {
        let mut filter = Filter::new();
        filter.pass(HELLO, true).unwrap();
        assert_eq!(filter.pass(&[KEY, &KEY[..3]].concat(), true).unwrap(), [KEY, &KEY[..3]].concat());
        assert_eq!(filter.pass(&[&KEY[3..], KEY, LOOK].concat(), false).unwrap(), [&KEY[3..], LOOK].concat());
    }

    #[test]
    fn the_oldest_version_chooses_no_password() {
        let old = [b"RFB 003.003\n\x00".as_slice(), LOOK].concat();
        assert_eq!(passed(&old, 5, false), [b"RFB 003.003\n\x01".as_slice(), LOOK].concat());
    }

    #[test]
    fn what_cannot_be_read_ends_it() {
        for odd in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"RFB 004.000\n",
            &[HELLO, &[99]].concat(),
            &[HELLO, &[255, 7, 0, 0]].concat(),
            &[HELLO, &[6, 0, 0, 0, 0x7f, 0, 0, 0]].concat(),
            &[HELLO, &[6, 0, 0, 0, 0x80, 0, 0, 0]].concat(),
        ] {
            let mut filter = Filter::new();
            assert!(filter.pass(odd, true).is_err(), "{odd:?}");
        }
    }
}
