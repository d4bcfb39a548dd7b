//! Hours of the week in which something may be done: `mon-fri 08:00-18:00; sat 10:00-12:00`, by the clock of
//! the host. A span over midnight (`fri 22:00-04:00`) belongs to the day it begins on.

use chrono::{DateTime, Datelike, Days, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc, Weekday};

/// Minutes of a day.
const DAY: u32 = 24 * 60;
/// The most parts that are read.
const PARTS_MAX: usize = 16;

/// Hours of the week.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Window {
    spans: Vec<Span>,
    text: String,
}

/// On these days, from this minute for so many.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// Monday first.
    days: [bool; 7],
    from: u32,
    minutes: u32,
}

impl Window {
    /// Reads one; none when it is not understood.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() || parts.len() > PARTS_MAX {
            return None;
        }
        let spans = parts.iter().map(|part| Span::read(&part.to_lowercase())).collect::<Option<Vec<_>>>()?;
        Some(Self { spans, text: parts.join("; ") })
    }

    /// Whether it is open at a moment.
    pub(crate) fn is_open<Tz: TimeZone>(&self, at: &DateTime<Tz>) -> bool {
        self.holds(at.naive_local())
    }

    fn holds(&self, at: NaiveDateTime) -> bool {
        let minute = at.hour() * 60 + at.minute();
        let today = at.weekday().num_days_from_monday() as usize;
        self.spans.iter().any(|span| {
            let began = |day: usize, since: u32| {
                span.days[day % 7] && (span.from..span.from + span.minutes).contains(&since)
            };
            began(today, minute) || began(today + 6, minute + DAY)
        })
    }

    /// The moment it opens next; this one, when it is open.
    pub(crate) fn opens<Tz: TimeZone>(&self, now: &DateTime<Tz>) -> Option<DateTime<Utc>> {
        if self.is_open(now) {
            return Some(now.with_timezone(&Utc));
        }
        let here = now.naive_local();
        // Eight, as that of today may be over already.
        let days = (0..=7).filter_map(|days| here.date().checked_add_days(Days::new(days)));
        let begins = days.flat_map(|day| {
            let today = day.weekday().num_days_from_monday() as usize;
            let spans = self.spans.iter().filter(move |span| span.days[today]);
            spans.filter_map(move |span| {
                Some(day.and_time(NaiveTime::from_hms_opt(span.from / 60, span.from % 60, 0)?))
            })
        });
        let next = begins.filter(|begin| *begin > here).min()?;
        // Where clocks are set forward over it, an hour later.
        let at = |at: NaiveDateTime| now.timezone().from_local_datetime(&at).earliest();
        at(next).or_else(|| at(next + chrono::Duration::hours(1))).map(|at| at.with_timezone(&Utc))
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.text
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::read(&text).ok_or_else(|| format!("{text:?} are no hours; write \"mon-fri 08:00-18:00\""))
    }
}

impl Span {
    /// `mon-fri 08:00-18:00`, `sat,sun`, or `22:00-04:00`.
    fn read(text: &str) -> Option<Self> {
        let (days, hours) = match text.split_once(' ') {
            Some((days, hours)) => (Some(days), Some(hours.trim())),
            None if text.starts_with(|first: char| first.is_ascii_digit()) => (None, Some(text)),
            None => (Some(text), None),
        };
        let days = days.map_or(Some([true; 7]), read_days)?;
        let Some(hours) = hours else { return Some(Self { days, from: 0, minutes: DAY }) };
        let (from, to) = hours.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        let minutes = (to + DAY - from) % DAY;
        let minutes = if minutes == 0 { DAY } else { minutes };
        (from < DAY).then_some(Self { days, from, minutes })
    }
}

fn read_days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let [first, last] = [first, last].map(|day| day.parse::<Weekday>().ok());
        let mut day = first?;
        let last = last?;
        days[day.num_days_from_monday() as usize] = true;
        while day != last {
            day = day.succ();
            days[day.num_days_from_monday() as usize] = true;
        }
    }
    Some(days)
}

/// `18:00` in minutes; `24:00` is the end of the day.
fn minute(text: &str) -> Option<u32> {
    if text.trim() == "24:00" {
        return Some(DAY);
    }
    let time = NaiveTime::parse_from_str(text.trim(), "%H:%M").ok()?;
    Some(time.hour() * 60 + time.minute())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use chrono::FixedOffset;
    use proptest::prelude::*;

    use super::*;

    /// In the week of Monday, 2026-11-23, two hours before UTC.
    fn at(day: u32, clock: &str) -> DateTime<FixedOffset> {
        format!("2026-11-{:02}T{clock}:00+02:00", 22 + day).parse().unwrap()
    }

    #[track_caller]
    fn assert_open(window: &str, at: DateTime<FixedOffset>, expected: bool) {
        assert_eq!(Window::read(window).unwrap().is_open(&at), expected, "{window} at {at}");
    }

    #[test]
    fn hours_are_of_days_and_may_go_over_midnight() {
        assert_open("mon-fri 08:00-18:00", at(1, "08:00"), true);
        assert_open("mon-fri 08:00-18:00", at(1, "18:00"), false);
        assert_open("mon-fri 08:00-18:00", at(6, "12:00"), false);
        assert_open("sat,sun", at(7, "23:59"), true);
        assert_open("Fri 22:00-04:00", at(6, "03:59"), true);
        assert_open("fri 22:00-04:00", at(5, "03:59"), false);
        assert_open("22:00-04:00", at(1, "00:00"), true);
        assert_open("sun-mon 10:00-11:00", at(1, "10:30"), true);
        assert_open("mon 08:00-09:00; tue 10:00-24:00", at(2, "23:59"), true);
        assert_open("sun 22:00-04:00", at(1, "02:00"), true);
        assert_open("00:00-00:00", at(3, "13:00"), true);
    }

    #[test]
    fn it_says_when_it_opens_next() {
        let opens = |window: &str, at: DateTime<FixedOffset>| {
            Window::read(window).unwrap().opens(&at).unwrap().format("%d %H:%M").to_string()
        };
        assert_eq!(opens("mon-fri 08:00-18:00", at(5, "18:00")), "30 06:00", "two hours before UTC");
        assert_eq!(opens("sat 02:00-05:00", at(1, "12:00")), "28 00:00");
        assert_eq!(opens("sat 02:00-05:00", at(6, "03:30")), "28 01:30", "now");
        assert_eq!(opens("mon 08:00-09:00", at(1, "09:30")), "30 06:00", "in a week");
    }

    #[test]
    fn what_are_no_hours_is_not_read() {
        for no in
            ["", ";", "soon", "mon-", "mon 8", "mon 25:00-26:00", "24:00-25:00", "24:00-01:00", "mon fri"]
        {
            assert_eq!(Window::read(no), None, "{no}");
        }
        let stored: Window = serde_json::from_str("\"mon  08:00-09:00;\"").unwrap();
        assert_eq!(serde_json::to_string(&stored).unwrap(), "\"mon  08:00-09:00\"");
    }

    proptest! {
        /// It opens when it says, and not a minute before.
        #[test]
        fn it_is_shut_until_it_opens(from in 0..DAY, length in 1..DAY, day in 0..7_usize, now in 0..7 * DAY) {
            let mut days = [false; 7];
            days[day] = true;
            let span = Span { days, from, minutes: length };
            let window = Window { spans: vec![span], text: String::new() };
            let now = at(1, "00:00").to_utc() + chrono::Duration::minutes(now.into());
            let opens = window.opens(&now).unwrap();
            prop_assert!(window.is_open(&opens));
            if opens > now {
                prop_assert!(!window.is_open(&(opens - chrono::Duration::minutes(1))));
                prop_assert!(opens - now <= chrono::Duration::days(7));
            }
        }
    }
}
