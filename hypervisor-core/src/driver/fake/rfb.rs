//! The screen of a fake guest for viewers: as much of RFB (RFC 6143) as one needs to look and to type.
//! Pictures are sent whole and raw; what is typed comes to the console.

use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf},
    sync::{broadcast, mpsc},
};

use super::{screen, world::FakeWorld};
use crate::{
    driver::{DriverError, Picture},
    machine::MachineId,
};

/// As much may be under way before the guest waits for its viewer.
const UNDER_WAY_MAX: usize = 64 << 10;
/// The longest text taken from a viewer's clipboard, in bytes; it goes nowhere.
const CLIPBOARD_MAX: usize = 1 << 20;

/// How a viewer wants its pixels (RFC 6143 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    bytes: usize,
    big_endian: bool,
    /// The largest value, and where it stands: of red, green and blue.
    channels: [(u16, u8); 3],
}

/// 32 bits a pixel, blue lowest: what most viewers want.
const USUAL: Format = Format { bytes: 4, big_endian: false, channels: [(255, 16), (255, 8), (255, 0)] };

impl Format {
    /// As it is written.
    fn written(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0] = u8::try_from(self.bytes * 8).unwrap_or(32);
        bytes[1] = 24;
        bytes[2] = u8::from(self.big_endian);
        bytes[3] = 1;
        for (at, (max, shift)) in self.channels.into_iter().enumerate() {
            bytes[4 + 2 * at..6 + 2 * at].copy_from_slice(&max.to_be_bytes());
            bytes[10 + at] = shift;
        }
        bytes
    }

    /// As it was wanted; the usual one instead of one with a palette, which nobody asks for.
    fn read(bytes: &[u8; 16]) -> Self {
        let channel =
            |at: usize| (u16::from_be_bytes([bytes[4 + 2 * at], bytes[5 + 2 * at]]), bytes[10 + at]);
        let channels = [channel(0), channel(1), channel(2)];
        match (bytes[0], bytes[3]) {
            (8 | 16 | 32, 1) if channels.iter().all(|(_, shift)| *shift < 32) => {
                Self { bytes: usize::from(bytes[0] / 8), big_endian: bytes[2] != 0, channels }
            }
            _ => USUAL,
        }
    }

    fn put(self, pixel: &[u8], to: &mut Vec<u8>) {
        let one =
            |(value, (max, shift)): (&u8, (u16, u8))| (u32::from(*value) * u32::from(max) / 255) << shift;
        let value: u32 = pixel.iter().zip(self.channels).map(one).fold(0, |all, one| all | one);
        match self.big_endian {
            true => to.extend(&value.to_be_bytes()[4 - self.bytes..]),
            false => to.extend(&value.to_le_bytes()[..self.bytes]),
        }
    }
}

/// What a viewer asks for.
enum Asked {
    Format(Format),
    /// A picture: at once, or when something else is to be seen.
    Picture {
        changed: bool,
    },
}

/// A new viewer's connection. Its guest is served until it ends, or the viewer leaves.
pub(super) fn serve(world: FakeWorld, id: MachineId) -> Result<DuplexStream, DriverError> {
    let console = world.console_follow(id)?;
    let (theirs, ours) = io::duplex(UNDER_WAY_MAX);
    tokio::spawn(async move {
        // A viewer that goes away, or speaks otherwise, is let go.
        let _ = talk(&world, id, ours, console).await;
    });
    Ok(theirs)
}

async fn talk(
    world: &FakeWorld,
    id: MachineId,
    stream: DuplexStream,
    mut console: broadcast::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let (mut reader, mut writer) = io::split(stream);
    greet(world, id, &mut reader, &mut writer).await?;
    let (ask, mut asked) = mpsc::channel(16);
    let reading = read(world, id, reader, ask);
    let drawing = async {
        let (mut format, mut wanted) = (USUAL, false);
        loop {
            tokio::select! {
                asked = asked.recv() => match asked {
                    None => return Ok(()),
                    Some(Asked::Format(new)) => format = new,
                    Some(Asked::Picture { changed: true }) => wanted = true,
                    Some(Asked::Picture { changed: false }) => draw(world, id, format, &mut writer).await?,
                },
                written = console.recv() => {
                    if matches!(written, Err(broadcast::error::RecvError::Closed)) {
                        return Ok(());
                    }
                    if std::mem::take(&mut wanted) {
                        draw(world, id, format, &mut writer).await?;
                    }
                }
            }
        }
    };
    tokio::select! { ended = reading => ended, ended = drawing => ended }
}

/// Version 3.8, no password, and what there is to see (§7.1 to §7.3).
async fn greet(
    world: &FakeWorld,
    id: MachineId,
    reader: &mut ReadHalf<DuplexStream>,
    writer: &mut WriteHalf<DuplexStream>,
) -> io::Result<()> {
    writer.write_all(b"RFB 003.008\n").await?;
    skip(reader, 12).await?;
    writer.write_all(&[1, 1]).await?;
    reader.read_u8().await?;
    writer.write_u32(0).await?;
    reader.read_u8().await?;
    let picture = shown(world, id)?;
    let name = b"fake";
    writer.write_all(&size(&picture)).await?;
    writer.write_all(&USUAL.written()).await?;
    writer.write_u32(4).await?;
    writer.write_all(name).await
}

/// What the viewer says (§7.5), until it leaves.
async fn read(
    world: &FakeWorld,
    id: MachineId,
    mut reader: ReadHalf<DuplexStream>,
    ask: mpsc::Sender<Asked>,
) -> io::Result<()> {
    loop {
        let asked = match reader.read_u8().await? {
            0 => {
                skip(&mut reader, 3).await?;
                let mut format = [0; 16];
                reader.read_exact(&mut format).await?;
                Some(Asked::Format(Format::read(&format)))
            }
            2 => {
                reader.read_u8().await?;
                let count = reader.read_u16().await?;
                skip(&mut reader, 4 * u64::from(count)).await?;
                None
            }
            3 => {
                let changed = reader.read_u8().await? != 0;
                skip(&mut reader, 8).await?;
                Some(Asked::Picture { changed })
            }
            4 => {
                let down = reader.read_u8().await? != 0;
                reader.read_u16().await?;
                let key = reader.read_u32().await?;
                if let Some(byte) = typed(key).filter(|_| down) {
                    // One that is off types nothing; the drawing ends with it.
                    let _ = world.console_type(id, &[byte]);
                }
                None
            }
            5 => {
                skip(&mut reader, 5).await?;
                None
            }
            6 => {
                skip(&mut reader, 3).await?;
                let length = reader.read_u32().await?;
                if length as usize > CLIPBOARD_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                skip(&mut reader, u64::from(length)).await?;
                None
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        if let Some(asked) = asked
            && ask.send(asked).await.is_err()
        {
            return Ok(());
        }
    }
}

/// What a key writes, by its X11 keysym.
fn typed(keysym: u32) -> Option<u8> {
    match keysym {
        0xff0d | 0xff8d => Some(b'\n'),
        0xff09 => Some(b'\t'),
        keysym => u8::try_from(keysym).ok().filter(|byte| (b' '..=b'~').contains(byte)),
    }
}

async fn skip(reader: &mut (impl AsyncRead + Unpin), bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(bytes), &mut io::sink()).await?;
    if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn shown(world: &FakeWorld, id: MachineId) -> io::Result<Picture> {
    Ok(screen::draw(&world.console_shown(id).map_err(io::Error::other)?))
}

/// Width and height.
fn size(picture: &Picture) -> [u8; 4] {
    let short = |side: u32| u16::try_from(side).unwrap_or(u16::MAX).to_be_bytes();
    let ([a, b], [c, d]) = (short(picture.width()), short(picture.height()));
    [a, b, c, d]
}

/// The whole picture, raw (§7.6.1, §7.7.1).
async fn draw(
    world: &FakeWorld,
    id: MachineId,
    format: Format,
    writer: &mut WriteHalf<DuplexStream>,
) -> io::Result<()> {
    let picture = shown(world, id)?;
    let mut update = vec![0, 0, 0, 1, 0, 0, 0, 0];
    update.extend(size(&picture));
    update.extend([0; 4]);
    picture.rgb().chunks_exact(3).for_each(|pixel| format.put(pixel, &mut update));
    writer.write_all(&update).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_given_as_they_are_wanted() {
        let put = |format: Format| {
            let mut bytes = Vec::new();
            format.put(&[255, 128, 0], &mut bytes);
            bytes
        };
        assert_eq!(Format::read(&USUAL.written()), USUAL);
        assert_eq!(put(USUAL), [0, 128, 255, 0]);
        assert_eq!(put(Format { big_endian: true, ..USUAL }), [0, 255, 128, 0]);
        let small = Format { bytes: 2, big_endian: false, channels: [(31, 11), (63, 5), (31, 0)] };
        assert_eq!(put(small), (31_u16 << 11 | 31 << 5).to_le_bytes());
        assert_eq!(Format::read(&[0; 16]), USUAL, "a palette");
    }
}
