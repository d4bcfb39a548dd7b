#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + minute * 60, 0).unwrap()
}

fn graph(unit: Unit, numbers: &[&[Option<f64>]]) -> Graph {
    let names = ["busy", "waiting"];
    let series = names.into_iter().zip(numbers).map(|(name, numbers)| Series {
        name,
        points: numbers.iter().enumerate().map(|(minute, number)| (at(minute as i64), *number)).collect(),
    });
    Graph {
        title: "web1: processors, the last hour".into(),
        unit,
        series: series.collect(),
        from: at(0),
        to: at(60),
        step: Duration::minutes(1),
    }
}

#[test]
fn a_scale_is_round_and_nothing_stands_out_of_it() {
    let tops = [0.0, 3.0, 9.0, 21.0, 77.0, 100.0].map(|most| Unit::Percent.top(most));
    assert_eq!(tops, [4.0, 4.0, 10.0, 40.0, 100.0, 100.0]);
    assert_eq!([0.0, 1000.0, 1500.0].map(|most| Unit::Rate.top(most)), [1024.0, 1024.0, 2048.0]);
    assert_eq!(Unit::Bytes.said(Unit::Bytes.top(310.0 * 1_048_576.0)), "400 MiB");
    assert_eq!(Unit::Bytes.said(Unit::Bytes.top(600.0 * 1_048_576.0)), "1 GiB");
    for exponent in 0..60 {
        let most = 1.7_f64.powi(exponent);
        assert!(Unit::Rate.top(most) >= most.min(1e18), "{most}");
    }
}

#[test]
fn what_is_missing_is_a_gap() {
    let numbers = [Some(1.0), Some(2.0), None, Some(3.0), None, Some(4.0), Some(5.0), Some(6.0)];
    let graph = graph(Unit::Percent, &[&numbers]);
    let pieces = graph.pieces(&graph.series[0], 10.0);
    assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 3], "one alone is drawn short");
    assert!(pieces.iter().flatten().all(|(x, y)| *x >= PLOT[0] as f32 && *y <= PLOT[3] as f32));
}

#[test]
fn it_is_drawn_from_whatever_there_is() {
    let wild = [Some(f64::MAX), Some(-1.0), Some(0.0), None, Some(f64::MIN_POSITIVE), Some(1e300)];
    for unit in [Unit::Percent, Unit::Bytes, Unit::Rate] {
        for numbers in [&[][..], &[&wild[..]], &[&wild[..], &wild[..]], &[&[None; 60][..]]] {
            for look in [Look::LIGHT, Look::DARK] {
                let picture = graph(unit, numbers).draw(look).unwrap();
                assert_eq!((picture.width(), picture.height()), (960, 440));
                assert!(!picture.is_blank());
            }
        }
    }
    let nowhere = Graph { from: at(5), to: at(5), ..graph(Unit::Percent, &[&[Some(1.0)]]) };
    assert!(nowhere.draw(Look::LIGHT).is_some());
}

/// A line where it is expected to be: high on the left, low on the right.
#[test]
fn what_was_more_is_higher() {
    let numbers: Vec<Option<f64>> =
        (0..=60).map(|minute| Some(if minute < 30 { 90.0 } else { 10.0 })).collect();
    let picture = graph(Unit::Percent, &[&numbers]).draw(Look::LIGHT).unwrap();
    let is_line = |x: usize, part: f64| {
        let y = PLOT[3] - ((PLOT[3] - PLOT[1]) as f64 * part) as usize;
        let near = y - 2..y + 2;
        near.into_iter().any(|y| {
            let at = (y * WIDTH + x) * 3;
            picture.rgb()[at..at + 3] == Look::LIGHT.series[0]
        })
    };
    let quarter = (PLOT[2] - PLOT[0]) / 4;
    assert!(is_line(PLOT[0] + quarter, 0.9) && is_line(PLOT[2] - quarter, 0.1));
    assert!(!is_line(PLOT[0] + quarter, 0.1) && !is_line(PLOT[2] - quarter, 0.9));
}
