//! The screen of a machine, and the keyboard in front of it.

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use super::DriverError;
use crate::machine::MachineId;

pub mod keys;

use self::keys::Chord;

/// The most pixels of a picture: 4096 by 4096. A guest chooses the size of its screen.
pub const PIXELS_MAX: usize = 1 << 24;

/// What a screen shows: pixels, row by row from the top left, three bytes each: red, green, blue.
/// What is on it is the guest's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// From its pixels; `None` if they are not as many as that, none at all, or over [`PIXELS_MAX`].
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let pixels = usize::try_from(width).ok()?.checked_mul(usize::try_from(height).ok()?)?;
        let fits = (1..=PIXELS_MAX).contains(&pixels) && rgb.len() == pixels * 3;
        fits.then_some(Self { width, height, rgb })
    }

    /// In pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// In pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Three bytes a pixel.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Whether all pixels have one colour: a screen on which nothing is to be seen.
    pub fn is_blank(&self) -> bool {
        let first = self.rgb.get(..3);
        self.rgb.chunks_exact(3).all(|pixel| Some(pixel) == first)
    }

    /// Half as wide and half as high; each pixel is the mean of the four it stands for. `None` when
    /// it is too small for that.
    pub fn halved(&self) -> Option<Self> {
        let (width, height) = (self.width / 2, self.height / 2);
        let stride = usize::try_from(self.width).ok()? * 3;
        let mut rgb = Vec::with_capacity(self.rgb.len() / 4);
        for rows in self.rgb.chunks_exact(stride * 2) {
            let (upper, lower) = rows.split_at(stride);
            for (above, below) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
                for channel in 0..3 {
                    let four = [above[channel], above[channel + 3], below[channel], below[channel + 3]];
                    let sum: u16 = four.into_iter().map(u16::from).sum();
                    rgb.push(u8::try_from(sum / 4).unwrap_or(u8::MAX));
                }
            }
        }
        Self::new(width, height, rgb)
    }
}

/// A viewer's connection to a screen, which speaks RFB (RFC 6143) as its server does, and asks for no
/// password: whoever holds it looks, types and points. What comes from it is the guest's word.
pub trait Viewing: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Viewing for T {}

/// Why keys are not pressed while a guest is paused.
pub(crate) fn held_still() -> DriverError {
    DriverError::Unfit("its guest is paused, and takes no keys: resume it first".into())
}

/// The screen of a machine, and its keyboard.
#[async_trait]
pub trait Screen: Send + Sync {
    /// What is on the screen now; also of a machine that is paused. [`DriverError::Unfit`] for one that
    /// has no screen, or one larger than [`PIXELS_MAX`].
    async fn picture(&self, id: MachineId) -> Result<Picture, DriverError>;

    /// Presses and releases these keys, one chord after another, as fast as a guest is sure to take
    /// them; done when the last is released. Dropped half way, or killed with all its process, it leaves
    /// no key held down, and the rest is not pressed. [`DriverError::Unfit`] for a guest that is paused.
    async fn press(&self, id: MachineId, chords: &[Chord]) -> Result<(), DriverError>;

    /// A new viewer: one of several, none of whom is in the others' way. It ends with the machine.
    /// [`DriverError::Unfit`] for one that has no screen, or none in our hands.
    async fn view(&self, id: MachineId) -> Result<Box<dyn Viewing>, DriverError>;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_picture_has_all_its_pixels() {
        assert!(Picture::new(2, 1, vec![0; 6]).is_some());
        assert!(Picture::new(2, 1, vec![0; 7]).is_none());
        assert!(Picture::new(0, 0, vec![]).is_none());
        assert!(Picture::new(u32::MAX, u32::MAX, vec![]).is_none(), "no overflow");
    }

    #[test]
    fn a_halved_picture_is_the_mean_of_the_whole() {
        let rgb = [[0, 0, 0], [100, 0, 0], [9, 9, 9], [100, 0, 40], [200, 4, 0], [9, 9, 9]].concat();
        let half = Picture::new(3, 2, rgb).unwrap().halved().unwrap();
        assert_eq!((half.width(), half.height(), half.rgb()), (1, 1, &[100, 1, 10][..]));
        assert_eq!(half.halved(), None);
    }

    #[test]
    fn a_screen_of_one_colour_is_blank() {
        assert!(Picture::new(2, 1, vec![7; 6]).unwrap().is_blank());
        assert!(!Picture::new(2, 1, vec![7, 7, 7, 7, 7, 8]).unwrap().is_blank());
    }
}
