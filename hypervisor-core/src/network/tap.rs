//! The host's end of a NIC: an interface that lives as long as a descriptor of it is open, which is as long
//! as the QEMU that was given it. So none is ever left over, whoever dies first.

use std::{fs::OpenOptions, io, os::fd::OwnedFd};

use nix::libc;

use super::{Interface, NetworkError};

/// `TUNSETIFF` of linux/if_tun.h.
const MAKE: libc::Ioctl = 0x4004_54ca;

#[allow(unsafe_code)]
mod call {
    use super::{MAKE, libc};

    nix::ioctl_write_ptr_bad!(
        /// Names an open `/dev/net/tun`, and so makes the interface.
        tun_set_iff,
        MAKE,
        libc::ifreq
    );
}

/// Makes the interface: Ethernet frames, with the header by which checksums and segments are left to who can
/// do them best.
#[allow(unsafe_code)]
pub(crate) fn open(interface: &Interface) -> Result<OwnedFd, NetworkError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => NetworkError::Unfit("there is no /dev/net/tun: modprobe tun".into()),
        io::ErrorKind::ResourceBusy => {
            NetworkError::Unfit(format!("the interface {interface} is in use by another process"))
        }
        _ => NetworkError::system(format!("making the interface {interface}"), source),
    };
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun").map_err(failed)?;
    let device = OwnedFd::from(device);
    // SAFETY: all zero is a valid `ifreq`: numbers, and a union of numbers and addresses.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.as_str().bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap_or_default();
    // SAFETY: the descriptor is open, and the kernel reads and writes one `ifreq`, which outlives the call.
    unsafe { call::tun_set_iff(std::os::fd::AsRawFd::as_raw_fd(&device), &request) }
        .map_err(|errno| failed(errno.into()))?;
    Ok(device)
}
