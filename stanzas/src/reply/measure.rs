//! Sizes, times and lengths of time as people read them.

use chrono::{DateTime, Utc};

/// A size given in MiB: `512 MiB`, `1.5 GiB`, `2 TiB`.
pub fn size(mib: u64) -> String {
    let (unit, name) = match mib {
        0..1024 => return format!("{mib} MiB"),
        1024..1_048_576 => (1024, "GiB"),
        _ => (1_048_576, "TiB"),
    };
    // Tenths, cut rather than rounded: nothing looks larger than it is.
    let tenths = u128::from(mib) * 10 / unit;
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

/// A moment, to the minute: `2026-11-22 20:31 UTC`.
pub fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A length of time in its two largest units: `3 days 4 h`, `2 min 5 s`.
pub fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "days"), (3600, "h"), (60, "min"), (1, "s")];
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let mut left = seconds;
    let mut parts = Vec::new();
    for (unit, name) in UNITS.iter().skip(largest).take(2) {
        let count = left / unit;
        left %= unit;
        if count > 0 || parts.is_empty() {
            let name = if *name == "days" && count == 1 { "day" } else { name };
            parts.push(format!("{count} {name}"));
        }
    }
    parts.join(" ")
}

/// A count and its noun: `1 machine`, `2 machines`.
pub fn count(count: impl Into<u64>, one: &str) -> String {
    match count.into() {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    }
}

/// A switch as people say it.
pub const fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_humane() {
        let sizes = [0, 512, 1023, 1024, 1536, 2048, 16_000, 1_048_576, u64::MAX].map(size);
        assert_eq!(
            sizes,
            [
                "0 MiB",
                "512 MiB",
                "1023 MiB",
                "1 GiB",
                "1.5 GiB",
                "2 GiB",
                "15.6 GiB",
                "1 TiB",
                "17592186044415.9 TiB"
            ]
        );
    }

    #[test]
    fn lengths_of_time_are_humane() {
        let lengths = [0, 59, 60, 125, 3600, 3661, 86_400, 90_000, 1_000_000].map(duration);
        assert_eq!(
            lengths,
            ["0 s", "59 s", "1 min", "2 min 5 s", "1 h", "1 h 1 min", "1 day", "1 day 1 h", "11 days 13 h"]
        );
    }

    #[test]
    fn moments_are_to_the_minute() {
        let at = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap_or_default();
        assert_eq!(moment(at), "2023-11-14 22:13 UTC");
    }

    #[test]
    fn nouns_have_their_number() {
        assert_eq!([0_u32, 1, 2].map(|n| count(n, "machine")), ["0 machines", "1 machine", "2 machines"]);
    }
}
