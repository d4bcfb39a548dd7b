//! Pixels to draw graphs on: smooth lines, filled areas, and text. Nothing but arithmetic.

use hypervisor_core::driver::Picture;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// A point on a canvas: pixels from its top left.
pub(super) type Point = (f32, f32);

/// A letter's form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face {
    weight: FontWeight,
    height: RasterHeight,
}

impl Face {
    /// For titles.
    pub(super) const TITLE: Self = Self { weight: FontWeight::Bold, height: RasterHeight::Size24 };
    /// For what is read first.
    pub(super) const STRONG: Self = Self { weight: FontWeight::Bold, height: RasterHeight::Size16 };
    /// For all else.
    pub(super) const PLAIN: Self = Self { weight: FontWeight::Regular, height: RasterHeight::Size16 };

    /// How wide a text is.
    pub(super) fn width(self, text: &str) -> usize {
        text.chars().count() * get_raster_width(self.weight, self.height)
    }
}

/// Where a text stands to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// It begins there.
    Left,
    /// Its middle is there.
    Middle,
    /// It ends there.
    Right,
}

/// What is drawn on.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Canvas {
    /// All of one colour.
    pub(super) fn new(width: usize, height: usize, ground: Colour) -> Self {
        Self { width, height, rgb: ground.repeat(width * height) }
    }

    /// Lays a colour over a pixel, as thick as `cover` says, from 0 to 1.
    fn blend(&mut self, x: usize, y: usize, colour: Colour, cover: f32) {
        if x >= self.width || y >= self.height {
            return;
        }
        let at = (y * self.width + x) * 3;
        for (pixel, new) in self.rgb[at..at + 3].iter_mut().zip(colour) {
            let old = f32::from(*pixel);
            *pixel = (old + (f32::from(new) - old) * cover.clamp(0.0, 1.0)).round() as u8;
        }
    }

    /// A level line.
    pub(super) fn level(&mut self, from: usize, to: usize, y: usize, colour: Colour) {
        for x in from..to {
            self.blend(x, y, colour, 1.0);
        }
    }

    /// An upright line.
    pub(super) fn upright(&mut self, x: usize, from: usize, to: usize, colour: Colour) {
        for y in from..to {
            self.blend(x, y, colour, 1.0);
        }
    }

    /// A round dot.
    pub(super) fn dot(&mut self, middle: Point, radius: f32, colour: Colour) {
        self.line(&[middle, middle], radius, colour);
    }

    /// A text; letters that the font has not are left out. `at` is the top of its letters.
    pub(super) fn text(
        &mut self,
        text: &str,
        at: (usize, usize),
        anchor: Anchor,
        face: Face,
        colour: Colour,
    ) {
        let width = face.width(text);
        let mut x = match anchor {
            Anchor::Left => at.0,
            Anchor::Middle => at.0.saturating_sub(width / 2),
            Anchor::Right => at.0.saturating_sub(width),
        };
        for letter in text.chars() {
            if let Some(raster) = get_raster(letter, face.weight, face.height) {
                for (row, pixels) in raster.rows().enumerate() {
                    for (column, cover) in pixels.iter().enumerate() {
                        self.blend(x + column, at.1 + row, colour, f32::from(*cover) / 255.0);
                    }
                }
            }
            x += get_raster_width(face.weight, face.height);
        }
    }

    /// A line through these points, with round joints.
    pub(super) fn line(&mut self, points: &[Point], radius: f32, colour: Colour) {
        // Each pixel once, however many pieces of the line it is near to.
        let mut cover = vec![0.0_f32; self.width * self.height];
        for piece in points.windows(2) {
            let [from, to] = [piece[0], piece[1]];
            let reach = radius + 1.0;
            let span = |a: f32, b: f32, max: usize| {
                let low = (a.min(b) - reach).max(0.0) as usize;
                low..((a.max(b) + reach).max(0.0) as usize + 1).min(max)
            };
            for y in span(from.1, to.1, self.height) {
                for x in span(from.0, to.0, self.width) {
                    let near = (radius + 0.5 - distance((x as f32, y as f32), from, to)).clamp(0.0, 1.0);
                    let known = &mut cover[y * self.width + x];
                    *known = known.max(near);
                }
            }
        }
        for (at, cover) in cover.into_iter().enumerate().filter(|(_, cover)| *cover > 0.0) {
            self.blend(at % self.width, at / self.width, colour, cover);
        }
    }

    /// What is between a line and the floor below it, fading downwards.
    pub(super) fn area(&mut self, points: &[Point], floor: f32, strength: f32, colour: Colour) {
        let Some(top) = points.iter().map(|point| point.1).reduce(f32::min) else { return };
        for piece in points.windows(2) {
            let [from, to] = [piece[0], piece[1]];
            for x in from.0.round() as usize..to.0.round() as usize {
                let part = ((x as f32 - from.0) / (to.0 - from.0).max(1.0)).clamp(0.0, 1.0);
                let edge = from.1 + (to.1 - from.1) * part;
                for y in edge.floor() as usize..floor as usize {
                    let inside = (y as f32 + 1.0 - edge).clamp(0.0, 1.0);
                    let fade = 1.0 - (y as f32 - top) / (floor - top).max(1.0);
                    self.blend(x, y, colour, inside * strength * (0.25 + 0.75 * fade.clamp(0.0, 1.0)));
                }
            }
        }
    }

    /// The picture.
    pub(super) fn picture(self) -> Option<Picture> {
        Picture::new(u32::try_from(self.width).ok()?, u32::try_from(self.height).ok()?, self.rgb)
    }
}

/// How far a point is from a piece of a line.
fn distance(point: Point, from: Point, to: Point) -> f32 {
    let (along, away) = ((to.0 - from.0, to.1 - from.1), (point.0 - from.0, point.1 - from.1));
    let length = along.0 * along.0 + along.1 * along.1;
    let part = match length > 0.0 {
        true => ((away.0 * along.0 + away.1 * along.1) / length).clamp(0.0, 1.0),
        false => 0.0,
    };
    (away.0 - along.0 * part).hypot(away.1 - along.1 * part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_drawn_outside_is_not_there() {
        let mut canvas = Canvas::new(20, 10, [255; 3]);
        canvas.line(&[(-50.0, -5.0), (100.0, 50.0)], 2.0, [0; 3]);
        canvas.text("far out \u{1F600}", (15, 5), Anchor::Left, Face::TITLE, [0; 3]);
        canvas.area(&[(0.0, 2.0), (40.0, 4.0)], 9.0, 1.0, [0; 3]);
        canvas.level(0, 99, 99, [0; 3]);
        assert_eq!(canvas.picture().unwrap().rgb().len(), 600);
    }

    #[test]
    fn a_line_is_darkest_in_its_middle() {
        let mut canvas = Canvas::new(9, 9, [255; 3]);
        canvas.line(&[(0.0, 4.0), (8.0, 4.0)], 1.0, [0; 3]);
        let picture = canvas.picture().unwrap();
        let at = |y: usize| picture.rgb()[(y * 9 + 4) * 3];
        assert_eq!((at(4), at(8), at(0)), (0, 255, 255));
        assert!(at(5) < 255 && at(5) > 0, "its edge is between");
        assert_eq!(at(5), at(3));
    }
}
