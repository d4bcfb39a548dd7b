//! A face of its own for the host and every machine (XEP-0153, XEP-0084): drawn from its identity, so
//! it is the same everywhere and for ever, and nobody has to choose one.

use base64::{Engine, engine::general_purpose::STANDARD};
use minidom::Element;
use sha1::{Digest, Sha1};
use xmpp_parsers::ns as xep;

use super::{entity::Entity, stanza::tag};

/// Width and height in pixels.
pub(crate) const SIDE: u16 = 64;

/// A picture, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Avatar {
    /// A PNG file.
    pub(crate) png: Vec<u8>,
    /// Its SHA-1 in lower-case hexadecimal: its name on the wire.
    pub(crate) hash: String,
}

/// The picture of an entity. The host's is drawn from `seed` (its address), as it has no id.
pub(crate) fn of(entity: Entity, seed: &str) -> Avatar {
    let png = match entity {
        Entity::Host => encode(&host(&Sha1::digest(seed.as_bytes()))),
        Entity::Machine(id) => encode(&machine(&Sha1::digest(id.0.as_bytes()))),
    };
    let hash = hex(&Sha1::digest(&png));
    Avatar { png, hash }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The picture itself (XEP-0084 §4.1).
pub(crate) fn wire_data(avatar: &Avatar) -> Element {
    tag("data", xep::AVATAR_DATA).text(STANDARD.encode(&avatar.png)).into()
}

/// What there is to know of the picture (XEP-0084 §4.2).
pub(crate) fn wire_metadata(avatar: &Avatar) -> Element {
    let side = SIDE.to_string();
    let entry = tag("info", xep::AVATAR_METADATA)
        .attr("id", &avatar.hash)
        .attr("type", "image/png")
        .attr("bytes", avatar.png.len().to_string())
        .attr("width", &side)
        .attr("height", &side);
    tag("metadata", xep::AVATAR_METADATA).child(entry).into()
}

type Colour = [f32; 3];

/// Pixels, four channels each, drawn from the back to the front.
struct Canvas(Vec<[f32; 4]>);

impl Canvas {
    fn new() -> Self {
        Self(vec![[0.0; 4]; usize::from(SIDE) * usize::from(SIDE)])
    }

    /// A rectangle with round corners; the coordinates are of its middle. Edges are smooth: a pixel is
    /// covered as far as it lies within the outline.
    fn rounded(&mut self, middle: (f32, f32), half: (f32, f32), radius: f32, colour: Colour) {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let (dx, dy) = (
                    (f32::from(x) + 0.5 - middle.0).abs() - half.0 + radius,
                    (f32::from(y) + 0.5 - middle.1).abs() - half.1 + radius,
                );
                let outside = dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius;
                let cover = (0.5 - outside).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.blend(usize::from(y) * usize::from(SIDE) + usize::from(x), cover, colour);
                }
            }
        }
    }

    fn blend(&mut self, at: usize, cover: f32, colour: Colour) {
        let [r, g, b, alpha] = self.0[at];
        let whole = cover + alpha * (1.0 - cover);
        let mix = |new: f32, old: f32| (new * cover + old * alpha * (1.0 - cover)) / whole;
        self.0[at] = [mix(colour[0], r), mix(colour[1], g), mix(colour[2], b), whole];
    }
}

/// A colour of the wheel: `hue` in turns, the others from 0 to 1.
fn colour(hue: f32, saturation: f32, lightness: f32) -> Colour {
    let reach = saturation * lightness.min(1.0 - lightness);
    let channel = |n: f32| {
        let k = (n + hue * 12.0) % 12.0;
        lightness - reach * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0)
    };
    [channel(0.0), channel(8.0), channel(4.0)]
}

/// The hue a digest asks for, in turns.
fn hue(digest: &[u8]) -> f32 {
    f32::from(digest[0]) / 256.0
}

/// A tile with a pattern of five by five cells, the same left and right.
fn machine(digest: &[u8]) -> Canvas {
    let hue = hue(digest);
    let mut canvas = Canvas::new();
    canvas.rounded((32.0, 32.0), (32.0, 32.0), 14.0, colour(hue, 0.48, 0.44));
    let (near, far) = (colour(hue, 0.6, 0.95), colour((hue + 0.08) % 1.0, 0.55, 0.74));
    for row in 0..5_u8 {
        for column in 0..3_u8 {
            let byte = digest[1 + usize::from(row) * 3 + usize::from(column)];
            if byte % 5 < 2 {
                continue;
            }
            let ink = if byte % 5 == 2 { far } else { near };
            let centre = |cell: u8| 14.0 + 9.0 * f32::from(cell);
            for column in [column, 4 - column] {
                canvas.rounded((centre(column), centre(row)), (4.6, 4.6), 1.6, ink);
            }
        }
    }
    canvas
}

/// A dark tile with three drawers of a rack, each with its lights.
fn host(digest: &[u8]) -> Canvas {
    let hue = hue(digest);
    let mut canvas = Canvas::new();
    canvas.rounded((32.0, 32.0), (32.0, 32.0), 14.0, colour(hue, 0.30, 0.22));
    for row in 0..3_u8 {
        let y = 18.0 + 14.0 * f32::from(row);
        canvas.rounded((32.0, y), (21.0, 5.4), 3.0, colour(hue, 0.35, 0.86));
        let light = digest[1 + usize::from(row)];
        let green = colour(0.38, 0.75, if light & 1 == 0 { 0.42 } else { 0.55 });
        canvas.rounded((17.5, y), (2.2, 2.2), 2.2, green);
        let bar = 5.0 + f32::from(light % 8);
        canvas.rounded((47.0 - bar, y), (bar, 1.4), 1.4, colour(hue, 0.40, 0.45));
    }
    canvas
}

fn encode(canvas: &Canvas) -> Vec<u8> {
    let byte = |channel: &f32| (channel * 255.0).round().clamp(0.0, 255.0) as u8;
    let pixels: Vec<u8> = canvas.0.iter().flat_map(|pixel| pixel.iter().map(byte)).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIDE.into(), SIDE.into());
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.expect("invariant: a picture of the right size goes into memory");
    file
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use hypervisor_core::machine::MachineId;

    use super::*;

    fn machine_of(n: u128) -> Avatar {
        of(Entity::Machine(MachineId(uuid::Uuid::from_u128(n))), "kvm1.example.org")
    }

    #[test]
    fn an_avatar_is_small_and_stays_the_same() {
        for avatar in [machine_of(1), machine_of(u128::MAX), of(Entity::Host, "kvm1.example.org")] {
            assert!(avatar.png.len() <= 4096, "{} bytes", avatar.png.len());
            assert_eq!(avatar.hash.len(), 40);
            let reader = png::Decoder::new(std::io::Cursor::new(&avatar.png)).read_info().unwrap();
            assert_eq!(reader.info().width, 64);
        }
        assert_eq!(machine_of(1), machine_of(1));
        assert_ne!(machine_of(1), machine_of(2));
    }

    #[test]
    fn host_and_machine_look_different() {
        assert_ne!(of(Entity::Host, "a").hash, machine_of(7).hash);
        assert_ne!(of(Entity::Host, "a").hash, of(Entity::Host, "b").hash);
    }
}
