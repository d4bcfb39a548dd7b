//! Real guests move between two hosts that reach each other over a real server, at two addresses of the loopback
//! network: what counts in the guest goes on counting, and no number comes twice.

use std::{
    fs::File,
    io::{Read, Seek},
    path::PathBuf,
};

use skerry_link::Ask;
use skerry_stanzas::{ns, reply::UNDER_WAY};
use skerry_tests::{
    client::Client,
    lab::{Host, Lab, Wanted},
    vitals::until,
};

use crate::real_guests::Guest;

/// What the guest counts with: a line for each number, some twenty a second.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo count $i; usleep 50000; done &";
/// As often as the console is looked at for something.
const TRIES: usize = 600;

/// Two hosts, the first with the machine web1 of a real guest that counts.
pub struct Scene {
    pub lab: Lab,
    pub client: Client,
    /// The console's log at the first host, held open: it is read when its folder is gone.
    log: File,
}

fn numbers(log: &str) -> Vec<u64> {
    log.lines().filter_map(|line| line.trim().strip_prefix("count ")?.parse().ok()).collect()
}

impl Scene {
    async fn counting(prepare: &[(&str, &[&str])]) -> Self {
        Self::counting_over("prosody", "component", prepare).await
    }

    /// The same over this server and link.
    pub async fn counting_over(
        server: &'static str,
        link: &'static str,
        prepare: &[(&str, &[&str])],
    ) -> Self {
        let lab = Wanted::new(server, link).hosts(2).machines(1).real_guests().up().await.unwrap();
        let guest = Guest::of(&lab, "admin").await;
        for (verb, argv) in prepare {
            guest.ask(verb, argv).await;
        }
        guest.ask("start", &[]).await;
        guest.booted().await;
        Self::of(lab, guest).await
    }

    /// The guest, which runs, begins to count.
    pub async fn of(lab: Lab, guest: Guest) -> Self {
        guest.says("send", &[&format!("--line={COUNT}")]).await;
        let path = logs(&lab.record.hosts[0]).pop().unwrap();
        let log = File::open(&path).unwrap();
        until("it counts", || numbers(&std::fs::read_to_string(&path).unwrap()).len() > 20).await.unwrap();
        let client = guest.client;
        Self { lab, client, log }
    }

    /// Where the machine is asked at a host: at its own address, or under its name at the host's.
    pub fn jid(&self, host: usize) -> String {
        let jid = &self.lab.record.hosts[host].jid;
        if self.is_named(host) { jid.clone() } else { format!("web1@{jid}") }
    }

    /// Whether machines of a host have no address of their own.
    fn is_named(&self, host: usize) -> bool {
        self.lab.record.hosts[host].jid.contains('@')
    }

    /// Gives a command to the machine at a host, and waits for what comes of it.
    pub async fn says(&self, host: usize, verb: &str, argv: &[&str]) -> String {
        let node = if self.is_named(host) { format!("machine/web1/{verb}") } else { verb.to_owned() };
        let answer = self.client.command(&self.jid(host), &node, argv).await.unwrap();
        answer.note.unwrap().text
    }

    /// Whoever asks at the old address is told the new one.
    pub async fn is_gone(&self) {
        let gone = self.client.command(&self.jid(0), "status", &[]).await.unwrap_err();
        let Some(Ask::Refused(iq)) = gone.downcast_ref::<Ask>() else { panic!("{gone:?}") };
        let error = iq.get_child("error", ns::CLIENT);
        let gone = error.and_then(|error| error.get_child("gone", ns::STANZA_ERRORS));
        assert_eq!(gone.unwrap().text(), format!("xmpp:{}", self.jid(1)), "RFC 6120 §8.3.3.5");
    }

    /// Moves it to the second host; what comes of it.
    pub async fn moves(&self, argv: &[&str]) -> String {
        moved(&self.client, &self.lab.record.hosts[0].jid, argv).await
    }

    /// Moves it back to the first host; what comes of it.
    pub async fn moves_back(&self) -> String {
        moved_to(&self.client, &self.lab.record.hosts[1].jid, "--to=kvm1", &[]).await
    }

    /// The machine is at the second host and counts on there: no number is missing, none comes twice.
    pub async fn counts_on(&mut self) {
        let there = logs(&self.lab.record.hosts[1]).pop().unwrap();
        let mut before = String::new();
        self.log.rewind().unwrap();
        self.log.read_to_string(&mut before).unwrap();
        let before = numbers(&before);
        let read = || String::from_utf8_lossy(&std::fs::read(&there).unwrap()).into_owned();
        until("it counts on", || numbers(&read()).len() > 20).await.unwrap();
        let after = numbers(&read());
        let all: Vec<u64> = before.iter().chain(&after).copied().collect();
        let steps: Vec<u64> = all.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        // What is typed stands in between, and takes a line apart: then its number is not seen.
        let odd = steps.iter().filter(|step| **step != 1).count();
        assert!(steps.iter().all(|step| (1..=3).contains(step)) && odd <= 5, "{before:?} {after:?}");
        assert_eq!(logs(&self.lab.record.hosts[0]), Vec::<PathBuf>::new(), "nothing is left of it");
    }
}

/// The consoles' logs of a host's machines.
fn logs(host: &Host) -> Vec<PathBuf> {
    let machines = host.config.with_file_name("state").join("machines");
    let folders = std::fs::read_dir(machines).unwrap().map(|entry| entry.unwrap().path());
    folders.map(|folder| folder.join("console.log")).filter(|log| log.exists()).collect()
}

/// Asks a host to move its machine, again and again until it has an end.
async fn moved(client: &Client, host: &str, argv: &[&str]) -> String {
    moved_to(client, host, "--to=kvm2", argv).await
}

async fn moved_to(client: &Client, host: &str, to: &str, argv: &[&str]) -> String {
    let argv = [&[to], argv].concat();
    loop {
        let answer = client.command_as("the-move", host, "machine/web1/migrate", &argv).await.unwrap();
        let going = answer.json.as_ref().is_some_and(|json| json[UNDER_WAY] == true);
        if !going {
            return answer.note.unwrap().text;
        }
    }
}

pub fn is_moved(said: &str) {
    assert!(said.contains("now, and stood still for"), "{said}");
    println!("{said}");
}

#[tokio::test]
async fn a_guest_counts_on_at_the_other_host_with_its_disk() {
    let mut scene = Scene::counting(&[("disk-create", &["--name=data", "--size=64M"])]).await;
    scene.says(0, "send", &["--line=echo kept >/dev/vda; sync"]).await;
    let plan = scene.says(0, "migrate", &["--to=kvm2", "--dry-run"]).await;
    assert!(plan.contains("its disk data is copied"), "{plan}");
    is_moved(&scene.moves(&[]).await);
    scene.counts_on().await;
    // What counts leaves the console no quiet moment, for which `send` waits.
    scene.says(1, "send", &["--line=kill $!"]).await;
    let mut held = String::new();
    for _ in 0..TRIES {
        let line = "--line=echo 3 >/proc/sys/vm/drop_caches; head -n 1 /dev/vda";
        held = scene.says(1, "send", &[line]).await;
        if held.lines().any(|line| line.trim() == "kept") {
            break;
        }
    }
    assert!(held.contains("kept"), "{held}");
    scene.is_gone().await;
    // Its disk is its own, and it is off when it is shut down.
    scene.says(1, "shutdown", &[]).await;
    scene.lab.down().await.unwrap();
    assert_eq!(scene.lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_guest_counts_on_with_a_disk_that_both_hosts_have() {
    let mut lab = Wanted::new("prosody", "component").hosts(2).machines(1).real_guests().up().await.unwrap();
    let shared = lab.dir().join("shared");
    std::fs::create_dir(&shared).unwrap();
    for host in lab.record.hosts.clone() {
        lab.crash(&host.name).await.unwrap();
        let mut text = std::fs::read_to_string(&host.config).unwrap();
        text.push_str(&format!("\n[files]\nallow = [{shared:?}]\n"));
        std::fs::write(&host.config, text).unwrap();
        lab.start(&host.name).await.unwrap();
    }
    let disk = shared.join("data.raw");
    File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    let guest = Guest::of(&lab, "admin").await;
    let what = format!("--what={}", disk.display());
    let attached = guest.says("disk-attach", &[&what, "--name=data", "--format=raw"]).await;
    assert!(attached.contains("data"), "{attached}");
    guest.ask("start", &[]).await;
    guest.booted().await;
    guest.says("send", &[&format!("--line=echo shared >/dev/vda; sync; {COUNT}")]).await;
    let path = logs(&lab.record.hosts[0]).pop().unwrap();
    until("it counts", || numbers(&std::fs::read_to_string(&path).unwrap()).len() > 20).await.unwrap();
    let log = File::open(&path).unwrap();
    let mut scene = Scene { lab, client: guest.client, log };
    let plan = scene.says(0, "migrate", &["--to=kvm2", "--dry-run"]).await;
    assert!(plan.contains("no disk is copied"), "{plan}");
    is_moved(&scene.moves(&["--storage=shared"]).await);
    scene.counts_on().await;
    let mut first = [0; 6];
    File::open(&disk).unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"shared", "what was written before is there");
    scene.lab.down().await.unwrap();
    assert_eq!(scene.lab.processes(), Vec::<i32>::new());
}

/// It runs there before all of its memory has come: what is missing is fetched when it is needed.
#[tokio::test]
async fn a_guest_counts_on_before_all_of_it_has_come() {
    let mut scene = Scene::counting(&[]).await;
    is_moved(&scene.moves(&["--postcopy"]).await);
    scene.counts_on().await;
    scene.lab.down().await.unwrap();
    assert_eq!(scene.lab.processes(), Vec::<i32>::new());
}

/// The agent of this host dies at this step of a move; where the machine is then, it counts on.
async fn killed_at(who: usize, step: &str, goes: bool) {
    let mut scene = Scene::counting(&[("disk-create", &["--name=data", "--size=16M"])]).await;
    let name = scene.lab.record.hosts[who].name.clone();
    scene.lab.crash(&name).await.unwrap();
    scene.lab.start_to_die(&name, step).await.unwrap();
    let dying = scene.lab.record.hosts[who].clone();
    let (client, host) = (scene.lab.client("admin").await.unwrap(), scene.lab.record.hosts[0].jid.clone());
    let asked = tokio::spawn(async move { moved(&client, &host, &[]).await });
    dying.ended().await.unwrap();
    scene.lab.start(&name).await.unwrap();
    if who == 0 {
        asked.abort();
    } else {
        // Who asked hears of it.
        let said = asked.await.unwrap();
        assert_eq!(said.contains("now, and stood still for"), goes, "{said}");
    }
    let (here, gone) = if goes { (1, 0) } else { (0, 1) };
    let record = scene.lab.record.clone();
    until("it is on one host", || {
        logs(&record.hosts[here]).len() == 1 && logs(&record.hosts[gone]).is_empty()
    })
    .await
    .unwrap();
    if goes {
        scene.counts_on().await;
    } else {
        let log = logs(&record.hosts[0]).pop().unwrap();
        let read = || numbers(&String::from_utf8_lossy(&std::fs::read(&log).unwrap()));
        let before = read().len();
        until("it counts on", || read().len() > before + 20).await.unwrap();
        let numbers = read();
        assert!(numbers.windows(2).all(|pair| pair[1] > pair[0] && pair[1] <= pair[0] + 3), "{numbers:?}");
    }
    scene.lab.down().await.unwrap();
    assert_eq!(scene.lab.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn the_source_is_killed_before_it_has_handed_it_over() {
    killed_at(0, "move-send-begun", false).await;
}

#[tokio::test]
async fn the_source_is_killed_when_it_has_handed_it_over() {
    killed_at(0, "move-handed-over", true).await;
}

#[tokio::test]
async fn the_destination_is_killed_before_it_has_come() {
    killed_at(1, "move-room-made", false).await;
}

#[tokio::test]
async fn the_destination_is_killed_when_it_does_not_know_yet_that_it_is_its_own() {
    killed_at(1, "move-received", true).await;
}
