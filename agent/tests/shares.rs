//! Images that go from one host to another, straight and over broken ways; and with either agent killed at
//! each step, after which nothing half is left on either.
//!
//! The dying agent is this test's own binary, run again as [`the_one_that_dies`].
#![allow(clippy::unwrap_used, clippy::panic)]

mod pair;
mod stage;

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use pair::{Host, until};
use skerry_agent::{agent::Agent, asked::Answer, config::Config, crash};
use skerry_stanzas::{
    payload::{Share, share},
    refusal::{Reason, Refusal},
};
use stage::{ANN, VERA, asked, done, refused};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

const PLACE: &str = "SKERRY_TEST_PLACE";
const NAME: &str = "SKERRY_TEST_NAME";
const LINE: &str = "SKERRY_TEST_LINE";
const SHARE: &str = "image share debian-12 kvm2";
const PULL: &str = "image pull kvm1/debian-12";
const MIB: usize = 1 << 20;

async fn ask(agent: &Agent, line: &str) -> Answer {
    let (hears, _) = tokio::sync::mpsc::channel(1);
    agent.ask(asked(ANN, line), Some(hears)).await
}

async fn says(host: &Host, line: &str) -> String {
    done(ask(&host.agent, line).await)
}

async fn refuses(host: &Host, line: &str) -> Refusal {
    refused(ask(&host.agent, line).await)
}

/// Two hosts, the first with the image debian-12.
async fn two(place: &Path) -> (Host, Host) {
    let (one, two) = (Host::open(place, "kvm1").await, Host::open(place, "kvm2").await);
    stage::disk(&place.join("kvm1"), "debian.qcow2");
    says(&one, "image import debian.qcow2 debian-12 about='a small one'").await;
    (one, two)
}

/// An image that takes its time: nothing in it is alike.
async fn large(one: &Host, place: &Path) {
    let mut bytes: Vec<u8> =
        (0..4 * MIB as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    bytes[510..512].copy_from_slice(b"\x55\xaa");
    fs::write(place.join("kvm1/state/import/large.raw"), bytes).unwrap();
    says(one, "image import large.raw large").await;
}

/// The files of images a host keeps, and what is on its way there.
fn images(place: &Path, host: &str) -> (Vec<PathBuf>, usize) {
    let folder = place.join(host).join("state/images");
    let all = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files = all.filter(|path| path.is_file()).collect();
    (files, fs::read_dir(folder.join("incoming")).unwrap().count())
}

fn counts(place: &Path, host: &str) -> (usize, usize) {
    let (files, incoming) = images(place, host);
    (files.len(), incoming)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_another_host_and_is_known_there() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = two(place.path()).await;
    let said = says(&one, SHARE).await;
    assert!(
        said.starts_with("The image debian-12 is on kvm2.example.org now, as debian-12: 1 MiB"),
        "{said}"
    );
    let info = says(&two, "image info debian-12").await;
    assert!(
        info.contains("kvm1.example.org, where it is debian-12") && info.contains("a small one"),
        "{info}"
    );
    assert_eq!(counts(place.path(), "kvm2"), (1, 0));
    let known = "kvm2.example.org has that already: it is the image debian-12 there. Nothing was sent.";
    assert_eq!(says(&one, &format!("{SHARE} called=other")).await, known);
    let back = says(&two, "image share debian-12 kvm1").await;
    assert!(back.starts_with("kvm1.example.org has that already: it is the image debian-12"), "{back}");
    assert!(says(&two, PULL).await.starts_with("That is here already"));
    says(&two, "create web1 debian-12").await;
    let again = says(&two, "image pull kvm1.example.org/debian-12 called=second").await;
    assert!(again.starts_with("That is here already: it is the image debian-12"), "{again}");
    for host in [one, two] {
        host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_brought_from_another_host() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = two(place.path()).await;
    large(&one, place.path()).await;
    let said = says(&two, "image pull kvm1/large called=mine").await;
    assert!(said.contains("The image mine is here: a disk of 4 MiB"), "{said}");
    assert_eq!(counts(place.path(), "kvm2"), (1, 0));
    let known = says(&one, "image share large kvm2").await;
    assert!(known.contains("has that already: it is the image mine there"), "{known}");
    assert_eq!(refuses(&two, "image pull kvm1/none").await.reason, Reason::Conflict);
    assert_eq!(refuses(&two, "image pull kvm9/large").await.reason, Reason::NotFound);
    assert_eq!(counts(place.path(), "kvm2"), (1, 0));
    for host in [one, two] {
        host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_go_or_come_is_said_by_whom_it_concerns() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = two(place.path()).await;
    assert_eq!(refuses(&one, "image share debian-12 kvm9").await.reason, Reason::NotFound);
    assert_eq!(refuses(&one, "image share none kvm2").await.reason, Reason::NotFound);
    assert!(refuses(&one, "image share linux kvm2").await.text.contains("in the configuration"));
    let vera = refused(one.agent.ask(asked(VERA, SHARE), None).await);
    assert_eq!(vera.reason, Reason::NotAllowed);
    large(&one, place.path()).await;
    says(&one, &format!("{SHARE} called=large")).await;
    let taken = refuses(&one, "image share large kvm2").await;
    assert_eq!(taken.text, "kvm2.example.org says no: There is an image large already.");
    // Who commands there is not who commands here; and what no disk has room for is not begun.
    let from = xmpp_parsers::jid::Jid::new("kvm1.example.org").unwrap();
    let offer = |by: &str, bytes: u64| share::Offer {
        name: "x".into(),
        called: "x".into(),
        by: by.into(),
        same_as: vec![],
        kind: "disk".into(),
        file_bytes: bytes,
        size_bytes: 1 << 20,
        about: String::new(),
        authority: String::new(),
    };
    for (by, bytes, why) in [
        ("vera@example.org", 1 << 20, "may not share images there"),
        ("ann@example.org", 4 << 40, "are free"),
        ("ann@example.org", 0, "impossible size"),
        ("ann@example.org", 1 << 60, "impossible size"),
    ] {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
        let content = serde_json::to_string(&offer(by, bytes)).unwrap();
        let said = two.agent.share_said(&from, &Share { word: share::OFFER.into(), id, content }).await;
        let Some(share::Answer::Refused { reasons }) = said else { panic!("{said:?}") };
        assert!(reasons[0].contains(why), "{reasons:?}");
    }
    let mut config = Config::clone(&two.agent.config());
    config.migration.listen = None;
    two.agent.reload(config).unwrap();
    let refusal = refuses(&one, "image share large kvm2 called=b").await;
    assert!(refusal.text.contains("does not say where it can be reached"), "{refusal:?}");
    assert_eq!(refuses(&two, "image pull kvm1/large called=b").await.reason, Reason::Conflict);
    assert_eq!(counts(place.path(), "kvm2"), (1, 0));
    for host in [one, two] {
        host.close().await;
    }
}

/// A way to a host that ends once, in the middle.
struct Way {
    /// What went through it, in bytes.
    passed: Arc<AtomicU64>,
    /// It has ended once.
    ended: Arc<Notify>,
    /// It may be gone again.
    again: Arc<Notify>,
}

/// How much of the first connection goes on, and how much of it is taken.
const GOES_ON: usize = MIB;
const IS_TAKEN: usize = 2 * MIB;

impl Way {
    /// Puts it before every port that images of this host go to.
    async fn before(host: &Host) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (own, port) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let to = Arc::clone(&port);
        host.detour(Box::new(move |real| {
            to.store(real.into(), Ordering::SeqCst);
            own
        }));
        let (passed, ended, again) = (Arc::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let way = Self { passed: Arc::clone(&passed), ended: Arc::clone(&ended), again: Arc::clone(&again) };
        tokio::spawn(async move {
            let (mut from, _) = listener.accept().await.unwrap();
            let mut real = reach(&port).await;
            half(&mut from, &mut real, &passed).await;
            ended.notify_one();
            again.notified().await;
            drop((from, real));
            while let Ok((mut from, _)) = listener.accept().await {
                let (mut real, passed) = (reach(&port).await, Arc::clone(&passed));
                tokio::spawn(async move {
                    let went = tokio::io::copy_bidirectional(&mut from, &mut real).await;
                    passed.fetch_add(went.map_or(0, |(there, _)| there), Ordering::SeqCst);
                });
            }
        });
        way
    }
}

async fn reach(port: &AtomicU64) -> TcpStream {
    TcpStream::connect(("127.0.0.1", u16::try_from(port.load(Ordering::SeqCst)).unwrap())).await.unwrap()
}

/// Takes so much, lets less of it go on, and what comes back as well.
async fn half(from: &mut TcpStream, to: &mut TcpStream, passed: &AtomicU64) {
    let (mut piece, mut back) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let (mut taken, mut gone) = (0, 0);
    while taken < IS_TAKEN {
        tokio::select! {
            read = from.read(&mut piece) => {
                let read = read.unwrap();
                assert!(read > 0, "it ends too early");
                taken += read;
                let on = read.min(GOES_ON - gone);
                to.write_all(&piece[..on]).await.unwrap();
                gone += on;
            }
            read = to.read(&mut back) => from.write_all(&back[..read.unwrap()]).await.unwrap(),
        }
    }
    passed.fetch_add(gone as u64, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_off_goes_on_where_it_was() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = two(place.path()).await;
    large(&one, place.path()).await;
    let way = Way::before(&one).await;
    way.again.notify_one();
    says(&one, "image share large kvm2").await;
    let passed = usize::try_from(way.passed.load(Ordering::SeqCst)).unwrap();
    // What was sent twice is at most what was on its way.
    assert!((4 * MIB..5 * MIB).contains(&passed), "{passed}");
    assert_eq!(counts(place.path(), "kvm2"), (1, 0));
    let size = |host: &str| fs::metadata(&images(place.path(), host).0[0]).unwrap().len();
    assert!(size("kvm2") > 4 * MIB as u64);
    for host in [one, two] {
        host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_on_its_way_is_not_kept() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = two(place.path()).await;
    large(&one, place.path()).await;
    let way = Way::before(&one).await;
    let agent = one.agent.clone();
    let asked = tokio::spawn(async move { ask(&agent, "image share large kvm2").await });
    way.ended.notified().await;
    // It was read that far, and is read again from where the other host has it.
    let all = images(place.path(), "kvm1").0;
    let file = all.iter().find(|path| fs::metadata(path).unwrap().len() > 4 * MIB as u64).unwrap();
    let file = fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(&vec![0; MIB / 2], (GOES_ON + MIB / 4) as u64).unwrap();
    way.again.notify_one();
    let refusal = refused(asked.await.unwrap());
    assert!(refusal.text.contains("its SHA-256 is another"), "{refusal:?}");
    until("nothing is left of it", || counts(place.path(), "kvm2") == (0, 0)).await;
    for host in [one, two] {
        host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_called_off_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = two(place.path()).await;
    large(&one, place.path()).await;
    let way = Way::before(&one).await;
    let agent = one.agent.clone();
    let asked = tokio::spawn(async move { ask(&agent, "image share large kvm2").await });
    way.ended.notified().await;
    assert_eq!(counts(place.path(), "kvm2"), (0, 1), "it is on its way");
    let list = says(&one, "job list").await;
    let job = list.lines().last().unwrap().strip_prefix("To call one off: job cancel ").unwrap();
    says(&one, &format!("job cancel {job}")).await;
    let refusal = refused(asked.await.unwrap());
    assert!(refusal.text.contains("was cancelled by ann@example.org"), "{refusal:?}");
    until("nothing is left of it", || counts(place.path(), "kvm2") == (0, 0)).await;
    way.again.notify_one();
    says(&one, "image share debian-12 kvm2").await;
    for host in [one, two] {
        host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the others, to die"]
async fn the_one_that_dies() {
    let (Ok(place), Ok(name)) = (std::env::var(PLACE), std::env::var(NAME)) else { return };
    let host = Host::open(Path::new(&place), &name).await;
    match std::env::var(LINE) {
        Ok(line) if !line.is_empty() => drop(ask(&host.agent, &line).await),
        _ => std::future::pending().await,
    }
    host.close().await;
}

fn dying(place: &Path, name: &str, line: &str, step: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_one_that_dies", "--ignored", "--nocapture"])
        .envs([(PLACE, place.as_os_str()), (NAME, name.as_ref()), (LINE, line.as_ref())])
        .env(crash::VARIABLE, step)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// One of them dies at this step, of a command that the other gives or itself; true if it passed it.
async fn dies(who: &str, asker: &str, line: &str, step: &str) -> bool {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = two(place.path()).await;
    for host in [one, two] {
        host.close().await;
    }
    let other = if who == "kvm1" { "kvm2" } else { "kvm1" };
    let alive = Host::open(place.path(), other).await;
    let mut child = dying(place.path(), who, if who == asker { line } else { "" }, step);
    let mut asked = None;
    if who != asker {
        let socket = place.path().join(format!("{who}.sock"));
        until("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
        let (agent, line) = (alive.agent.clone(), line.to_owned());
        asked = Some(tokio::spawn(async move { ask(&agent, &line).await }));
    }
    let mut died = None;
    until("it dies, or the command ends", || {
        died = child.try_wait().unwrap().map(|status| !status.success());
        died.is_some() || asked.as_ref().is_some_and(tokio::task::JoinHandle::is_finished)
    })
    .await;
    // One that was only asked to listen goes on doing so.
    if died.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let back = Host::open(place.path(), who).await;
    if let Some(asked) = asked {
        asked.await.unwrap();
    }
    until(&format!("{who} at {step}: nothing half is left"), || counts(place.path(), "kvm2").1 == 0).await;
    let (one, two) = if who == "kvm1" { (&back, &alive) } else { (&alive, &back) };
    // A row has its file, and a file its row.
    let listed = usize::from(says(two, "image list").await.contains("debian-12"));
    assert_eq!(counts(place.path(), "kvm2"), (listed, 0), "{who} at {step}");
    assert_eq!(counts(place.path(), "kvm1"), (1, 0), "{who} at {step}");
    says(one, SHARE).await;
    assert_eq!(counts(place.path(), "kvm2"), (1, 0), "{who} at {step}, again");
    for host in [alive, back] {
        host.close().await;
    }
    died == Some(true)
}

/// Dies at each step of either kind; answers those it passed.
async fn dies_everywhere(who: &str, asker: &str, line: &str) -> Vec<&'static str> {
    let mut died = Vec::new();
    let steps = crash::STEPS.iter().filter(|step| step.starts_with("share-") || step.starts_with("image-"));
    for step in steps.filter(|step| !["image-renamed", "image-row-gone", "image-file-gone"].contains(step)) {
        if dies(who, asker, line, step).await {
            died.push(*step);
        }
    }
    died
}

const TAKES: [&str; 5] =
    ["image-arrived", "image-converting", "image-finished", "image-kept", "image-stored"];

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_shares_dies() {
    let died = dies_everywhere("kvm1", "kvm1", SHARE).await;
    assert_eq!(died, ["share-offered", "share-sending", "share-sent", "share-told"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_is_shared_with_dies() {
    let mut died = dies_everywhere("kvm2", "kvm1", SHARE).await;
    died.sort_unstable();
    let mut all = [["share-accepted", "share-arriving", "image-staged"].as_slice(), &TAKES].concat();
    all.sort_unstable();
    assert_eq!(died, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_pulls_dies() {
    let mut died = dies_everywhere("kvm2", "kvm2", PULL).await;
    died.sort_unstable();
    let mut all =
        [["share-offered", "share-arriving", "image-staged", "share-told"].as_slice(), &TAKES].concat();
    all.sort_unstable();
    assert_eq!(died, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_is_pulled_from_dies() {
    let died = dies_everywhere("kvm1", "kvm2", PULL).await;
    assert_eq!(died, ["share-sending", "share-sent"]);
}
