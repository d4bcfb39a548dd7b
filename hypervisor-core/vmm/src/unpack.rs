//! The kernel within a `bzImage`, uncompressed: unpacked once, it need not unpack itself at each boot.
//!
//! What a `bzImage` is: [the boot protocol](https://docs.kernel.org/arch/x86/boot.html), `payload_offset` and
//! `payload_length` of its header (from version 2.08 on). What packs it is the kernel's choice when it is
//! built.

use std::io::{self, Read};

use crate::error::{Error, Result};

/// Bytes a kernel has at most: none is a tenth of it.
const KERNEL_MAX: u64 = 1 << 30;
/// Where its header has what is needed here.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD: usize = 0x248;
const LENGTH: usize = 0x24c;
/// The first version whose header says where the payload is.
const VERSION_MIN: u64 = 0x208;
/// Bytes of one of LZ4's old frames, before and after.
const LZ4_BLOCK_MAX: usize = 8 << 20;

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let piece = bytes.get(at..at.checked_add(length)?)?;
    Some(piece.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// What is packed in a `bzImage`; `None` when it is none.
fn payload(image: &[u8]) -> Option<&[u8]> {
    if image.get(MAGIC..MAGIC + 4)? != b"HdrS" || number(image, VERSION, 2)? < VERSION_MIN {
        return None;
    }
    let sectors = match *image.get(SETUP_SECTORS)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * 512 + usize::try_from(number(image, PAYLOAD, 4)?).ok()?;
    image.get(start..start.checked_add(usize::try_from(number(image, LENGTH, 4)?).ok()?)?)
}

/// LZ4's old frames, as kernels have them: blocks, each after its length.
fn lz4(packed: &[u8]) -> io::Result<Vec<u8>> {
    let (mut kernel, mut at) = (Vec::new(), 4);
    // The kernel's length is behind it, in four bytes.
    while let Some(length) = number(packed, at, 4).filter(|_| at + 4 < packed.len()) {
        let start = at + 4;
        let block =
            usize::try_from(length).ok().and_then(|length| packed.get(start..start.checked_add(length)?));
        let block = block.ok_or(io::ErrorKind::UnexpectedEof)?;
        let unpacked = lz4_flex::block::decompress(block, LZ4_BLOCK_MAX).map_err(io::Error::other)?;
        kernel.extend_from_slice(&unpacked);
        if kernel.len() as u64 > KERNEL_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        at = start + block.len();
    }
    Ok(kernel)
}

fn all(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut kernel = Vec::new();
    reader.by_ref().take(KERNEL_MAX + 1).read_to_end(&mut kernel)?;
    if kernel.len() as u64 > KERNEL_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(kernel)
}

/// The kernel that is packed in `image`; `None` when it is no `bzImage`, or packed in a way that is not known
/// here: then it has to unpack itself.
///
/// # Errors
/// When what is packed is broken.
pub fn unpack(image: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some(packed) = payload(image) else { return Ok(None) };
    let kernel = match packed {
        [0x02, 0x21, 0x4c, 0x18, ..] => lz4(packed),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => all(lzma_rust2::XzReader::new(packed, false)),
        [0x1f, 0x8b, ..] => all(flate2::read::GzDecoder::new(packed)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            ruzstd::decoding::StreamingDecoder::new(packed).map_err(io::Error::other).and_then(all)
        }
        _ => return Ok(None),
    };
    kernel.map(Some).map_err(Error::at("what is packed in the kernel's image"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An image of this payload.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * 512 + 32];
        image[SETUP_SECTORS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[PAYLOAD..PAYLOAD + 4].copy_from_slice(&32_u32.to_le_bytes());
        image[LENGTH..LENGTH + 4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    fn kernel() -> Vec<u8> {
        (0..3_000_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect()
    }

    #[test]
    fn what_kernels_are_packed_by_is_unpacked() {
        let kernel = kernel();
        let length = (kernel.len() as u32).to_le_bytes();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&kernel).unwrap();
        let mut lz4 = vec![0x02, 0x21, 0x4c, 0x18];
        for block in kernel.chunks(LZ4_BLOCK_MAX) {
            let packed = lz4_flex::block::compress(block);
            lz4.extend((packed.len() as u32).to_le_bytes());
            lz4.extend(packed);
        }
        lz4.extend(length);
        let zstd =
            ruzstd::encoding::compress_to_vec(&kernel[..], ruzstd::encoding::CompressionLevel::Fastest);
        for packed in [gzip.finish().unwrap(), lz4, zstd] {
            assert!(unpack(&image(&packed)).unwrap().unwrap() == kernel, "{:x?}", &packed[..4]);
            let cut = unpack(&image(&packed[..packed.len() / 2]));
            assert!(cut.is_err(), "{:x?}", &packed[..4]);
        }
    }

    #[test]
    fn what_is_no_image_or_packed_otherwise_is_left_as_it_is() {
        for other in [&b""[..], b"\x7fELF", &image(b"BZh91AY&SY"), &image(b"")] {
            assert_eq!(unpack(other).unwrap(), None);
        }
        let mut far = image(b"xx");
        far[LENGTH] = 200;
        assert_eq!(unpack(&far).unwrap(), None);
    }
}
