//! A graph of what was used, as a picture that can be read on a small screen, light or dark.

use chrono::{DateTime, Duration, Timelike, Utc};
use hypervisor_core::driver::Picture;
use skerry_stanzas::{reply::measure, safe::safe_line};

use super::canvas::{Anchor, Canvas, Colour, Face, Point};

const WIDTH: usize = 960;
const HEIGHT: usize = 440;
/// Where the plot is: from the left, from the top, to the right, to the floor.
const PLOT: [usize; 4] = [104, 84, WIDTH - 28, HEIGHT - 46];
/// The radius of a line.
const LINE: f32 = 1.6;
/// How many parts the height has.
const PARTS: usize = 4;
/// The longest name in a title, in characters.
const NAME_MAX: usize = 36;

/// What it looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    ground: Colour,
    grid: Colour,
    axis: Colour,
    faint: Colour,
    text: Colour,
    series: [Colour; 2],
}

impl Look {
    /// Dark on light.
    pub(crate) const LIGHT: Self = Self {
        ground: [0xff, 0xff, 0xff],
        grid: [0xe6, 0xe9, 0xee],
        axis: [0xb4, 0xba, 0xc4],
        faint: [0x5b, 0x64, 0x72],
        text: [0x1c, 0x21, 0x2a],
        series: [[0x1f, 0x6f, 0xd6], [0xd9, 0x62, 0x0c]],
    };
    /// Light on dark.
    pub(crate) const DARK: Self = Self {
        ground: [0x16, 0x1a, 0x20],
        grid: [0x2a, 0x30, 0x39],
        axis: [0x50, 0x58, 0x64],
        faint: [0x9d, 0xa7, 0xb5],
        text: [0xec, 0xf0, 0xf5],
        series: [[0x5a, 0xa9, 0xff], [0xff, 0xa2, 0x4d]],
    };
}

/// What its numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Of a hundred.
    Percent,
    /// Bytes.
    Bytes,
    /// Bytes in a second.
    Rate,
}

impl Unit {
    /// A number in words.
    pub(crate) fn said(self, number: f64) -> String {
        let whole = number.max(0.0).round() as u64;
        match self {
            Unit::Percent => measure::percent(number),
            Unit::Bytes => measure::bytes(whole),
            Unit::Rate => measure::rate(whole),
        }
    }

    /// The top of the scale for numbers up to this: round, so that its quarters are.
    fn top(self, most: f64) -> f64 {
        match self {
            Unit::Percent => {
                [4.0, 10.0, 20.0, 40.0, 60.0].into_iter().find(|top| most <= *top).unwrap_or(100.0)
            }
            Unit::Bytes | Unit::Rate => {
                let mut unit = 1024.0;
                while most > unit * 512.0 && unit < 1e18 {
                    unit *= 1024.0;
                }
                let steps =
                    [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 400.0, 512.0];
                let step = steps.into_iter().find(|step| most <= step * unit).unwrap_or(512.0);
                step * unit
            }
        }
    }
}

/// One line of it.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Its points, oldest first; none where nothing is known.
    pub(crate) points: Vec<(DateTime<Utc>, Option<f64>)>,
}

/// A graph.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// Whose it is, and of what.
    pub(crate) title: String,
    /// What its numbers are.
    pub(crate) unit: Unit,
    /// One or two lines.
    pub(crate) series: Vec<Series>,
    /// When it begins.
    pub(crate) from: DateTime<Utc>,
    /// When it ends.
    pub(crate) to: DateTime<Utc>,
    /// How long after a point the next one is; what is further apart is not joined.
    pub(crate) step: Duration,
}

impl Graph {
    /// Draws it.
    pub(crate) fn draw(&self, look: Look) -> Option<Picture> {
        let mut canvas = Canvas::new(WIDTH, HEIGHT, look.ground);
        let known = self.series.iter().flat_map(|series| &series.points).filter_map(|(_, number)| *number);
        let top = self.unit.top(known.fold(0.0, f64::max));
        self.head(&mut canvas, look);
        self.scale(&mut canvas, look, top);
        self.times(&mut canvas, look);
        let pieces = self.series.iter().zip(look.series).flat_map(|(series, colour)| {
            self.pieces(series, top).into_iter().map(move |piece| (piece, colour))
        });
        let pieces: Vec<(Vec<Point>, Colour)> = pieces.collect();
        for (piece, colour) in &pieces {
            canvas.area(piece, PLOT[3] as f32, 0.30, *colour);
        }
        // Lines above all areas.
        for (piece, colour) in &pieces {
            canvas.line(piece, LINE, *colour);
        }
        if pieces.is_empty() {
            let middle = (usize::midpoint(PLOT[0], PLOT[2]), usize::midpoint(PLOT[1], PLOT[3]) - 8);
            canvas.text("nothing is known of this time yet", middle, Anchor::Middle, Face::PLAIN, look.faint);
        }
        canvas.picture()
    }

    /// The title, and under it each line's name and its numbers.
    fn head(&self, canvas: &mut Canvas, look: Look) {
        let title = safe_line(&self.title, NAME_MAX + 24);
        canvas.text(&title, (24, 16), Anchor::Left, Face::TITLE, look.text);
        let mut x = 26;
        for (series, colour) in self.series.iter().zip(look.series) {
            let numbers: Vec<f64> = series.points.iter().filter_map(|(_, number)| *number).collect();
            canvas.dot((x as f32 + 5.0, 61.0), 5.0, colour);
            x += 18;
            canvas.text(series.name, (x, 53), Anchor::Left, Face::STRONG, look.text);
            x += Face::STRONG.width(series.name) + 10;
            if let Some(summary) = self.summary(&numbers) {
                canvas.text(&summary, (x, 53), Anchor::Left, Face::PLAIN, look.faint);
                x += Face::PLAIN.width(&summary) + 32;
            }
        }
    }

    /// The last, the mean, and the most.
    fn summary(&self, numbers: &[f64]) -> Option<String> {
        let (last, most) = (numbers.last()?, numbers.iter().copied().fold(0.0, f64::max));
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let said = |number: f64| self.unit.said(number);
        Some(format!("now {}, mean {}, most {}", said(*last), said(mean), said(most)))
    }

    fn scale(&self, canvas: &mut Canvas, look: Look, top: f64) {
        let [left, ceiling, right, floor] = PLOT;
        for part in 0..=PARTS {
            let y = floor - (floor - ceiling) * part / PARTS;
            canvas.level(left, right, y, if part == 0 { look.axis } else { look.grid });
            let said = self.unit.said(top * part as f64 / PARTS as f64);
            let said = if part == 0 { "0".to_owned() } else { said };
            canvas.text(&said, (left - 10, y - 8), Anchor::Right, Face::PLAIN, look.faint);
        }
    }

    /// Every ten minutes of an hour, every day of a week.
    fn times(&self, canvas: &mut Canvas, look: Look) {
        let [left, ceiling, _, floor] = PLOT;
        let is_week = self.to - self.from > Duration::days(1);
        let (apart, form) =
            if is_week { (Duration::days(1), "%a %d") } else { (Duration::minutes(10), "%H:%M") };
        let Some(minute) = self.from.with_second(0).and_then(|at| at.with_nanosecond(0)) else { return };
        let past = minute.timestamp().rem_euclid(apart.num_seconds());
        let mut at = minute - Duration::seconds(past) + apart;
        while at < self.to {
            let x = self.x(at) as usize;
            canvas.upright(x, ceiling, floor, look.grid);
            canvas.upright(x, floor, floor + 5, look.axis);
            let said = at.format(form).to_string();
            canvas.text(&said, (x, floor + 12), Anchor::Middle, Face::PLAIN, look.faint);
            at += apart;
        }
        canvas.text("UTC", (left - 10, floor + 12), Anchor::Right, Face::PLAIN, look.faint);
    }

    fn x(&self, at: DateTime<Utc>) -> f32 {
        let whole = (self.to - self.from).num_seconds().max(1) as f32;
        let part = (at - self.from).num_seconds() as f32 / whole;
        PLOT[0] as f32 + part.clamp(0.0, 1.0) * (PLOT[2] - PLOT[0]) as f32
    }

    /// The points of a line, apart where something is missing between them. One alone is drawn short.
    fn pieces(&self, series: &Series, top: f64) -> Vec<Vec<Point>> {
        let mut pieces: Vec<(DateTime<Utc>, Vec<Point>)> = Vec::new();
        let within = series.points.iter().filter(|(at, _)| *at >= self.from && *at <= self.to);
        for (at, number) in within.filter_map(|(at, number)| Some((*at, (*number)?))) {
            let part = (number / top).clamp(0.0, 1.0) as f32;
            let point = (self.x(at), PLOT[3] as f32 - part * (PLOT[3] - PLOT[1]) as f32);
            match pieces.last_mut() {
                Some((last, piece)) if at - *last <= self.step * 3 / 2 => {
                    *last = at;
                    piece.push(point);
                }
                _ => pieces.push((at, vec![point])),
            }
        }
        for (_, piece) in &mut pieces {
            if let [(x, y)] = piece[..] {
                piece.push(((x + 4.0).min(PLOT[2] as f32), y));
            }
        }
        pieces.into_iter().map(|(_, piece)| piece).collect()
    }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
