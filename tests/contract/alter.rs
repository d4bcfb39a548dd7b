//! What QEMU changes of a machine that runs, as its guest and its host see it.

use std::{fs, net::TcpListener, path::Path};

use hypervisor_core::{
    definition::{Cpu, Disk, DiskFormat, Forward, Limits, Link, Live, Network, Nic},
    driver::{Altered, DriverError, GuestEvent, Launch, Power},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    qemu::{QemuBench, processes_with},
    story::Story,
};

async fn story() -> Story {
    Story::open(Box::new(QemuBench::new())).await
}

pub async fn alter(story: &Story, launch: &Launch, what: Live) -> Altered {
    let driver = story.driver();
    story.goes_well("alter", driver.alter().unwrap().alter(launch, what)).await
}

/// Has the guest say how it reads 4 MiB of its first disk: slowly, if it is held to one in a second.
pub fn timed(word: &str) -> String {
    format!(
        "a=$(cut -d. -f1 /proc/uptime); dd if=/dev/vda of=/dev/null bs=1M count=4 iflag=direct 2>/dev/null; \
         b=$(cut -d. -f1 /proc/uptime); [ $((b - a)) -ge 2 ] && echo {word}-slow || echo {word}-fast\n"
    )
}

/// Which processors of the host a machine's may run on, each by its thread.
pub fn pinned(launch: &Launch) -> Vec<String> {
    let pids = processes_with(&launch.id.to_string());
    let tasks = fs::read_dir(Path::new("/proc").join(pids[0].to_string()).join("task")).unwrap();
    let mut found: Vec<String> = tasks
        .flatten()
        .map(|task| task.path())
        .filter(|task| fs::read_to_string(task.join("comm")).unwrap_or_default().starts_with("CPU "))
        .map(|task| {
            let status = fs::read_to_string(task.join("status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            line.unwrap().trim().to_owned()
        })
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processors_come_and_go_where_they_are_told_to_run() {
    let story = story().await;
    let mut launch = story.bench.launch();
    launch.definition.vcpus_max = Some(2);
    launch.definition.cpu = Cpu { pin: vec![0, 1], ..Cpu::default() };
    story.boot(&launch).await;
    assert_eq!(pinned(&launch), ["0"]);
    let count = b"echo cpus=$(ls /sys/devices/system/cpu | grep -c '^cpu[0-9]')\n";
    story.types(launch.id, count).await;
    story.shows(&launch, b"\ncpus=1").await;
    launch.definition.vcpus = 2;
    assert_eq!(alter(&story, &launch, Live::Vcpus).await, Altered::Now);
    assert_eq!(alter(&story, &launch, Live::Vcpus).await, Altered::Now, "again is fine");
    assert_eq!(pinned(&launch), ["0", "1"]);
    // The guest hears of it in its own time.
    let wait = b"until [ -e /sys/devices/system/cpu/cpu1 ]; do usleep 20000; done; echo cp''u1\n";
    story.types(launch.id, wait).await;
    story.shows(&launch, b"\ncpu1").await;
    launch.definition.vcpus = 1;
    assert_eq!(alter(&story, &launch, Live::Vcpus).await, Altered::Now);
    let wait = b"until [ ! -e /sys/devices/system/cpu/cpu1 ]; do usleep 20000; done; echo al''one\n";
    story.types(launch.id, wait).await;
    story.shows(&launch, b"\nalone").await;
    launch.definition.vcpus = 4;
    let Altered::NextStart(why) = alter(&story, &launch, Live::Vcpus).await else { panic!("4 of 2") };
    assert_eq!(why, "it was started with room for 2 processors");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_host_has_not_is_refused_before_anything_starts() {
    let story = story().await;
    let mut launch = story.bench.launch();
    launch.definition.cpu = Cpu { pin: vec![0, 1000], ..Cpu::default() };
    let Err(DriverError::Unfit(why)) = story.driver().start(&launch).await else { panic!("it started") };
    assert!(why.starts_with("it is to run on processor 1000 of the host, which has 0"), "{why}");
    launch.definition.cpu = Cpu::default();
    launch.definition.hugepages = true;
    launch.definition.memory_mib = 8 << 20;
    let Err(DriverError::Unfit(why)) = story.driver().start(&launch).await else { panic!("it started") };
    assert!(why.contains("vm.nr_hugepages=") && why.contains("or leave hugepages out"), "{why}");
    story.is_gone(&launch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_opened_and_closed_while_it_runs() {
    let story = story().await;
    let mut launch = story.bench.launch();
    launch.definition.nics = vec![Nic::new(Network::default())];
    launch.definition.name_all();
    story.boot(&launch).await;
    let serve = b"ifconfig eth0 10.0.2.15 up; mkdir /w; echo hello >/w/index.html; \
        httpd -h /w -p 80; echo serv''ing\n";
    story.types(launch.id, serve).await;
    story.shows(&launch, b"serving").await;
    let [first, second, taken] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (one, two, three) = (port(&first), port(&second), port(&taken));
    drop((first, second));
    let mut forward = async |ports: &[u16]| {
        let forwards: Vec<Forward> = ports.iter().map(|port| format!("{port}:80").parse().unwrap()).collect();
        launch.definition.nics[0].network = Network::User { forwards };
        alter(&story, &launch, Live::Forwards(0)).await
    };
    assert_eq!(forward(&[one]).await, Altered::Now);
    let mut stream = TcpStream::connect(("127.0.0.1", one)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.ends_with("hello\n"), "{page:?}");
    assert_eq!(forward(&[two]).await, Altered::Now);
    assert!(TcpStream::connect(("127.0.0.1", one)).await.is_err(), "it is still open");
    assert!(TcpStream::connect(("127.0.0.1", two)).await.is_ok());
    let Altered::NextStart(why) = forward(&[two, three]).await else { panic!("it is taken") };
    assert_eq!(why, format!("tcp:127.0.0.1:{three} of the host could not be opened"));
}

/// What the guest says of the cable, in a line of its own once it is so: its kernel hears of it later.
async fn has_carrier(story: &Story, launch: &Launch, nth: usize, carrier: u8) {
    let line = format!(
        "until [ \"$(cat /sys/class/net/eth0/carrier)\" = {carrier} ]; do usleep 20000; done; echo {nth}-is''-{carrier}\n"
    );
    story.types(launch.id, line.as_bytes()).await;
    story.shows(launch, format!("\n{nth}-is-{carrier}").as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_sees_its_cable_go_out_and_in_and_starts_with_it_out() {
    let mut story = story().await;
    let mut launch = story.bench.launch();
    launch.definition.nics = vec![Nic { link: Link::Down, ..Nic::new(Network::default()) }];
    launch.definition.name_all();
    story.boot(&launch).await;
    story.types(launch.id, b"ifconfig eth0 10.0.2.15 up\n").await;
    has_carrier(&story, &launch, 1, 0).await;
    launch.definition.nics[0].link = Link::Up;
    assert_eq!(alter(&story, &launch, Live::Link(0)).await, Altered::Now);
    has_carrier(&story, &launch, 2, 1).await;
    launch.definition.nics[0].link = Link::Down;
    assert_eq!(alter(&story, &launch, Live::Link(0)).await, Altered::Now);
    has_carrier(&story, &launch, 3, 0).await;
    // It stays out when the guest reboots, and for the next agent.
    story.types(launch.id, b"reboot\n").await;
    assert_eq!(story.event(launch.id).await, GuestEvent::Rebooted);
    story.comes_up_times(&launch, 2).await;
    story.types(launch.id, b"ifconfig eth0 10.0.2.15 up\n").await;
    has_carrier(&story, &launch, 4, 0).await;
    story.restart().await;
    assert_eq!(story.power(&launch).await, Power::Running);
    launch.definition.nics[0].link = Link::Up;
    assert_eq!(alter(&story, &launch, Live::Link(0)).await, Altered::Now);
    has_carrier(&story, &launch, 5, 1).await;
    launch.definition.nics.push(Nic { name: "more".into(), ..Nic::new(Network::default()) });
    let Altered::NextStart(why) = alter(&story, &launch, Live::Link(1)).await else {
        panic!("it is not there")
    };
    assert_eq!(why, "it has the NIC only then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_a_disk_change_while_it_runs() {
    let story = story().await;
    let mut launch = story.bench.launch();
    let path = launch.folder.with_extension("img");
    fs::File::create(&path).unwrap().set_len(8 << 20).unwrap();
    launch.definition.disks = vec![Disk::new(path, DiskFormat::Raw)];
    launch.definition.name_all();
    story.boot(&launch).await;
    launch.definition.disks[0].limits = Some(Limits { iops: None, bytes_per_second: Some(1 << 20) });
    assert_eq!(alter(&story, &launch, Live::Limits(0)).await, Altered::Now);
    story.types(launch.id, timed("one").as_bytes()).await;
    story.shows(&launch, b"\none-slow").await;
    launch.definition.disks[0].limits = None;
    assert_eq!(alter(&story, &launch, Live::Limits(0)).await, Altered::Now);
    story.types(launch.id, timed("two").as_bytes()).await;
    story.shows(&launch, b"\ntwo-fast").await;
}
