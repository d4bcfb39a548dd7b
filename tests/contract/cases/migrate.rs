//! Moving machines, from one driver to another on the same host.

use std::{net::IpAddr, sync::Arc, time::Instant};

use hypervisor_core::{
    definition::{Disk, DiskFormat},
    driver::{
        Driver, DriverError, GuestEvent, Launch, Power,
        migrate::{Arrival, Copied, Departure, Half, Keys, Migrate, Place},
    },
    handover::Attempt,
};

use super::disks::with_disks;
use crate::story::Story;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// Apart for each case, so that those at once do not meet.
const PORTS: (u16, u16) = (20_000, 40_000);

/// The destination's keys and the source's.
fn keys() -> (Keys, Keys) {
    let (there, here) = (Half::make().unwrap(), Half::make().unwrap());
    (there.with(&here.authority), here.with(&there.authority))
}

/// The two ends of one move: the story's driver is the source.
pub struct Ends {
    pub there: Arc<dyn Driver>,
    pub source: Launch,
    pub destination: Launch,
    pub arrival: Arrival,
    pub departure: Departure,
}

impl Ends {
    /// `disks` of the source go along.
    pub async fn of(story: &mut Story, source: Launch, live: bool) -> Self {
        let there = story.bench.another_host().await;
        let (server, client) = keys();
        let mut destination = Launch { folder: story.bench.launch().folder, ..source.clone() };
        let mut copied = (Vec::new(), Vec::new());
        let seen = story.driver().disks().unwrap().list(&source).await.unwrap();
        for disk in &mut destination.definition.disks {
            let size_bytes =
                seen.iter().find(|seen| seen.name == disk.name).unwrap().file.as_ref().unwrap().size_bytes;
            copied.0.push(Copied { disk: disk.clone(), size_bytes });
            let path = destination.folder.join(format!("{}.qcow2", disk.name));
            *disk = Disk { path, format: DiskFormat::Qcow2, ..disk.clone() };
            copied.1.push(Copied { disk: disk.clone(), size_bytes });
        }
        let attempt = Attempt(uuid::Uuid::new_v4());
        let arrival = Arrival {
            attempt,
            launch: destination.clone(),
            copied: copied.1,
            live,
            postcopy: false,
            keys: server,
            listen: HERE,
            ports: PORTS,
        };
        let place = Place { address: HERE, memory_port: None, disks: vec![] };
        let departure = Departure {
            attempt,
            launch: source.clone(),
            copied: copied.0,
            live,
            place,
            keys: client,
            bytes_per_second: None,
            postcopy: false,
        };
        Self { there, source, destination, arrival, departure }
    }

    pub fn there(&self) -> &dyn Migrate {
        self.there.migrate().unwrap()
    }

    pub async fn prepare(&mut self, story: &Story) {
        self.departure.place = story.goes_well("prepare", self.there().prepare(&self.arrival)).await;
    }

    async fn power_there(&self) -> Power {
        self.there.observe(&self.destination).await.unwrap().power
    }

    /// Nothing of a migration is left.
    async fn nothing_there(&self, story: &Story) {
        assert_eq!(self.power_there().await, Power::Off);
        let mut left = story.bench.leftovers(&self.destination).await;
        // The machine's process is the source's.
        left.retain(|what| !what.starts_with("process"));
        assert_eq!(left, Vec::<String>::new());
    }
}

async fn running(story: &mut Story) -> Launch {
    let launch = with_disks(story, 2).await;
    story.boot(&launch).await;
    launch
}

pub async fn one_that_runs_goes_on_there_and_stands_still_in_between(story: &mut Story) {
    let launch = running(story).await;
    let mut ends = Ends::of(story, launch, true).await;
    let driver = story.driver();
    let here = driver.migrate().unwrap();
    story.goes_well("movable", here.movable(&ends.source, true, &ends.departure.copied)).await;
    ends.prepare(story).await;
    let (sent, received) =
        tokio::join!(here.send(&ends.departure, &|_| {}), ends.there().received(&ends.destination));
    sent.unwrap();
    received.unwrap();
    let cost = story.goes_well("hold", here.hold(&ends.source, true)).await;
    assert!(cost.downtime.is_some());
    assert_eq!(story.power(&ends.source).await, Power::Paused);
    assert_eq!(ends.power_there().await, Power::Paused, "it waits to be let run");
    // Whoever comes after a crash finds it so, on both sides, and goes on.
    for _ in 0..2 {
        let asked = Instant::now();
        let since = story.goes_well("go on", ends.there().go_on(&ends.destination, true)).await;
        assert!(asked <= since && since <= Instant::now(), "its standstill ends within this");
        assert_eq!(ends.power_there().await, Power::Running);
    }
    for _ in 0..2 {
        story.goes_well("clear", here.clear(&ends.source)).await;
    }
    assert_eq!(story.power(&ends.source).await, Power::Off);
    let disks = ends.there.disks().unwrap().list(&ends.destination).await.unwrap();
    assert!(
        disks.iter().all(|disk| disk.plugged && disk.file.as_ref().unwrap().backing.is_none()),
        "{disks:?}"
    );
    ends.there.kill(ends.destination.id).await.unwrap();
}

pub async fn one_that_was_sent_and_is_called_off_runs_on_here(story: &mut Story) {
    let launch = running(story).await;
    let mut ends = Ends::of(story, launch, true).await;
    let driver = story.driver();
    let here = driver.migrate().unwrap();
    ends.prepare(story).await;
    let (sent, received) =
        tokio::join!(here.send(&ends.departure, &|_| {}), ends.there().received(&ends.destination));
    sent.unwrap();
    received.unwrap();
    for _ in 0..2 {
        story.goes_well("call off", here.call_off(&ends.source, true)).await;
        assert_eq!(story.power(&ends.source).await, Power::Running);
    }
    let late = here.hold(&ends.source, true).await;
    assert!(late.is_err(), "it ran on: {late:?}");
    let files: Vec<_> = ends.arrival.copied.iter().map(|copied| copied.disk.path.clone()).collect();
    for _ in 0..2 {
        story.goes_well("discard", ends.there().discard(&ends.destination, &files)).await;
    }
    ends.nothing_there(story).await;
    // It is as it was: nothing was told, and it obeys.
    story.shutdown(ends.source.id).await;
    assert_eq!(story.event(ends.source.id).await, GuestEvent::Halted);
}

pub async fn one_that_does_not_come_is_thrown_away_and_runs_on_here(story: &mut Story) {
    let launch = running(story).await;
    let mut ends = Ends::of(story, launch, true).await;
    let driver = story.driver();
    let here = driver.migrate().unwrap();
    ends.prepare(story).await;
    let files: Vec<_> = ends.arrival.copied.iter().map(|copied| copied.disk.path.clone()).collect();
    story.goes_well("discard", ends.there().discard(&ends.destination, &files)).await;
    ends.nothing_there(story).await;
    let sent = here.send(&ends.departure, &|_| {}).await;
    assert!(sent.is_err(), "nobody is there");
    story.goes_well("call off", here.call_off(&ends.source, true)).await;
    assert_eq!(story.power(&ends.source).await, Power::Running);
    story.shutdown(ends.source.id).await;
    assert_eq!(story.event(ends.source.id).await, GuestEvent::Halted);
}

pub async fn one_without_the_right_keys_is_not_let_in(story: &mut Story) {
    if story.driver().name() == "fake" {
        return;
    }
    let launch = running(story).await;
    let mut ends = Ends::of(story, launch, true).await;
    let driver = story.driver();
    let here = driver.migrate().unwrap();
    ends.prepare(story).await;
    ends.departure.keys = keys().1;
    let sent = here.send(&ends.departure, &|_| {}).await;
    assert!(matches!(sent, Err(DriverError::Unfit(_) | DriverError::System { .. })), "{sent:?}");
    story.goes_well("call off", here.call_off(&ends.source, true)).await;
    assert_eq!(story.power(&ends.source).await, Power::Running);
    ends.there().discard(&ends.destination, &[]).await.unwrap();
}

pub async fn one_at_rest_goes_with_its_disks(story: &mut Story) {
    let launch = with_disks(story, 2).await;
    let mut ends = Ends::of(story, launch, false).await;
    let driver = story.driver();
    let here = driver.migrate().unwrap();
    story.goes_well("movable", here.movable(&ends.source, false, &ends.departure.copied)).await;
    ends.prepare(story).await;
    story.goes_well("send", here.send(&ends.departure, &|_| {})).await;
    story.goes_well("settled", ends.there().settled(&ends.destination)).await;
    story.goes_well("hold", here.hold(&ends.source, false)).await;
    story.goes_well("go on", ends.there().go_on(&ends.destination, false)).await;
    assert_eq!(ends.power_there().await, Power::Off);
    let disks = ends.there.disks().unwrap().list(&ends.destination).await.unwrap();
    assert!(disks.iter().all(|disk| disk.file.is_some()), "{disks:?}");
    let files: Vec<_> = ends.arrival.copied.iter().map(|copied| copied.disk.path.clone()).collect();
    ends.there().discard(&ends.destination, &files).await.unwrap();
    ends.nothing_there(story).await;
}
