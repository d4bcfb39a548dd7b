//! Pictures of screens and graphs on their way to people: made into PNG, kept for some minutes for who asks
//! for them in band (XEP-0231), and uploaded by whoever can (the faces, XEP-0363).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    time::Duration,
};

use async_trait::async_trait;
use hypervisor_core::{driver::Picture, machine::MachineId};
use sha1::{Digest, Sha1};
use tokio::time::Instant;

/// The largest picture given in band, in bytes: as base64 in a stanza every server takes it.
const INLINE_BYTES_MAX: usize = 128 << 10;
/// How many pictures are kept. Together they have at most `KEPT_MAX * INLINE_BYTES_MAX`.
const KEPT_MAX: usize = 64;
/// For how long. Uploads are kept by their server for longer than that.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(600);

/// Puts files where people can see them.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Uploads a PNG; its address, or `None` where that cannot be done (which the log says).
    async fn upload(&self, png: Arc<[u8]>, name: &str) -> Option<String>;
}

/// A picture as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Png {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) file: Arc<[u8]>,
    /// Its name by its contents (XEP-0231 §2.1).
    pub(crate) cid: String,
}

impl Png {
    fn of(picture: &Picture) -> Self {
        let file = encode(picture);
        let hash: String = Sha1::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            width: picture.width(),
            height: picture.height(),
            file: file.into(),
            cid: format!("sha1+{hash}@bob.xmpp.org"),
        }
    }
}

/// The picture as it is, and small enough to be given in band. Takes a while for a large screen.
pub(crate) fn pngs(picture: Picture) -> (Png, Png) {
    let whole = Png::of(&picture);
    let mut small = whole.clone();
    let mut less = picture;
    while small.file.len() > INLINE_BYTES_MAX {
        let Some(half) = less.halved() else { break };
        small = Png::of(&half);
        less = half;
    }
    (whole, small)
}

fn encode(picture: &Picture) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(picture.rgb()));
    written.expect("invariant: a picture of the right size goes into memory");
    file
}

/// What a picture shows, and so who may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A machine's screen.
    Screen(MachineId),
    /// What a machine used, or the host.
    Graph(Option<MachineId>),
}

/// Pictures that were shown lately, and who uploads them.
#[derive(Default)]
pub(crate) struct Pictures {
    kept: Mutex<VecDeque<Kept>>,
    uploads: RwLock<Option<Weak<dyn Uploads>>>,
}

struct Kept {
    of: Subject,
    png: Png,
    /// Where the whole picture was uploaded to, if it was.
    url: Option<String>,
    since: Instant,
}

impl Pictures {
    /// Who uploads from now on.
    pub(crate) fn uploaded_by(&self, uploads: Weak<dyn Uploads>) {
        *self.uploads.write().unwrap_or_else(PoisonError::into_inner) = Some(uploads);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| one.since.elapsed() < KEPT_FOR);
        kept
    }

    /// Keeps a picture that can be given in band.
    pub(crate) fn keep(&self, of: Subject, png: Png, url: Option<String>) {
        let mut kept = self.lock();
        kept.retain(|one| (one.of, &one.png.cid) != (of, &png.cid));
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Kept { of, png, url, since: Instant::now() });
    }

    /// A picture of this that was shown lately, by its name.
    pub(crate) fn find(&self, of: Subject, cid: &str) -> Option<Png> {
        self.lock().iter().find(|one| one.of == of && one.png.cid == cid).map(|one| one.png.clone())
    }

    /// A picture that was shown lately, by its name alone: for whoever was just told the name.
    pub(crate) fn named(&self, cid: &str) -> Option<Png> {
        self.lock().iter().find(|one| one.png.cid == cid).map(|one| one.png.clone())
    }

    /// Uploads a picture, unless the same one was lately.
    pub(crate) async fn upload(&self, of: Subject, whole: &Png, small: &Png, name: &str) -> Option<String> {
        let known = {
            let kept = self.lock();
            let same = kept.iter().find(|one| one.of == of && one.png.cid == small.cid);
            same.and_then(|one| one.url.clone())
        };
        if known.is_some() {
            return known;
        }
        let uploads = self.uploads.read().unwrap_or_else(PoisonError::into_inner).clone()?.upgrade()?;
        uploads.upload(Arc::clone(&whole.file), name).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use uuid::Uuid;

    use super::*;

    fn machine(n: u128) -> Subject {
        Subject::Screen(MachineId(Uuid::from_u128(n)))
    }

    /// Pixels that no compression makes small.
    fn noise(width: u32, height: u32) -> Picture {
        let mut state = 1_u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let count = usize::try_from(width * height * 3).unwrap();
        Picture::new(width, height, (0..count).map(|_| byte()).collect()).unwrap()
    }

    #[test]
    fn a_picture_is_a_png_of_its_pixels() {
        let picture = noise(9, 7);
        let (whole, small) = pngs(picture.clone());
        assert_eq!(whole, small);
        let mut reader = png::Decoder::new(std::io::Cursor::new(&whole.file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, picture.rgb());
        assert!(whole.cid.starts_with("sha1+") && whole.cid.ends_with("@bob.xmpp.org"));
    }

    #[test]
    fn what_is_given_in_band_fits_a_stanza() {
        let (whole, small) = pngs(noise(640, 480));
        assert!(whole.file.len() > INLINE_BYTES_MAX);
        assert!(small.file.len() <= INLINE_BYTES_MAX, "{}", small.file.len());
        assert_eq!((small.width, small.height), (160, 120));
    }

    #[tokio::test(start_paused = true)]
    async fn pictures_are_kept_for_a_while_each_for_its_machine() {
        let pictures = Pictures::default();
        let (png, _) = pngs(noise(2, 2));
        pictures.keep(machine(1), png.clone(), None);
        assert_eq!(pictures.find(machine(1), &png.cid), Some(png.clone()));
        assert_eq!(pictures.find(machine(2), &png.cid), None);
        tokio::time::advance(KEPT_FOR).await;
        assert_eq!(pictures.find(machine(1), &png.cid), None);
        for n in 0..200 {
            pictures.keep(machine(n), png.clone(), None);
        }
        assert_eq!(pictures.lock().len(), KEPT_MAX);
    }
}
