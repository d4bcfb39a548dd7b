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

/// A size given in bytes: `512 bytes`, `1.5 KiB`, `2 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return count(bytes, "byte");
    };
    let tenths = u128::from(bytes) * 10 / u128::from(unit);
    match (tenths / 10, tenths % 10) {
        (whole, tenth) if tenth == 0 || whole >= 100 => format!("{whole} {name}"),
        (whole, tenth) => format!("{whole}.{tenth} {name}"),
    }
}

/// How much in a second: `1.5 MiB/s`; `0` when nothing.
pub fn rate(bytes_per_second: u64) -> String {
    match bytes_per_second {
        0 => "0".into(),
        1..1024 => format!("{bytes_per_second} B/s"),
        more => format!("{}/s", bytes(more)),
    }
}

/// A part of a hundred: `12.3 %`, from ten on `12 %`.
pub fn percent(percent: f64) -> String {
    match percent {
        small if small.abs() < 0.05 => "0 %".into(),
        small if small.abs() < 9.95 => format!("{small:.1} %"),
        large => format!("{large:.0} %"),
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
    fn bytes_rates_and_percents_are_humane() {
        let sizes = [0, 1, 1023, 1536, 310 << 20, (310 << 20) + (1 << 19), 5 << 30].map(bytes);
        assert_eq!(sizes, ["0 bytes", "1 byte", "1023 bytes", "1.5 KiB", "310 MiB", "310 MiB", "5 GiB"]);
        assert_eq!([0, 512, 1 << 20].map(rate), ["0", "512 B/s", "1 MiB/s"]);
        assert_eq!([0.0, 0.04, 3.06, 9.96, 99.9].map(percent), ["0 %", "0 %", "3.1 %", "10 %", "100 %"]);
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
