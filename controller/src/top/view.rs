//! The board on the screen: a line a host, a line a machine, as many columns as there is room for.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Row as TableRow, Table},
};
use skerry_stanzas::reply::measure::{bytes, percent, rate};

use super::board::{Board, HostBoard, Row, SortKey, both, memory, spark};

/// How wide small graphs are.
const SPARK: usize = 20;
/// From how much on a percentage is worth a look, and from how much on a worry.
const HIGH: [f64; 2] = [60.0, 85.0];

/// A column.
struct Column {
    head: &'static str,
    /// What sorts by it.
    key: Option<SortKey>,
    width: u16,
    /// The lower, the sooner it is there.
    rank: u8,
    cell: fn(&Row<'_>) -> String,
}

impl Column {
    const fn new(
        head: &'static str,
        key: Option<SortKey>,
        width: u16,
        rank: u8,
        cell: fn(&Row<'_>) -> String,
    ) -> Self {
        Self { head, key, width, rank, cell }
    }
}

const COLUMNS: [Column; 10] = [
    Column::new("MACHINE", Some(SortKey::Name), 16, 0, |row| row.use_of.name.clone()),
    Column::new("HOST", None, 10, 8, |row| row.host.to_owned()),
    Column::new("CPU", Some(SortKey::Cpu), 6, 1, |row| of(row.use_of.cpu_percent)),
    Column::new("OF HOST", None, 7, 6, |row| of(row.use_of.host_percent)),
    Column::new("WAITS", Some(SortKey::Waits), 6, 5, |row| of(row.use_of.steal_percent)),
    Column::new("MEMORY", Some(SortKey::Memory), 9, 2, |row| bytes(row.use_of.resident_bytes)),
    Column::new("INSIDE", None, 9, 9, |row| row.use_of.guest_used_bytes.map_or_else(unknown, bytes)),
    Column::new("DISK", Some(SortKey::Disk), 11, 3, |row| {
        at(both(row.use_of.disk_read, row.use_of.disk_written))
    }),
    Column::new("NET", Some(SortKey::Net), 11, 4, |row| {
        at(both(row.use_of.net_received, row.use_of.net_sent))
    }),
    Column::new("LATELY", None, 20, 7, |row| {
        row.history.map(|history| spark(history, SPARK)).unwrap_or_default()
    }),
];

/// Between columns.
const SPACING: u16 = 2;

/// The columns there is room for, in their order.
fn fitting(width: u16, several_hosts: bool) -> Vec<&'static Column> {
    let mut ranked: Vec<&Column> =
        COLUMNS.iter().filter(|column| several_hosts || column.head != "HOST").collect();
    ranked.sort_by_key(|column| column.rank);
    let mut room = width.max(COLUMNS[0].width) + SPACING;
    ranked.retain(|column| match room.checked_sub(column.width + SPACING) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    });
    let ranks: Vec<u8> = ranked.iter().map(|column| column.rank).collect();
    COLUMNS.iter().filter(|column| ranks.contains(&column.rank)).collect()
}

fn unknown() -> String {
    "-".into()
}

fn of(known: Option<f64>) -> String {
    known.map_or_else(unknown, percent)
}

fn at(known: Option<u64>) -> String {
    known.map_or_else(unknown, rate)
}

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, board: &Board, colours: bool) {
    let hosts = u16::try_from(board.hosts.len()).unwrap_or(u16::MAX).min(frame.area().height / 3).max(1);
    let parts =
        [Constraint::Length(hosts), Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)];
    let [top, _, middle, bottom] = Layout::vertical(parts).areas(frame.area());
    let lines: Vec<Line<'_>> = board.hosts.iter().map(|host| host_line(host, top.width, colours)).collect();
    frame.render_widget(Paragraph::new(lines), top);
    machines(frame, board, middle, colours);
    foot(frame, board, bottom, colours);
}

/// A host: name, processors with a small graph, memory, load, and what goes through it, as far as it fits.
fn host_line(host: &HostBoard, width: u16, colours: bool) -> Line<'static> {
    let mut spans = vec![Span::styled(format!("{:<12}", host.name), Modifier::BOLD)];
    let Some(metrics) = &host.metrics else {
        spans.push(Span::styled(" nothing heard yet", faint(colours)));
        return Line::from(spans);
    };
    let use_of = &metrics.host;
    let busy = use_of.cpu_percent.unwrap_or(0.0);
    let graph = if width >= 90 { SPARK } else { 8 };
    spans.push(Span::styled(format!(" {} ", spark(&host.cpu, graph)), heat(busy, colours)));
    spans.push(Span::styled(format!("{:>5}", of(use_of.cpu_percent)), heat(busy, colours)));
    let (used, all) = memory(use_of);
    let full = if all == 0 { 0.0 } else { used as f64 / all as f64 * 100.0 };
    let more = [
        (format!(" of {}", use_of.cpus), Style::new()),
        (format!("  load {:.2}", use_of.load), Style::new()),
        (format!("  memory {} of {}", bytes(used), bytes(all)), heat(full, colours)),
        (format!("  disk {}", at(both(use_of.disk_read, use_of.disk_written))), Style::new()),
        (format!("  net {}", at(both(use_of.net_received, use_of.net_sent))), Style::new()),
        (format!("  waits {}", of(use_of.cpu_pressure)), heat(use_of.cpu_pressure.unwrap_or(0.0), colours)),
    ];
    let mut left = usize::from(width).saturating_sub(spans.iter().map(Span::width).sum());
    for (text, style) in more {
        let wide = text.chars().count();
        if wide > left {
            break;
        }
        left -= wide;
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

fn machines(frame: &mut Frame<'_>, board: &Board, area: Rect, colours: bool) {
    let shown = fitting(area.width, board.hosts.len() > 1);
    let widths = shown.iter().enumerate().map(|(nth, column)| match nth {
        0 => Constraint::Min(column.width),
        _ => Constraint::Length(column.width),
    });
    let cell = |nth: usize, column: &Column, text: String| {
        // Numbers end where their heads end.
        let alignment = if nth == 0 || column.head == "HOST" { Alignment::Left } else { Alignment::Right };
        Line::from(text).alignment(alignment)
    };
    let heads = shown.iter().enumerate().map(|(nth, column)| {
        let sorts = column.key == Some(board.sort);
        let mark = if sorts && board.reversed {
            "▴"
        } else if sorts {
            "▾"
        } else {
            ""
        };
        let style = if sorts { Modifier::BOLD | Modifier::REVERSED } else { Modifier::BOLD };
        cell(nth, column, format!("{}{mark}", column.head)).style(style)
    });
    let rows = board.rows();
    let lines = rows.iter().skip(board.offset).map(|row| {
        let cells = shown.iter().enumerate().map(|(nth, column)| {
            let style = match column.head {
                "CPU" | "LATELY" => heat(row.use_of.cpu_percent.unwrap_or(0.0), colours),
                "WAITS" => heat(row.use_of.steal_percent.unwrap_or(0.0) * 4.0, colours),
                _ => Style::new(),
            };
            cell(nth, column, (column.cell)(row)).style(style)
        });
        TableRow::new(cells)
    });
    let table = Table::new(lines, widths).header(TableRow::new(heads)).column_spacing(SPACING);
    frame.render_widget(table, area);
}

/// What can be pressed, and what is the matter.
fn foot(frame: &mut Frame<'_>, board: &Board, area: Rect, colours: bool) {
    let said = match (&board.broken, board.paused) {
        (Some(why), _) => format!("not connected: {why}"),
        (None, true) => "held still; p goes on".to_owned(),
        (None, false) => {
            let running = board.running();
            let listed = board.rows().len();
            let more =
                if running > listed { format!(", the busiest {listed} of them") } else { String::new() };
            format!("{running} running{more}")
        }
    };
    let keys = "q quit  s sort  r reverse  p pause  ↑↓ scroll";
    let room = usize::from(area.width).saturating_sub(said.chars().count() + 2);
    let keys = if keys.chars().count() <= room { keys } else { "q quit" };
    let left = Paragraph::new(Span::styled(
        said,
        if board.broken.is_some() { heat(100.0, colours) } else { faint(colours) },
    ));
    frame.render_widget(left, area);
    frame.render_widget(Paragraph::new(Span::styled(keys, faint(colours))).alignment(Alignment::Right), area);
}

fn faint(colours: bool) -> Style {
    if colours { Style::new().add_modifier(Modifier::DIM) } else { Style::new() }
}

/// The colour of a percentage.
fn heat(percent: f64, colours: bool) -> Style {
    match percent {
        _ if !colours => Style::new(),
        high if high >= HIGH[1] => Style::new().fg(Color::Red),
        some if some >= HIGH[0] => Style::new().fg(Color::Yellow),
        _ => Style::new().fg(Color::Green),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use chrono::DateTime;
    use ratatui::{Terminal, backend::TestBackend};
    use skerry_stanzas::payload::{HostMetrics, MachineMetrics, Metrics};
    use xmpp_parsers::jid::BareJid;

    use super::*;

    fn board() -> Board {
        let address = |name: &str| BareJid::new(&format!("{name}.example.org")).unwrap();
        let mut board = Board::new(["kvm1", "kvm2"].map(|name| (name.to_owned(), address(name))));
        let machine = |name: &str, percent: f64| MachineMetrics {
            name: name.into(),
            vcpus: 2,
            memory_mib: 512,
            cpu_percent: Some(percent),
            host_percent: Some(percent / 4.0),
            steal_percent: Some(0.5),
            resident_bytes: 310 << 20,
            guest_used_bytes: Some(120 << 20),
            disk_read: Some(1 << 20),
            disk_written: Some(0),
            ..MachineMetrics::default()
        };
        for at in 1..4 {
            let host = HostMetrics {
                cpus: 8,
                load: 2.5,
                memory_mib: 16_384,
                memory_free_mib: 9216,
                cpu_percent: Some(37.5),
                disk_read: Some(0),
                disk_written: Some(3 << 20),
                cpu_pressure: Some(1.5),
                ..HostMetrics::default()
            };
            let at = DateTime::from_timestamp(at, 0).unwrap();
            let machines = vec![machine("web1", 12.0), machine("database", 97.0)];
            board.take(&address("kvm1"), Metrics { at, left_out: 0, host, machines });
        }
        board
    }

    fn drawn(board: &Board, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, board, false)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_wide_screen_shows_everything() {
        let lines = drawn(&board(), 124, 8);
        assert_eq!(
            lines,
            [
                "kvm1                          ▄▄▄  38 % of 8  load 2.50  memory 7 GiB of 16 GiB  disk 3 MiB/s  net -  waits 1.5 %",
                "kvm2         nothing heard yet",
                "",
                "MACHINE            HOST          CPU▾  OF HOST   WAITS     MEMORY     INSIDE         DISK          NET                LATELY",
                "database           kvm1          97 %     24 %   0.5 %    310 MiB    120 MiB      1 MiB/s            -                   ███",
                "web1               kvm1          12 %    3.0 %   0.5 %    310 MiB    120 MiB      1 MiB/s            -                   ▁▁▁",
                "",
                "2 running                                                                      q quit  s sort  r reverse  p pause  ↑↓ scroll",
            ]
        );
    }

    #[test]
    fn a_narrow_screen_shows_what_matters_most() {
        let heads =
            |width: u16| -> Vec<&str> { fitting(width, true).iter().map(|column| column.head).collect() };
        assert_eq!(heads(1), ["MACHINE"]);
        assert_eq!(heads(40), ["MACHINE", "CPU", "MEMORY"]);
        assert_eq!(heads(80), ["MACHINE", "CPU", "OF HOST", "WAITS", "MEMORY", "DISK", "NET"]);
        assert_eq!(heads(300).len(), COLUMNS.len());
        assert!(!fitting(300, false).iter().any(|column| column.head == "HOST"));
    }

    #[test]
    fn every_size_of_a_screen_shows_something() {
        let mut board = board();
        board.broken = Some("the server went away".into());
        for (width, height) in [(1, 1), (10, 2), (20, 5), (40, 10), (80, 24), (300, 80)] {
            let lines = drawn(&board, width, height);
            if width >= 40 {
                assert!(lines.iter().any(|line| line.contains("database")), "{width} × {height}: {lines:#?}");
            }
        }
    }
}
