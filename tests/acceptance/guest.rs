//! What is asked of a real guest's agent (Debian's qemu-guest-agent), as a person asks it by `skerry`.

use std::process::Output;

use skerry_tests::lab::{Lab, Wanted};

use crate::{debian::Debian, real_guests::Guest};

async fn asks(lab: &Lab, words: &[&str]) -> Output {
    lab.skerry("admin", words).await.unwrap()
}

#[track_caller]
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// As if it ran here: what it writes, where it writes it, and how it ends.
async fn programs_run(lab: &Lab) {
    let (code, out, err) = said(&asks(lab, &["exec", "web1", "uname", "-a"]).await);
    assert!(code == 0 && out.starts_with("Linux guest ") && err.is_empty(), "{code} {out} {err}");
    let (code, out, err) =
        said(&asks(lab, &["exec", "web1", "sh", "-c", "echo out; echo err >&2; exit 3"]).await);
    assert_eq!((code, out.as_str(), err.as_str()), (3, "out\n", "err\n"));
    let (code, _, err) = said(&asks(lab, &["exec", "web1", "no-such-program"]).await);
    assert_eq!(code, 255, "{err}");
    let (code, _, _) = said(&lab.skerry("operator", &["exec", "web1", "true"]).await.unwrap());
    assert_eq!(code, 255, "not for operators");
}

/// There and back, byte by byte, in several pieces.
async fn files_are_carried(lab: &Lab) {
    let folder = tempfile::tempdir().unwrap();
    let (here, back) = (folder.path().join("here"), folder.path().join("back"));
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&here, &bytes).unwrap();
    let (here, out) = (here.display().to_string(), back.display().to_string());
    let (code, out_said, err) =
        said(&asks(lab, &["file", "write", "web1", "/root/kept", "--in", &here]).await);
    assert_eq!((code, out_said.as_str()), (0, "Wrote 100000 bytes to /root/kept of web1.\n"), "{err}");
    let (code, _, err) = said(&asks(lab, &["file", "read", "web1", "/root/kept", "--out", &out]).await);
    assert_eq!(code, 0, "{err}");
    assert!(std::fs::read(&back).unwrap() == bytes);
    let piped = asks(lab, &["file", "read", "web1", "/root/kept"]).await;
    assert!(piped.stdout == bytes, "into a pipe it goes as it is");
}

#[tokio::test]
async fn a_real_guest_does_what_its_agent_is_asked() {
    let lab = Wanted::new("prosody", "component").machines(1).real_guests().up().await.unwrap();
    let guest = Guest::of(&lab, "operator").await;
    guest.ask("start", &[]).await;
    guest.booted().await;
    let status = guest.says("status", &[]).await;
    assert!(status.contains("calls itself guest"), "{status}");
    programs_run(&lab).await;
    files_are_carried(&lab).await;
    lab.down().await.unwrap();
}

/// A real Debian: its disks hold still, and go on though the agent that held them was killed; its own
/// words about itself.
#[tokio::test]
async fn the_disks_of_a_debian_go_on_when_the_agent_was_killed() {
    let mut debian = Debian::imported().await;
    let guest = debian.machine("web1", "user_data = \"#cloud-config\"").await;
    guest.boot().await;
    let status = guest.says("status", &[]).await;
    assert!(status.contains("Guest: Debian GNU/Linux 12") && status.contains("10.0.2.15 ("), "{status}");
    let said = guest.says("password", &["--user=root", "--password=hunter2"]).await;
    assert_eq!(said, "root of web1 has another password.");
    assert!(guest.exec(&["getent", "shadow", "root"]).await.starts_with("root:$y$"));
    // By skerry only its hash goes out, and that is what the guest has.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "hunter2\n").unwrap();
    let file = file.display().to_string();
    let set = debian.lab.skerry("admin", &["password", "web1", "root", "--password-file", &file]).await;
    assert_eq!(self::said(&set.unwrap()).1, "root of web1 has another password.\n");
    assert!(guest.exec(&["getent", "shadow", "root"]).await.starts_with("root:$6$"));

    let said = guest.says("fsfreeze", &["--during=8s"]).await;
    assert!(said.starts_with("The disks of web1 hold still until "), "{said}");
    let refused = guest.says("file-write", &["--path=/root/x", "--text=x"]).await;
    assert!(refused.contains("says no"), "{refused}");
    debian.lab.crash("kvm1").await.unwrap();
    debian.lab.start("kvm1").await.unwrap();
    let guest = debian.guest("web1");
    while guest.says("status", &[]).await.contains("hold still") {
        // Asking takes its time.
    }
    assert_eq!(
        guest.says("file-write", &["--path=/root/x", "--text=x"]).await,
        "Wrote 2 bytes to /root/x of web1."
    );
    assert_eq!(guest.exec(&["cat", "/root/x"]).await, "x");
    debian.lab.down().await.unwrap();
    assert_eq!(debian.lab.processes(), Vec::<i32>::new());
}
