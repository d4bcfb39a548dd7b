//! The screen as a viewer sees it, by RFB (RFC 6143).

use hypervisor_core::driver::{Picture, Viewing};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::story::{Story, not_running};

/// A viewer of 32 bits a pixel.
struct Viewer {
    stream: Box<dyn Viewing>,
    width: u16,
    height: u16,
}

impl Viewer {
    async fn of(story: &Story, id: hypervisor_core::machine::MachineId) -> Self {
        let driver = story.driver();
        let mut stream = story.goes_well("view", driver.screen().unwrap().view(id)).await;
        let greeting = async {
            let mut version = [0; 12];
            stream.read_exact(&mut version).await.unwrap();
            assert_eq!(&version, b"RFB 003.008\n");
            stream.write_all(&version).await.unwrap();
            let mut kinds = vec![0; usize::from(stream.read_u8().await.unwrap())];
            stream.read_exact(&mut kinds).await.unwrap();
            assert!(kinds.contains(&1), "without a password: {kinds:?}");
            stream.write_u8(1).await.unwrap();
            assert_eq!(stream.read_u32().await.unwrap(), 0);
            // Not alone: others may look as well.
            stream.write_u8(1).await.unwrap();
            let (width, height) = (stream.read_u16().await.unwrap(), stream.read_u16().await.unwrap());
            let mut format = [0; 16];
            stream.read_exact(&mut format).await.unwrap();
            let mut name = vec![0; stream.read_u32().await.unwrap() as usize];
            stream.read_exact(&mut name).await.unwrap();
            // Blue lowest, one byte of nothing.
            stream
                .write_all(&[0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0])
                .await
                .unwrap();
            (width, height)
        };
        let (width, height) = story.happens("a greeting", greeting).await;
        Self { stream, width, height }
    }

    async fn picture(&mut self, story: &Story) -> Picture {
        let (width, height) = (self.width.to_be_bytes(), self.height.to_be_bytes());
        let ask = [&[3, 0, 0, 0, 0, 0], width.as_slice(), height.as_slice()].concat();
        let all = usize::from(self.width) * usize::from(self.height);
        let drawing = async {
            self.stream.write_all(&ask).await.unwrap();
            let mut pixels = vec![0; all * 3];
            let mut drawn = 0;
            while drawn < all {
                assert_eq!(self.stream.read_u16().await.unwrap() >> 8, 0, "an update");
                for _ in 0..self.stream.read_u16().await.unwrap() {
                    drawn += self.rectangle(&mut pixels).await;
                }
            }
            pixels
        };
        let pixels = story.happens("a picture", drawing).await;
        Picture::new(self.width.into(), self.height.into(), pixels).unwrap()
    }

    async fn rectangle(&mut self, pixels: &mut [u8]) -> usize {
        let mut head = [0_u16; 4];
        for field in &mut head {
            *field = self.stream.read_u16().await.unwrap();
        }
        let [x, y, width, height] = head.map(usize::from);
        assert_eq!(self.stream.read_i32().await.unwrap(), 0, "raw");
        let mut raw = vec![0; width * height * 4];
        self.stream.read_exact(&mut raw).await.unwrap();
        for (at, pixel) in raw.chunks_exact(4).enumerate() {
            let to = ((y + at / width) * usize::from(self.width) + x + at % width) * 3;
            pixels[to..to + 3].copy_from_slice(&[pixel[2], pixel[1], pixel[0]]);
        }
        width * height
    }

    async fn types(&mut self, text: &str) {
        for byte in text.bytes() {
            let key = if byte == b'\n' { 0xff0d } else { u32::from(byte) };
            // As a person at a US keyboard does.
            let shift = byte.is_ascii_uppercase() || b"~!@#$%^&*()_+{}|:\"<>?".contains(&byte);
            let shift = shift.then_some(0xffe1);
            for (key, down) in shift.iter().map(|key| (*key, 1)).chain([(key, 1), (key, 0)]) {
                self.press(key, down).await;
            }
            if let Some(shift) = shift {
                self.press(shift, 0).await;
            }
        }
    }

    async fn press(&mut self, key: u32, down: u8) {
        self.stream.write_all(&[4, down, 0, 0]).await.unwrap();
        self.stream.write_u32(key).await.unwrap();
    }
}

pub async fn shows_the_very_pixels(story: &mut Story) {
    let launch = story.listening().await;
    let driver = story.driver();
    let mut viewer = Viewer::of(story, launch.id).await;
    let mut other = Viewer::of(story, launch.id).await;
    // A cursor may blink between two looks.
    let same = async {
        loop {
            let seen = viewer.picture(story).await;
            let drawn = story.goes_well("picture", driver.screen().unwrap().picture(launch.id)).await;
            if seen == drawn {
                return seen;
            }
        }
    };
    let seen = story.happens("the same picture", same).await;
    assert!(!seen.is_blank());
    assert_eq!(other.picture(story).await.width(), seen.width(), "one viewer does not end another");
    viewer.picture(story).await;
}

pub async fn what_is_typed_there_reaches_the_guest(story: &mut Story) {
    let launch = story.listening().await;
    let mut viewer = Viewer::of(story, launch.id).await;
    viewer.types(&story.bench.at_the_keyboard("seen")).await;
    story.shows(&launch, b"seen").await;
}

pub async fn ends_with_the_machine(story: &mut Story) {
    let launch = story.listening().await;
    let mut viewer = Viewer::of(story, launch.id).await;
    story.kill(launch.id).await;
    let mut rest = Vec::new();
    // How it ends is no matter.
    let _ = story.happens("the end", viewer.stream.read_to_end(&mut rest)).await;
    story.leaves_nothing(&launch).await;
    let driver = story.driver();
    not_running("view", driver.screen().unwrap().view(launch.id).await.map(|_| ()));
}
