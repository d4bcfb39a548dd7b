#![allow(clippy::unwrap_used, clippy::panic)]
use proptest::prelude::*;

use super::*;

/// A trail as a host writes it.
fn trail(bodies: &[&str]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (n, body) in bodies.iter().enumerate() {
        let prev = rows.last().map(|row| row.hash.clone()).unwrap_or_default();
        let mut row = Row {
            seq: n as u64 + 1,
            at: "2026-11-23T17:00:00.5+00:00".into(),
            kind: if n % 2 == 0 { "accepted" } else { "closed" }.into(),
            entry: format!("0197-{}", n / 2),
            body: (*body).to_owned(),
            prev,
            hash: Vec::new(),
        };
        row.hash = row.computed();
        rows.push(row);
    }
    rows
}

const BODIES: [&str; 4] = [
    r#"{"caller":"ann@x/é\n","args":{"wait":1.5}}"#,
    r#"{"done":{"text":"ok","json":{"a":[1,"b"]}}}"#,
    r#"{"caller":"eve@x"}"#,
    "{}",
];

fn file(rows: &[Row]) -> Vec<u8> {
    rows.iter().flat_map(|row| (row.line() + "\n").into_bytes()).collect()
}

/// What is wrong with a file, if anything.
fn flaw(bytes: &[u8], heads: Heads) -> Option<Flaw> {
    let mut check = Check::against(heads);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        if let Err(flaw) = check.add_line(whole.unwrap_or_default()) {
            return Some(flaw);
        }
    }
    check.finish().err()
}

fn head_of(row: &Row) -> Head {
    Head { host: "kvm1".into(), sequence: row.seq, hash: hex(&row.hash), at: row.at.clone() }
}

fn heads_of(rows: &[&Row]) -> Heads {
    let mut heads = Heads::default();
    for row in rows {
        assert_eq!(heads.note(&head_of(row)), Noted::Newer);
    }
    heads
}

#[test]
fn a_line_is_the_row_and_nothing_else_is_one() {
    for row in trail(&BODIES) {
        let line = row.line();
        assert_eq!(Row::parse(&line), Some(row), "{line}");
        for odd in [
            format!(" {line}"),
            format!("{line} "),
            line.replace("\"at\"", "\"At\""),
            line.replacen(':', ": ", 1),
        ] {
            assert_eq!(Row::parse(&odd), None, "{odd}");
        }
    }
    assert_eq!(unhex("0aff"), Some(vec![10, 255]));
    assert!(unhex("0A").is_none() && unhex("0").is_none() && unhex("zz").is_none());
}

#[test]
fn every_single_bit_of_a_file_is_missed_when_it_is_turned() {
    let rows = trail(&BODIES);
    let whole = file(&rows);
    assert_eq!(flaw(&whole, heads_of(&[&rows[3]])), None);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut turned = whole.clone();
            turned[at] ^= 1 << bit;
            let found = flaw(&turned, Heads::default());
            assert!(found.is_some(), "bit {bit} of byte {at}: {}", String::from_utf8_lossy(&turned));
        }
    }
}

#[test]
fn every_single_bit_of_every_field_is_found_at_its_row() {
    let rows = trail(&BODIES);
    for (at, row) in rows.iter().enumerate() {
        let check = |changed: Row, what: &str| {
            let mut all = rows.clone();
            all[at] = changed;
            let mut check = Check::default();
            let found = all.iter().find_map(|row| check.add(row).err());
            let Some(found) = found else { panic!("{what} of row {} was not missed", row.seq) };
            let near = match found {
                Flaw::Altered(seq) | Flaw::NotLinked(seq) | Flaw::OutOfOrder(seq) => seq,
                Flaw::Missing(from, _) => from,
                other => panic!("{other:?}"),
            };
            // A number is wrong where it stands; the last hash of a row may be seen at the next.
            assert!(
                what == "seq" || near == row.seq || near == row.seq + 1,
                "{what} of {}: {found:?}",
                row.seq
            );
        };
        for bit in 0..64 {
            // The first number of an export may be any; what is turned in it is seen at the next.
            check(Row { seq: row.seq ^ (1 << bit), ..row.clone() }, "seq");
        }
        let bits = |len: usize| (0..len * 8).map(|bit| (bit / 8, 1_u8 << (bit % 8)));
        for (byte, mask) in bits(row.hash.len()) {
            let mut hash = row.hash.clone();
            hash[byte] ^= mask;
            check(Row { hash, ..row.clone() }, "hash");
        }
        for (byte, mask) in bits(row.prev.len()) {
            let mut prev = row.prev.clone();
            prev[byte] ^= mask;
            check(Row { prev, ..row.clone() }, "prev");
        }
        let turned = |text: &str, byte: usize, mask: u8| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[byte] ^= mask;
            String::from_utf8_lossy(&bytes).into_owned()
        };
        for (byte, mask) in bits(row.body.len()) {
            check(Row { body: turned(&row.body, byte, mask), ..row.clone() }, "body");
        }
        for (byte, mask) in bits(row.at.len()) {
            check(Row { at: turned(&row.at, byte, mask), ..row.clone() }, "at");
        }
        for (byte, mask) in bits(row.kind.len()) {
            check(Row { kind: turned(&row.kind, byte, mask), ..row.clone() }, "kind");
        }
        for (byte, mask) in bits(row.entry.len()) {
            check(Row { entry: turned(&row.entry, byte, mask), ..row.clone() }, "entry");
        }
    }
}

#[test]
fn what_is_dropped_doubled_or_swapped_is_found_where_it_is() {
    let rows = trail(&BODIES);
    for at in 0..rows.len() {
        let mut dropped = rows.clone();
        dropped.remove(at);
        let found = flaw(&file(&dropped), heads_of(&[&rows[0], &rows[3]]));
        match at {
            // It begins later, as an export may; whoever has a head of before says so.
            0 => assert_eq!(found, None),
            3 => assert_eq!(found, Some(Flaw::Truncated(3, head_of(&rows[3])))),
            _ => assert_eq!(found, Some(Flaw::Missing(at as u64 + 1, at as u64 + 1))),
        }
        let mut doubled = rows.clone();
        doubled.insert(at, rows[at].clone());
        assert_eq!(flaw(&file(&doubled), Heads::default()), Some(Flaw::OutOfOrder(at as u64 + 1)));
        for other in at + 1..rows.len() {
            let mut swapped = rows.clone();
            swapped.swap(at, other);
            assert!(flaw(&file(&swapped), Heads::default()).is_some(), "{at} {other}");
            // Numbered anew, it does not follow all the same.
            for (n, row) in swapped.iter_mut().enumerate() {
                row.seq = n as u64 + 1;
            }
            assert!(flaw(&file(&swapped), Heads::default()).is_some(), "{at} {other} numbered anew");
        }
    }
}

#[test]
fn whoever_writes_a_whole_trail_anew_is_found_by_a_head() {
    let rows = trail(&BODIES);
    let mut bodies = BODIES;
    bodies[1] = "{\"done\":{\"text\":\"nothing happened\"}}";
    let forged = trail(&bodies);
    assert_eq!(flaw(&file(&forged), Heads::default()), None, "by itself it is whole");
    for row in &rows[1..] {
        let head = head_of(row);
        assert_eq!(flaw(&file(&forged), heads_of(&[row])), Some(Flaw::Forked(head)), "{row:?}");
    }
    for cut in 0..4 {
        let found = flaw(&file(&rows[..cut]), heads_of(&[&rows[3]]));
        assert_eq!(found, Some(Flaw::Truncated(cut as u64, head_of(&rows[3]))));
    }
}

#[test]
fn a_host_that_contradicts_itself_is_noticed() {
    let rows = trail(&BODIES);
    let mut heads = heads_of(&[&rows[1], &rows[2]]);
    assert_eq!(heads.note(&head_of(&rows[1])), Noted::Known);
    let forged = Head { hash: "00".repeat(32), ..head_of(&rows[2]) };
    assert!(matches!(heads.note(&forged), Noted::Contradicts(Contradiction::Forked(_))));
    assert!(matches!(heads.note(&head_of(&rows[0])), Noted::Contradicts(Contradiction::WentBack(..))));
    assert_eq!(heads.note(&head_of(&rows[3])), Noted::Newer);
    let lines: String =
        [head_of(&rows[2]), forged].iter().map(|head| serde_json::to_string(head).unwrap() + "\n").collect();
    assert!(matches!(Heads::of_lines(&lines, None), Err(Unfit::Contradict(_))));
}

proptest! {
    #[test]
    fn any_change_of_any_file_is_found(
        bodies in proptest::collection::vec("[a-zé\"\\\\ ]{0,12}", 1..6),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let bodies: Vec<String> = bodies.iter().map(|text| serde_json::to_string(text).unwrap()).collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        let rows = trail(&bodies);
        let mut bytes = file(&rows);
        prop_assert_eq!(flaw(&bytes, Heads::default()), None);
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert!(flaw(&bytes, Heads::default()).is_some());
    }

    #[test]
    fn no_line_is_read_as_something_else(line in "\\PC{0,120}") {
        if let Some(row) = Row::parse(&line) {
            prop_assert_eq!(row.line(), line);
        }
    }
}
