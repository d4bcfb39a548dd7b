//! The page for those who read Prometheus' own text format (0.0.4) and not OpenMetrics: most of what is not
//! Prometheus itself, and its `promtool check metrics`. There a counter's family is called as its samples
//! are, `…_total`, and nothing marks the end.

use std::collections::BTreeSet;

/// The format.
pub(super) const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same page in it.
pub(super) fn classic(open: &str) -> String {
    let counters: BTreeSet<&str> =
        open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut page = String::with_capacity(open.len());
    for line in open.lines() {
        let about =
            ["# HELP ", "# TYPE "].into_iter().find_map(|kind| Some((kind, line.strip_prefix(kind)?)));
        match about.and_then(|(kind, rest)| Some((kind, rest.split_once(' ')?))) {
            Some((kind, (family, rest))) if counters.contains(family) => {
                page.extend([kind, family, "_total ", rest, "\n"]);
            }
            None if line == "# EOF" || line.starts_with("# UNIT ") => {}
            _ => page.extend([line, "\n"]),
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_counters_are_called_as_their_samples() {
        let open = "# HELP skerry_commands Commands.\n# TYPE skerry_commands counter\n\
            skerry_commands_total{outcome=\"done\"} 2\n# HELP skerry_load Load.\n# TYPE skerry_load gauge\n\
            skerry_load 0.5\n# EOF\n";
        let classic = classic(open);
        assert_eq!(
            classic,
            "# HELP skerry_commands_total Commands.\n# TYPE skerry_commands_total counter\n\
             skerry_commands_total{outcome=\"done\"} 2\n# HELP skerry_load Load.\n# TYPE skerry_load gauge\n\
             skerry_load 0.5\n"
        );
    }
}
