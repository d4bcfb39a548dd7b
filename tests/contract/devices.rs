//! NICs, disks and CDs under QEMU, as a real guest sees them.

use std::{fs, io::Write, net::TcpListener, path::Path, process::Command};

use hypervisor_core::{
    definition::{
        Boot, Bus, CloudInit, Cpu, Disk, DiskFormat, Firmware, Forward, Limits, Network, Nic, Watchdog,
    },
    driver::{DriverError, GuestEvent, Launch},
    lifecycle::Cause,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{qemu::QemuBench, story::Story};

async fn story() -> Story {
    Story::open(Box::new(QemuBench::new())).await
}

/// A port of the loopback that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn with_nic(launch: &mut Launch, network: Network) {
    launch.definition.nics = vec![Nic::new(network)];
    launch.definition.name_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_port_leads_to_the_guest_and_goes_with_it() {
    let story = story().await;
    let mut launch = story.bench.launch();
    let port = free_port();
    let forward: Forward = format!("{port}:80").parse().unwrap();
    with_nic(&mut launch, Network::User { forwards: vec![forward] });
    story.boot(&launch).await;
    let serve = b"ifconfig eth0 10.0.2.15 up; mkdir /w; echo hello from the guest >/w/index.html; \
        httpd -h /w -p 80; cat /sys/class/net/eth0/address; echo serv''ing\n";
    story.types(launch.id, serve).await;
    story.shows(&launch, b"serving").await;
    let mac = launch.definition.nics[0].address(launch.id).to_string();
    story.shows(&launch, mac.as_bytes()).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.ends_with("hello from the guest\n"), "{page:?}");
    story.kill(launch.id).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the port is still open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named() {
    let story = story().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut launch = story.bench.launch();
    let forward: Forward = format!("{}:80", taken.local_addr().unwrap().port()).parse().unwrap();
    with_nic(&mut launch, Network::User { forwards: vec![forward] });
    let Err(DriverError::Unfit(why)) = story.driver().start(&launch).await else { panic!("it started") };
    assert!(why.contains("Could not set up host forwarding rule"), "{why}");
    story.is_gone(&launch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_on_every_bus_are_seen_and_limits_hold_from_the_start() {
    let story = story().await;
    let mut launch = story.bench.launch();
    let raw = |name: &str, bytes: u64| {
        let path = launch.folder.with_extension(name);
        fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    };
    let (first, second, third) = (raw("a", 8 << 20), raw("b", 16 << 20), raw("c", 4 << 20));
    let mut cd = b"cd here\n".to_vec();
    cd.resize(64 << 10, 0);
    fs::write(&third, cd).unwrap();
    let limits = Some(Limits { iops: Some(200), bytes_per_second: Some(1 << 20) });
    launch.definition.disks = vec![
        Disk { limits, ..Disk::new(first, DiskFormat::Raw) },
        Disk { bus: Bus::Scsi, ..Disk::new(second, DiskFormat::Raw) },
        Disk { bus: Bus::Scsi, ..Disk::cd(third) },
    ];
    launch.definition.name_all();
    story.boot(&launch).await;
    story.types(launch.id, b"cat /sys/block/vda/size /sys/block/sda/size; head -n1 /dev/sr0\n").await;
    story.shows(&launch, b"16384\r\n32768\r\ncd here\r\n").await;
    // Four of the eight MiB: more than QEMU lets through at once, at one a second.
    let timed = b"a=$(cut -d. -f1 /proc/uptime); dd if=/dev/vda of=/dev/null bs=1M count=4 2>/dev/null; \
        b=$(cut -d. -f1 /proc/uptime); [ $((b - a)) -ge 2 ] && echo sl''ow\n";
    story.types(launch.id, timed).await;
    story.shows(&launch, b"\nslow").await;
}

/// Runs `ip` where this thread's network is.
fn ip(line: &str) -> bool {
    Command::new("ip").args(line.split(' ')).status().unwrap().success()
}

/// In a network of this thread's own, so that nothing of the host's is touched; it takes rights.
#[tokio::test]
async fn a_nic_on_a_bridge_reaches_it_and_leaves_nothing() {
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("skipped: a network of one's own takes root");
        return;
    }
    assert!(
        ip("link add br7 type bridge") && ip("link set br7 up") && ip("address add 10.77.0.1/24 dev br7")
    );
    let story = story().await;
    let mut launch = story.bench.launch();
    with_nic(&mut launch, Network::Bridge { name: "nothere".into() });
    let Err(DriverError::Unfit(why)) = story.driver().start(&launch).await else { panic!("it started") };
    assert_eq!(why, "there is no bridge nothere on this host");
    story.is_gone(&launch).await;
    with_nic(&mut launch, Network::Bridge { name: "br7".into() });
    story.boot(&launch).await;
    story.types(launch.id, b"ifconfig eth0 10.77.0.2 up; ping -c 3 10.77.0.1\n").await;
    story.shows(&launch, b"3 packets received").await;
    let interface = launch.definition.nics[0].interface(launch.id);
    assert!(ip(&format!("link show {interface}")));
    story.kill(launch.id).await;
    assert!(!ip(&format!("link show {interface}")), "it is left on the bridge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloud_init_finds_what_it_is_told_and_nothing_once_it_is_not_wanted() {
    let story = story().await;
    let mut launch = story.bench.launch();
    let user_data = Some("#cloud-config\nhello: there\n".into());
    launch.definition.cloud_init = Some(CloudInit { user_data, ..CloudInit::default() });
    launch.definition.cpu = Cpu { model: Some("Nehalem".into()), cores: Some(1), ..Cpu::default() };
    launch.definition.watchdog = Some(Watchdog::Reset);
    story.boot(&launch).await;
    let look = b"mkdir /ci; mount -o ro /dev/vda /ci; ls /ci; cat /ci/*; grep -o Nehalem /proc/cpuinfo\n";
    story.types(launch.id, look).await;
    story.shows(&launch, b"meta-data  user-data\r\n").await;
    story.shows(&launch, format!("\"instance-id\":\"{}\"", launch.id).as_bytes()).await;
    story.shows(&launch, b"hello: there").await;
    story.shows(&launch, b"\nNehalem").await;
    story.kill(launch.id).await;
    launch.definition.cloud_init = None;
    story.boot(&launch).await;
    assert!(!launch.folder.join("cidata.img").exists());
}

/// Typed into the guest: arms the watchdog by its registers, as a driver would, and feeds it no more.
const HANG: &str = "d=$(grep -l 0x25ab /sys/bus/pci/devices/*/device); d=${d%/device}; echo 1 >$d/enable; \
    b=$(head -n1 $d/resource | cut -d' ' -f1); \
    set_to() { devmem $((b + 12)) 32 0x80; devmem $((b + 12)) 32 0x86; devmem $((b + $1)) 32 $2; }; \
    set_to 0 500; set_to 4 500; printf '\\002' | dd of=$d/config bs=1 seek=104 conv=notrunc 2>/dev/null\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_hangs_is_seen_to_by_its_watchdog() {
    let mut story = story().await;
    let mut launch = story.bench.launch();
    for (watchdog, told) in [
        (Watchdog::Reset, GuestEvent::Rebooted),
        (Watchdog::Pause, GuestEvent::Paused),
        (
            Watchdog::Poweroff,
            GuestEvent::Crashed(Cause("the guest hung, and its watchdog cut the power".into())),
        ),
    ] {
        launch.definition.watchdog = Some(watchdog);
        story.boot(&launch).await;
        story.types(launch.id, HANG.as_bytes()).await;
        assert_eq!(story.event(launch.id).await, told);
        story.kill(launch.id).await;
    }
    story.leaves_nothing(&launch).await;
}

/// A disk from which a UEFI boots this program.
fn boot_disk(path: &Path, program: &Path) {
    let mut disk = fs::File::options().read(true).write(true).create_new(true).open(path).unwrap();
    disk.set_len(64 << 20).unwrap();
    fatfs::format_volume(&mut disk, fatfs::FormatVolumeOptions::new()).unwrap();
    let files = fatfs::FileSystem::new(&mut disk, fatfs::FsOptions::new()).unwrap();
    let folder = files.root_dir().create_dir("EFI").unwrap().create_dir("BOOT").unwrap();
    folder.create_file("BOOTX64.EFI").unwrap().write_all(&fs::read(program).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uefi_boots_what_is_signed_where_it_checks_and_remembers() {
    let story = story().await;
    let mut launch = story.bench.launch();
    let Boot::Kernel { kernel, .. } = &launch.definition.boot else { panic!("it has a kernel") };
    let disk = launch.folder.with_extension("img");
    // Signed by Debian, whose key is not among those that are enrolled.
    boot_disk(&disk, kernel);
    launch.definition.boot = Boot::Disk;
    launch.definition.memory_mib = 256;
    launch.definition.disks = vec![Disk { read_only: true, ..Disk::new(disk, DiskFormat::Raw) }];
    launch.definition.name_all();
    for (firmware, variables, blank, says) in [
        (Firmware::Uefi, "uefi-vars.fd", "OVMF_VARS_4M.fd", "BdsDxe: starting Boot0001"),
        (Firmware::SecureBoot, "uefi-secure-vars.fd", "OVMF_VARS_4M.ms.fd", "Access Denied"),
    ] {
        launch.definition.firmware = firmware;
        match story.driver().start(&launch).await {
            Err(DriverError::Unfit(why)) => {
                assert!(why.contains("Debian package ovmf"), "{why}");
                eprintln!("skipped: {why}");
                return story.is_gone(&launch).await;
            }
            started => started.unwrap(),
        }
        story.shows(&launch, says.as_bytes()).await;
        story.kill(launch.id).await;
        // What it found to boot it has written down, and is not given anew.
        let (variables, blank) = (launch.folder.join(variables), Path::new("/usr/share/OVMF").join(blank));
        let remembers = || blank.is_file() && fs::read(&variables).unwrap() != fs::read(&blank).unwrap();
        assert!(remembers() || !blank.is_file());
        story.driver().start(&launch).await.unwrap();
        story.kill(launch.id).await;
        assert!(remembers() || !blank.is_file());
    }
}
