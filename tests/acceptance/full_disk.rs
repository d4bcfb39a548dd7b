//! The disk with the agent's state is full: changes are refused, and say why; what is there can be
//! looked at; and when there is room again, all goes on.

use std::{path::Path, process::Command};

use skerry_tests::lab::Wanted;

/// A small file system, as long as this lives.
struct Small(std::path::PathBuf);

impl Small {
    /// `None` where one cannot be mounted.
    fn at(folder: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(folder)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[tokio::test]
async fn changes_wait_and_looking_goes_on() {
    let mut lab = Wanted::new("prosody", "component").up().await.unwrap();
    lab.crash("kvm1").await.unwrap();
    let state = lab.host().state();
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    let Some(_small) = Small::at(&state) else {
        eprintln!("skipped: a small file system cannot be mounted here (it takes root)");
        return;
    };
    lab.start("kvm1").await.unwrap();
    let host = lab.host().jid.clone();
    let ann = lab.client("admin").await.unwrap();
    ann.reach(&host).await.unwrap();
    ann.done(&host, "create", &["--name=web1", "--image=linux"]).await.unwrap();

    // To the last byte.
    let filler = state.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
    let no = ann.refused(&host, "machine/web1/start", &[]).await.unwrap();
    assert!(no.contains("disk") && no.contains("full"), "{no}");
    let no = ann.refused(&host, "create", &["--name=web2", "--image=linux"]).await.unwrap();
    assert!(no.contains("full"), "{no}");
    assert_eq!(ann.state(&host, "web1").await.unwrap(), "stopped");
    let list = ann.done(&host, "list", &[]).await.unwrap().to_string();
    assert!(list.contains("web1") && !list.contains("web2"), "{list}");
    assert!(lab.host().runs());

    // An open file keeps its room.
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    ann.done(&host, "machine/web1/start", &[]).await.unwrap();
    ann.done(&host, "create", &["--name=web2", "--image=linux"]).await.unwrap();
    assert_eq!(ann.state(&host, "web1").await.unwrap(), "running");
    // Ended before its file system is taken from under it.
    lab.down().await.unwrap();
}
