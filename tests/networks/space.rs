//! Network namespaces: the test's own, and one for each guest, held by a process that sleeps in it.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use hypervisor_core::network::Plug;
pub use skerry_tests::namespace::inside;

/// Runs `ip` in this thread's namespace.
#[track_caller]
pub fn ip(line: &str) -> String {
    run(&format!("ip {line}")).unwrap_or_else(|said| panic!("ip {line}: {said}"))
}

/// Runs a line of a shell in this thread's namespace: what it printed, or what it complained of.
pub fn run(line: &str) -> Result<String, String> {
    let done = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(said(&done.stdout)) } else { Err(said(&done.stdout) + &said(&done.stderr)) }
}

/// A namespace that stands in for a guest, or for the world.
pub struct Space(Child);

impl Space {
    /// An empty one.
    pub fn new() -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "--", "sh", "-c", "ip link set lo up; echo in; exec sleep 1000"]);
        let mut holder = holder.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        // Its word that it is in it.
        let mut word = [0; 3];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut word).unwrap();
        Self(holder)
    }

    /// A guest at this NIC: an `eth0` that ends here in the NIC's interface.
    pub fn at(plug: &Plug) -> Self {
        let space = Self::new();
        ip(&format!(
            "link add {} type veth peer name eth0 address {} netns {}",
            plug.interface,
            plug.mac,
            space.0.id()
        ));
        space.does("ip link set eth0 up");
        space
    }

    /// The number of the process that holds it.
    pub fn holder(&self) -> u32 {
        self.0.id()
    }

    /// Runs a line of a shell in it, which has to succeed.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        self.tries(line).unwrap_or_else(|said| panic!("{line}: {said}"))
    }

    /// Runs a line of a shell in it.
    pub fn tries(&self, line: &str) -> Result<String, String> {
        run(&format!("nsenter --net=/proc/{}/ns/net sh -c '{}'", self.0.id(), line.replace('\'', "'\\''")))
    }

    /// Asks for an address, and takes it with what else it is told: what it was told.
    #[track_caller]
    pub fn asks_for_an_address(&self) -> String {
        self.tries_for_an_address().unwrap_or_else(|said| panic!("no address: {said}"))
    }

    /// The same, which may fail.
    pub fn tries_for_an_address(&self) -> Result<String, String> {
        let mut script = tempfile::NamedTempFile::new().unwrap();
        let takes = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip address replace $ip/$mask dev $interface\n\
            [ -z \"$router\" ] || ip route replace default via $router\n\
            echo ip=$ip router=$router dns=$dns domain=$domain\n";
        script.write_all(takes.as_bytes()).unwrap();
        let path = script.into_temp_path();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        self.tries(&format!("busybox udhcpc -i eth0 -n -q -f -t 4 -T 1 -s {}", path.display()))
    }

    /// Whether this address answers.
    pub fn reaches(&self, address: &str) -> bool {
        self.tries(&format!("busybox ping -c 1 -W 2 {address}")).is_ok()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
