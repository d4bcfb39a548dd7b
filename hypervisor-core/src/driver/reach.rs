//! What a program that is started for machines and disks reaches of its host: of the system what any program
//! needs to run, and the files it is told of. So does `qemu-img`, which reads what guests and strangers
//! wrote.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    sync::mpsc,
    thread,
};

use super::{
    DriverError,
    qcow2::beneath::beneath,
    qemu::process::{PATH, found},
};
use crate::{
    confine::{Bounds, May, Right, is_below},
    definition::DiskFormat,
};

/// Where a system keeps its programs, their libraries, and the firmware of guests. What is there is in
/// packages that anybody can have.
const SYSTEM: [&str; 8] = ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/gnu/store"];
/// What libraries read, none of which is a secret.
const READ: [&str; 16] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/gai.conf",
    "/etc/gnutls",
    "/etc/crypto-policies",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm",
    "/sys/devices/system",
    "/sys/kernel/mm",
];
/// Devices that are nobody's.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// What any program needs to run, and this one to be found.
pub(super) fn of_program(program: &Path) -> Bounds {
    let mut bounds = Bounds::default();
    bounds.may_all(May::Run, SYSTEM).may_all(May::Read, READ).may_all(May::Drive, DEVICES);
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let Ok(program) = found(program, &path).canonicalize() else { return bounds };
    if !is_below(&program, SYSTEM.map(Path::new)) {
        bounds.may(May::Run, &program);
        // Installed elsewhere as a whole: what belongs to it is beside it.
        if let Some(top) = program.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent) {
            bounds.may_all(May::Run, ["lib", "lib64", "libexec", "share"].map(|name| top.join(name)));
        }
    }
    bounds
}

/// A disk's file, and none of those it stands on.
pub(super) fn disk(bounds: &mut Bounds, path: &Path, writes: bool) {
    let found = fs::metadata(path).ok();
    let is_device = found.as_ref().is_some_and(|file| file.file_type().is_block_device());
    let may = match (writes, is_device) {
        (_, true) => May::Drive,
        (true, false) => May::Write,
        (false, false) => May::Read,
    };
    bounds.may(may, path);
    if let Some(device) = found.filter(|_| is_device).map(|file| file.rdev()) {
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        bounds.may(May::Read, format!("/sys/dev/block/{major}:{minor}"));
    }
    if !is_reached(path) {
        bounds.keeps(Right::OthersFiles);
    }
}

/// Whether this user reaches a file without being told apart as root.
fn is_reached(path: &Path) -> bool {
    let user = nix::unistd::geteuid().as_raw();
    let ours = |path: &Path| fs::metadata(path).is_ok_and(|file| file.uid() == user);
    let mut folders = path.ancestors().skip(1);
    let passed = |folder: &Path| fs::metadata(folder).is_ok_and(|it| it.uid() == user || it.mode() & 1 != 0);
    ours(path) && folders.all(passed)
}

/// The bounds of a run of `qemu-img`.
pub(crate) struct Img(Bounds);

impl Img {
    /// It reaches no disk.
    pub(crate) fn new() -> Self {
        Self(of_program(Path::new("qemu-img")))
    }

    /// It reads this file.
    pub(crate) fn reads(mut self, path: &Path) -> Self {
        disk(&mut self.0, path, false);
        self
    }

    /// It writes to this file, which is there.
    pub(crate) fn writes(mut self, path: &Path) -> Self {
        disk(&mut self.0, path, true);
        self
    }

    /// It reads what is in this folder.
    pub(super) fn reads_in(mut self, folder: &Path) -> Self {
        self.0.may(May::Read, folder);
        self
    }

    /// It reads all that this disk stands on.
    ///
    /// # Errors
    /// It cannot be followed.
    pub(crate) fn follows(mut self, path: &Path, format: DiskFormat) -> Result<Self, DriverError> {
        for one in beneath(path, format)? {
            disk(&mut self.0, &one.path, false);
        }
        Ok(self)
    }

    /// Takes the bounds upon this thread, for good.
    ///
    /// # Errors
    /// The kernel refuses, though it knows how.
    pub(crate) fn take(&self) -> io::Result<()> {
        self.0.take()
    }

    /// Runs `start` on a thread with these bounds. The thread stays for as long as what it gives is held:
    /// what ends with whoever started it (`PR_SET_PDEATHSIG`) ends with that thread.
    ///
    /// # Errors
    /// Those of `start`, or the kernel refuses.
    pub(super) fn hold<T: Send + 'static>(
        self,
        start: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<(T, mpsc::Sender<()>)> {
        let (hold, held) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let run = move || {
            let _ = tell.send(self.take().and_then(|()| start()));
            let _until_it_is_dropped = held.recv();
        };
        thread::Builder::new().name("qemu-img".into()).spawn(run)?;
        let started = told.recv().unwrap_or_else(|_| Err(io::Error::other("a confined start broke off")));
        Ok((started?, hold))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;
    use crate::{
        confine::Support,
        driver::{disk, qcow2},
    };

    #[tokio::test]
    async fn qemu_img_reaches_what_it_is_told_of_and_nothing_else() {
        if Support::of_host() == Support::Missing {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (image, top, secret) = (at("image.raw"), at("top.qcow2"), at("secret.raw"));
        for path in [&image, &secret] {
            fs::File::create(path).unwrap().set_len(1 << 20).unwrap();
        }
        disk::overlay(&image, &top).await.unwrap();
        let copied = |reach: Img, from: &Path, to: &Path| {
            let mut command = Command::new("qemu-img");
            command.args(["convert", "-O", "raw"]).arg(from).arg(to);
            reach.hold(move || command.output()).unwrap().0
        };
        let whole = at("whole.raw");
        fs::File::create(&whole).unwrap();
        let told = || Img::new().reads(&top).follows(&top, DiskFormat::Qcow2).unwrap();
        assert!(copied(told().writes(&whole), &top, &whole).status.success());
        // What qemu-img does once a header has taken it over.
        let of_secret = copied(told().writes(&whole), &secret, &whole);
        assert!(!of_secret.status.success(), "{of_secret:?}");
        let over_image = copied(told().writes(&whole), &whole, &image);
        assert!(!over_image.status.success(), "{over_image:?}");
        let elsewhere = at("new.raw");
        assert!(!copied(told().writes(&whole), &top, &elsewhere).status.success() && !elsewhere.exists());
        // And without that, all is as it was.
        assert_eq!(qcow2::describe(&top, DiskFormat::Qcow2).await.unwrap().file().size_bytes, 1 << 20);
    }
}
