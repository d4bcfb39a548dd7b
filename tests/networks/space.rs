//! Network namespaces: the test's own, and one for each guest, held by a process that sleeps in it.

use std::{io::Write as _, ops::Deref};

use hypervisor_core::network::Plug;
use skerry_tests::namespace;
pub use skerry_tests::namespace::{inside, ip, run};

/// A namespace that stands in for a guest, or for the world.
pub struct Space(namespace::Space);

impl Deref for Space {
    type Target = namespace::Space;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Space {
    /// An empty one.
    pub fn new() -> Self {
        Self(namespace::Space::new())
    }

    /// A guest at this NIC: an `eth0` that ends here in the NIC's interface.
    pub fn at(plug: &Plug) -> Self {
        let space = Self::new();
        space.linked(plug.interface.as_str(), &format!("address {}", plug.mac));
        space.does("ip link set eth0 up");
        space
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
