//! Rows as aligned lines: tables for people, without tables.

/// The rows as lines whose columns stand under each other, two spaces between them. Widths are
/// counted in characters: wide scripts may stand a little askew.
pub fn aligned(rows: Vec<Vec<String>>) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn columns_stand_under_each_other() {
        let lines =
            aligned(vec![row(&["name", "state"]), row(&["web1", "running"]), row(&["größer", "x", "y"])]);
        assert_eq!(lines, ["name    state", "web1    running", "größer  x        y"]);
        assert!(aligned(Vec::new()).is_empty());
    }
}
