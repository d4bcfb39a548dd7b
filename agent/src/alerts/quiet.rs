//! Hours at which somebody is told nothing: `22:00-07:00`, by a clock so far before UTC.

use chrono::{DateTime, Timelike, Utc};
use skerry_stanzas::{
    refusal::{Reason, Refusal},
    safe::safe_line,
};

/// Minutes of a day.
const DAY: i32 = 24 * 60;

/// Quiet hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Quiet {
    /// Minutes since midnight.
    from: i32,
    /// Minutes since midnight; earlier than `from` on the next day.
    to: i32,
    /// How many minutes before UTC their clock is.
    zone: i32,
}

impl Quiet {
    /// Reads them; none for `off`.
    ///
    /// # Errors
    /// What to write.
    pub(crate) fn parse(hours: &str, zone: &str) -> Result<Option<Self>, Refusal> {
        if hours.trim().eq_ignore_ascii_case("off") {
            return Ok(None);
        }
        let said = safe_line(hours, 30);
        let wrong = || {
            Refusal::new(Reason::BadRequest, format!("{said:?} are no hours."))
                .field("hours")
                .hint("Write 22:00-07:00, or off.")
        };
        let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (minutes(from).ok_or_else(wrong)?, minutes(to).ok_or_else(wrong)?);
        if from == to {
            return Err(Refusal::new(Reason::BadRequest, "That would be always, or never.")
                .field("hours")
                .hint("Remove your alerts if you want none: alert remove."));
        }
        let no_zone = || {
            Refusal::new(Reason::BadRequest, format!("{:?} is no distance from UTC.", safe_line(zone, 20)))
                .field("zone")
                .hint("Write +02:00, or -05:30.")
        };
        let signed = zone.trim();
        let (sign, rest) = match signed.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, signed.strip_prefix('+').unwrap_or(signed)),
        };
        let away = minutes(rest).filter(|away| *away <= 14 * 60).ok_or_else(no_zone)?;
        Ok(Some(Self { from, to, zone: sign * away }))
    }

    /// Whether it is quiet at a moment.
    pub(crate) fn is_now(&self, at: DateTime<Utc>) -> bool {
        let utc = i32::try_from(at.hour() * 60 + at.minute()).unwrap_or(0);
        let here = (utc + self.zone).rem_euclid(DAY);
        match self.from < self.to {
            true => (self.from..self.to).contains(&here),
            false => here >= self.from || here < self.to,
        }
    }

    /// In words: `22:00-07:00 +02:00`.
    pub(crate) fn said(&self) -> String {
        let clock = |minutes: i32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let sign = if self.zone < 0 { '-' } else { '+' };
        format!("{}-{} {sign}{}", clock(self.from), clock(self.to), clock(self.zone.abs()))
    }
}

/// `22:00`, or `22`, in minutes.
fn minutes(text: &str) -> Option<i32> {
    let (hours, minutes) = text.trim().split_once(':').unwrap_or((text.trim(), "0"));
    let digits =
        |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn at(clock: &str) -> DateTime<Utc> {
        format!("2026-11-23T{clock}:00Z").parse().unwrap()
    }

    #[test]
    fn a_night_goes_over_midnight_and_by_their_own_clock() {
        let night = Quiet::parse("22:00-07:00", "+02:00").unwrap().unwrap();
        let quiet = |clock: &str| night.is_now(at(clock));
        assert!(quiet("20:00") && quiet("23:59") && quiet("00:00") && quiet("04:59"));
        assert!(!quiet("05:00") && !quiet("12:00") && !quiet("19:59"));
        assert_eq!(night.said(), "22:00-07:00 +02:00");
        let lunch = Quiet::parse("12-13:30", "-05:30").unwrap().unwrap();
        assert!(lunch.is_now(at("17:30")) && lunch.is_now(at("18:59")) && !lunch.is_now(at("19:00")));
        assert_eq!(lunch.said(), "12:00-13:30 -05:30");
        assert_eq!(Quiet::parse("OFF", "").unwrap(), None);
    }

    #[test]
    fn what_are_no_hours_is_refused() {
        for odd in
            ["", "22", "22:00", "25:00-07:00", "22:60-07:00", "a-b", "22:00-22:00", "1-2-3", "-1-2", "٢٢-٠٧"]
        {
            assert!(Quiet::parse(odd, "+00:00").is_err(), "{odd}");
        }
        for odd in ["x", "+15:00", "+1:2:3", "--1", ""] {
            assert!(Quiet::parse("22-7", odd).is_err(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_day_has_as_many_quiet_minutes_as_were_asked_for(
            from in 0..DAY, length in 1..DAY, zone in -840..=840_i32,
        ) {
            let quiet = Quiet { from, to: (from + length) % DAY, zone };
            let day = at("00:00");
            let at = |minute: i32| day + chrono::Duration::minutes(minute.into());
            let count = (0..DAY).filter(|minute| quiet.is_now(at(*minute))).count();
            prop_assert_eq!(count, usize::try_from(length).unwrap());
        }
    }
}
