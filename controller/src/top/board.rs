//! What is known of all hosts and their machines, and how it is to be shown. Pure.

use std::{
    cmp::Ordering,
    collections::{HashMap, VecDeque},
};

use skerry_stanzas::{
    natural::natural,
    payload::{HostMetrics, MachineMetrics, Metrics},
    safe::safe_line,
};
use xmpp_parsers::jid::BareJid;

/// How many looks are remembered for the small graphs.
const REMEMBERED: usize = 60;
/// The longest name shown, in characters.
const NAME_CHARS_MAX: usize = 40;

/// What machines are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// Processors of the host.
    Cpu,
    /// Memory held.
    Memory,
    /// To and from disks.
    Disk,
    /// In and out.
    Net,
    /// Waiting for the host.
    Waits,
    /// By name.
    Name,
}

impl SortKey {
    /// In the order in which a key goes through them.
    pub const ALL: [Self; 6] =
        [SortKey::Cpu, SortKey::Memory, SortKey::Disk, SortKey::Net, SortKey::Waits, SortKey::Name];
}

/// One host.
pub struct HostBoard {
    /// Its name.
    pub name: String,
    /// Whose items are its own.
    pub address: BareJid,
    /// The newest look.
    pub metrics: Option<Metrics>,
    /// How busy it was, oldest first.
    pub cpu: VecDeque<f64>,
    machines: HashMap<String, VecDeque<f64>>,
}

/// All there is to be shown.
pub struct Board {
    /// By name.
    pub hosts: Vec<HostBoard>,
    /// What machines are sorted by.
    pub sort: SortKey,
    /// The least first.
    pub reversed: bool,
    /// How many machines are scrolled away.
    pub offset: usize,
    /// What is shown stands still.
    pub paused: bool,
    /// The connection is broken: why.
    pub broken: Option<String>,
}

/// A machine, as a line.
pub struct Row<'a> {
    /// Its host's name.
    pub host: &'a str,
    /// What it uses.
    pub use_of: &'a MachineMetrics,
    /// How busy it was, oldest first.
    pub history: Option<&'a VecDeque<f64>>,
}

impl Board {
    /// Of hosts nothing is known of yet.
    pub fn new(hosts: impl IntoIterator<Item = (String, BareJid)>) -> Self {
        let hosts = hosts.into_iter().map(|(name, address)| HostBoard {
            name,
            address,
            metrics: None,
            cpu: VecDeque::new(),
            machines: HashMap::new(),
        });
        Self {
            hosts: hosts.collect(),
            sort: SortKey::Cpu,
            reversed: false,
            offset: 0,
            paused: false,
            broken: None,
        }
    }

    /// Takes a look in. What comes from anybody but a host of ours, or a second time, is nothing new.
    pub fn take(&mut self, from: &BareJid, mut metrics: Metrics) {
        let Some(host) = self.hosts.iter_mut().find(|host| host.address == *from) else { return };
        if self.paused || host.metrics.as_ref().is_some_and(|known| known.at >= metrics.at) {
            return;
        }
        for machine in &mut metrics.machines {
            machine.name = safe_line(&machine.name, NAME_CHARS_MAX);
        }
        remember(&mut host.cpu, metrics.host.cpu_percent);
        host.machines.retain(|name, _| metrics.machines.iter().any(|machine| machine.name == *name));
        for machine in &metrics.machines {
            remember(host.machines.entry(machine.name.clone()).or_default(), machine.cpu_percent);
        }
        host.metrics = Some(metrics);
    }

    /// The machines, as they are to be shown.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = Vec::new();
        for host in &self.hosts {
            let machines = host.metrics.iter().flat_map(|metrics| &metrics.machines);
            rows.extend(machines.map(|use_of| Row {
                host: &host.name,
                use_of,
                history: host.machines.get(&use_of.name),
            }));
        }
        rows.sort_by(|a, b| natural(&a.use_of.name, &b.use_of.name).then_with(|| natural(a.host, b.host)));
        if self.sort != SortKey::Name {
            rows.sort_by(|a, b| most_first(amount(self.sort, a.use_of), amount(self.sort, b.use_of)));
        }
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    /// How many machines run, those included that the hosts left out.
    pub fn running(&self) -> usize {
        let of = |metrics: &Metrics| metrics.machines.len() + metrics.left_out as usize;
        self.hosts.iter().filter_map(|host| host.metrics.as_ref()).map(of).sum()
    }

    /// Sorts by the next thing, or the one before.
    pub fn sort_on(&mut self, forward: bool) {
        let count = SortKey::ALL.len();
        let at = SortKey::ALL.iter().position(|key| *key == self.sort).unwrap_or(0);
        self.sort = SortKey::ALL[(at + if forward { 1 } else { count - 1 }) % count];
        self.offset = 0;
    }

    /// Scrolls, as far as there is anything.
    pub fn scroll(&mut self, lines: isize) {
        let last = self.rows().len().saturating_sub(1);
        self.offset = self.offset.saturating_add_signed(lines).min(last);
    }
}

fn remember(history: &mut VecDeque<f64>, percent: Option<f64>) {
    history.push_back(percent.unwrap_or(0.0).clamp(0.0, 100.0));
    while history.len() > REMEMBERED {
        history.pop_front();
    }
}

/// What is not known comes last.
fn most_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0))
}

fn amount(key: SortKey, machine: &MachineMetrics) -> Option<f64> {
    match key {
        SortKey::Cpu => machine.host_percent,
        SortKey::Memory => Some(machine.resident_bytes as f64),
        SortKey::Disk => both(machine.disk_read, machine.disk_written).map(|bytes| bytes as f64),
        SortKey::Net => both(machine.net_received, machine.net_sent).map(|bytes| bytes as f64),
        SortKey::Waits => machine.steal_percent,
        SortKey::Name => None,
    }
}

/// Two numbers together, when both are known.
pub fn both(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one?.saturating_add(other?))
}

/// Memory in use of a host, and all of it, in bytes.
pub fn memory(host: &HostMetrics) -> (u64, u64) {
    let used = host.memory_mib.saturating_sub(host.memory_free_mib);
    (used.saturating_mul(1 << 20), host.memory_mib.saturating_mul(1 << 20))
}

/// A row of blocks, one a number, the newest last: at most so many. Nothing at all is the lowest of them.
pub fn spark(history: &VecDeque<f64>, width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = history.iter().skip(history.len().saturating_sub(width));
    let blocks: String =
        shown.map(|percent| BLOCKS[((percent / 100.0 * 8.0) as usize).min(BLOCKS.len() - 1)]).collect();
    format!("{blocks:>width$}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use chrono::DateTime;

    use super::*;

    fn machine(name: &str, percent: f64, resident: u64) -> MachineMetrics {
        MachineMetrics {
            name: name.into(),
            cpu_percent: Some(percent),
            host_percent: Some(percent / 4.0),
            resident_bytes: resident,
            ..MachineMetrics::default()
        }
    }

    fn look(at: i64, machines: Vec<MachineMetrics>) -> Metrics {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        let host = HostMetrics { cpus: 4, cpu_percent: Some(50.0), ..HostMetrics::default() };
        Metrics { at, left_out: 3, host, machines }
    }

    fn kvm1() -> BareJid {
        BareJid::new("kvm1.example.org").unwrap()
    }

    fn names(board: &Board) -> Vec<&str> {
        board.rows().iter().map(|row| row.use_of.name.as_str()).collect()
    }

    #[test]
    fn machines_are_sorted_by_what_is_asked_for() {
        let mut board = Board::new([("kvm1".to_owned(), kvm1())]);
        board.take(
            &kvm1(),
            look(1, vec![machine("a", 1.0, 30), machine("b", 9.0, 10), machine("c", 5.0, 20)]),
        );
        assert_eq!(names(&board), ["b", "c", "a"]);
        board.sort_on(true);
        assert_eq!((board.sort, names(&board)), (SortKey::Memory, vec!["a", "c", "b"]));
        board.reversed = true;
        assert_eq!(names(&board), ["b", "c", "a"]);
        board.sort_on(false);
        board.sort_on(false);
        assert_eq!((board.sort, names(&board)), (SortKey::Name, vec!["c", "b", "a"]));
        assert_eq!(board.running(), 6);
        board.scroll(-5);
        assert_eq!(board.offset, 0);
        board.scroll(50);
        assert_eq!(board.offset, 2);
    }

    #[test]
    fn what_strangers_say_and_what_is_old_is_not_taken() {
        let mut board = Board::new([("kvm1".to_owned(), kvm1())]);
        board.take(&BareJid::new("evil.example.org").unwrap(), look(5, vec![machine("x", 1.0, 1)]));
        assert!(names(&board).is_empty());
        board.take(&kvm1(), look(5, vec![machine("a\u{1b}[2J", 1.0, 1)]));
        assert_eq!(names(&board), ["a"], "nothing a terminal would obey");
        board.take(&kvm1(), look(5, vec![machine("b", 1.0, 1)]));
        board.take(&kvm1(), look(4, vec![machine("c", 1.0, 1)]));
        assert_eq!(names(&board), ["a"]);
        board.paused = true;
        board.take(&kvm1(), look(6, vec![]));
        assert_eq!(names(&board), ["a"]);
    }

    #[test]
    fn small_graphs_are_bounded_and_grow_from_the_right() {
        let mut board = Board::new([("kvm1".to_owned(), kvm1())]);
        for at in 0..200 {
            board.take(&kvm1(), look(at, vec![machine("a", at as f64, 1)]));
        }
        assert_eq!(board.rows()[0].history.unwrap().len(), REMEMBERED);
        let history = VecDeque::from([0.0, 13.0, 50.0, 100.0]);
        assert_eq!(spark(&history, 6), "  ▁▂▅█");
        assert_eq!(spark(&history, 2), "▅█");
    }
}
