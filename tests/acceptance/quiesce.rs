//! A real Debian stands still while its disks are taken, goes on though the agent dies meanwhile, and gives
//! back what it does not use.

use crate::debian::Debian;

#[tokio::test]
async fn a_debian_stands_still_for_its_copy_and_gives_back_what_it_deleted() {
    let mut debian = Debian::imported().await;
    let guest = debian.machine("web1", "user_data = \"#cloud-config\"").await;
    guest.boot().await;
    let said = guest.says("snapshot-take", &["--name=a", "--quiesce=yes"]).await;
    assert!(said.contains("Its file systems stood still for "), "{said}");
    println!("{said}");

    // What was written and never synced is in a copy of one that stood still.
    guest.exec(&["sh", "-c", "echo kept >/root/mark"]).await;
    guest.ask("clone", &["--name=web2", "--full", "--quiesce=yes"]).await;
    debian.until("list", |list| list["machines"].to_string().contains("\"web2\"")).await;

    // The agent dies while it stands still: the next one lets it go on.
    debian.lab.crash("kvm1").await.unwrap();
    debian.lab.start_to_die("kvm1", "guest-quieted").await.unwrap();
    let (guest, host) = (debian.guest("web1"), debian.lab.host());
    tokio::select! {
        answer = guest.ask("snapshot-take", &["--name=b"]) => panic!("{answer:?}"),
        ended = host.ended() => ended.unwrap(),
    }
    debian.lab.start("kvm1").await.unwrap();
    let guest = debian.guest("web1");
    assert_eq!(guest.exec(&["sh", "-c", "echo on >>/root/mark; cat /root/mark"]).await, "kept\non");
    assert!(!guest.says("status", &[]).await.contains("hold still"));
    let list = guest.says("snapshot-list", &[]).await;
    assert!(list.contains("- a:") && !list.contains("- b:"), "{list}");

    // Mounted as it is, it gives back at once.
    guest.exec(&["mount", "-o", "remount,nodiscard", "/"]).await;
    guest.exec(&["sh", "-c", "dd if=/dev/urandom of=/root/big bs=1M count=32; sync"]).await;
    guest.exec(&["sh", "-c", "rm /root/big; sync"]).await;
    let said = guest.says("disk-trim", &[]).await;
    println!("{said}");
    let freed = said.strip_prefix("web1 gave back ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(freed.is_some_and(|mib: u32| mib >= 24), "{said}");
    guest.ask("kill", &[]).await;

    let copy = debian.guest("web2");
    copy.boot().await;
    assert_eq!(copy.exec(&["cat", "/root/mark"]).await, "kept");
    debian.lab.down().await.unwrap();
    assert_eq!(debian.lab.processes(), Vec::<i32>::new());
}
