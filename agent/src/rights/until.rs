//! Until when: a moment as people say it, by the host's clock.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};

/// Reads `3d`, `18:00`, `tomorrow`, `friday`, `friday 18:00`, `2027-01-31`, `2027-01-31 18:00`. A day without
/// a time means its end; a time without a day, and a day of the week, the next there is.
pub(crate) fn read<Tz: TimeZone>(text: &str, now: &DateTime<Tz>) -> Option<DateTime<Utc>> {
    said(text, now).filter(writable)
}

/// What is kept as RFC 3339 has it has four digits for its year.
fn writable(at: &DateTime<Utc>) -> bool {
    (0..=9999).contains(&at.year())
}

fn said<Tz: TimeZone>(text: &str, now: &DateTime<Tz>) -> Option<DateTime<Utc>> {
    let text = text.trim().to_lowercase();
    if let Ok(time) = humantime::parse_duration(&text) {
        return now.with_timezone(&Utc).checked_add_signed(chrono::Duration::from_std(time).ok()?);
    }
    let (day, time) = match text.split_once(' ') {
        Some((day, time)) => (day, Some(time.trim())),
        None => (text.as_str(), None),
    };
    let today = now.date_naive();
    if let (Some(time), None) = (clock(day), time) {
        return [today, after(today, 1)?]
            .into_iter()
            .filter_map(|day| at(now, day, time))
            .find(|at| at > now);
    }
    let time = time.map_or(Some(None), |time| clock(time).map(Some))?;
    let end = |day: NaiveDate| match time {
        Some(time) => at(now, day, time),
        None => at(now, after(day, 1)?, NaiveTime::MIN),
    };
    match day {
        "today" => end(today),
        "tomorrow" => end(after(today, 1)?),
        day => match day.parse::<Weekday>() {
            // Eight, as that of today may be over already.
            Ok(weekday) => {
                let days = (0..=7).filter_map(|days| after(today, days));
                days.filter(|day| day.weekday() == weekday).filter_map(end).find(|at| at > now)
            }
            Err(_) => end(day.parse().ok()?),
        },
    }
    .map(|at| at.with_timezone(&Utc))
}

/// Reads a moment that is the same whenever it is read: `2027-01-31 18:00`, `2027-01-31`, or one with a zone.
pub(crate) fn fixed<Tz: TimeZone>(text: &str, now: &DateTime<Tz>) -> Option<DateTime<Utc>> {
    let text = text.trim().replacen('T', " ", 1);
    if let Ok(at) = DateTime::parse_from_rfc3339(&text) {
        return Some(at.to_utc()).filter(writable);
    }
    let (day, time) = text.split_once(' ').unwrap_or((&text, ""));
    day.parse::<NaiveDate>().ok()?;
    let time = if time.len() == "18:00:00".len() { time.strip_suffix(":00")? } else { time };
    read(format!("{day} {time}").trim(), now)
}

fn after(day: NaiveDate, days: u64) -> Option<NaiveDate> {
    day.checked_add_days(Days::new(days))
}

fn clock(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M").ok()
}

/// The later of two moments where a clock is set back; none where it is set forward over it.
fn at<Tz: TimeZone>(now: &DateTime<Tz>, day: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    now.timezone().from_local_datetime(&day.and_time(time)).latest().map(|at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use chrono::FixedOffset;

    use super::*;

    #[test]
    fn people_say_moments_in_many_ways() {
        // A Monday, 13:30, two hours before UTC.
        let zone = FixedOffset::east_opt(7200).unwrap();
        let now = zone.with_ymd_and_hms(2026, 11, 23, 13, 30, 0).unwrap();
        let said = |text: &str| read(text, &now).map(|at| at.format("%m-%d %H:%M").to_string());
        for (text, at) in [
            ("3d", "11-26 11:30"),
            ("90m", "11-23 13:00"),
            ("18:00", "11-23 16:00"),
            ("13:00", "11-24 11:00"),
            ("today", "11-23 22:00"),
            ("tomorrow", "11-24 22:00"),
            ("tomorrow 08:00", "11-24 06:00"),
            ("Friday", "11-27 22:00"),
            ("friday 18:00", "11-27 16:00"),
            ("mon", "11-23 22:00"),
            ("monday 12:00", "11-30 10:00"),
            ("2027-01-31", "01-31 22:00"),
            ("2027-01-31 18:00", "01-31 16:00"),
        ] {
            assert_eq!(said(text).as_deref(), Some(at), "{text}");
        }
        for no in [
            "",
            "soon",
            "25:00",
            "friday 25:00",
            "2027-13-01",
            "friday at six",
            "99999999999y",
            "99999y",
            "+11000-01-01",
        ] {
            assert_eq!(said(no), None, "{no}");
        }
    }

    #[test]
    fn a_file_names_moments_that_do_not_move() {
        let now = FixedOffset::east_opt(7200).unwrap().with_ymd_and_hms(2026, 11, 23, 13, 30, 0).unwrap();
        let said = |text: &str| fixed(text, &now).map(|at| at.format("%m-%d %H:%M").to_string());
        for (text, at) in [
            ("2027-01-31T18:00:00Z", "01-31 18:00"),
            ("2027-01-31 18:00:00+02:00", "01-31 16:00"),
            ("2027-01-31 18:00:00", "01-31 16:00"),
            ("2027-01-31 18:00", "01-31 16:00"),
            ("2027-01-31", "01-31 22:00"),
        ] {
            assert_eq!(said(text).as_deref(), Some(at), "{text}");
        }
        for no in ["3d", "friday", "18:00", "tomorrow 18:00", "2027-01-31 18:00:30", ""] {
            assert_eq!(said(no), None, "{no}");
        }
    }
}
