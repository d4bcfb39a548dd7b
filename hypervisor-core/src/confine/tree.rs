//! A tree of mounts that shows a process the files it may reach and nothing else of the host, at the paths
//! they have (mount_namespaces(7)). What landlock does not bound is bounded by it: a socket of another
//! program, of the system's bus say, is nowhere to be found.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{OpenOptionsExt, symlink},
    },
    path::{Component, Path, PathBuf},
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
        mount_remount, unmount,
    },
    process::pivot_root,
    thread::{CapabilitySet, capabilities},
};

use super::{May, is_below};

/// Where the tree is put together: whichever of these is there. What is below it is not seen meanwhile, by
/// this thread alone.
const SITES: [&str; 4] = ["/tmp", "/run", "/mnt", "/var"];
/// Links that are followed on the way to one file, as the kernel has it (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// What the tree itself may take: names, no content.
const OPTIONS: &std::ffi::CStr = c"mode=0755,size=1M";

/// What the tree is made of.
#[derive(Default)]
struct Plan {
    /// By the path that no link is in: the file, whether it is a folder, and what may be done with it.
    shown: BTreeMap<PathBuf, (File, bool, May)>,
    /// Links on the way to them, and where they lead.
    links: BTreeSet<(PathBuf, PathBuf)>,
}

/// From now on this thread sees nothing else. False if it may make no such tree, or all is to be seen: then
/// it sees all there is.
///
/// # Errors
/// It could not be made. Then this thread is where it was.
pub(super) fn show(files: &[(PathBuf, May)]) -> io::Result<bool> {
    if !capabilities(None)?.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Ok(false);
    }
    let here = env::current_dir().ok();
    unshare(CloneFlags::CLONE_NEWNS)?;
    // What is mounted and unmounted here is nobody else's; what the host unmounts is gone here as well.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
    // Opened in this namespace: those of another cannot be shown in it.
    let plan = Plan::of(files);
    if plan.shown.contains_key(Path::new("/")) {
        return Ok(false);
    }
    let site = SITES.iter().map(Path::new).find(|site| site.is_dir()).ok_or(io::ErrorKind::NotFound)?;
    mount("tmpfs", site, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(OPTIONS))?;
    if let Err(error) = plan.make(site) {
        unmount(site, UnmountFlags::DETACH)?;
        return Err(error);
    }
    if let Some(here) = here {
        // It need not be among what is shown.
        let _ = env::set_current_dir(here);
    }
    Ok(true)
}

impl Plan {
    fn of(files: &[(PathBuf, May)]) -> Self {
        let mut plan = Self::default();
        for (path, may) in files {
            let Some(real) = plan.follow(path) else { continue };
            let Ok(file) = OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(&real) else {
                continue;
            };
            let Ok(is_folder) = file.metadata().map(|file| file.is_dir()) else { continue };
            let before = plan.shown.get(&real).map_or(May::Pass, |(_, _, before)| *before);
            plan.shown.insert(real, (file, is_folder, before.max(*may)));
        }
        plan
    }

    /// The path without links, which are noted.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let mut rest: VecDeque<OsString> = path.components().map(|part| part.as_os_str().into()).collect();
        let (mut real, mut links) = (PathBuf::from("/"), 0);
        while let Some(part) = rest.pop_front() {
            match Path::new(&part).components().next()? {
                Component::RootDir => real = "/".into(),
                Component::ParentDir => drop(real.pop()),
                Component::CurDir => {}
                Component::Prefix(_) | Component::Normal(_) => {
                    let next = real.join(&part);
                    let Ok(leads) = fs::read_link(&next) else {
                        real = next;
                        continue;
                    };
                    links += 1;
                    if links > LINKS_MAX {
                        return None;
                    }
                    let parts: Vec<OsString> =
                        leads.components().map(|part| part.as_os_str().into()).collect();
                    parts.into_iter().rev().for_each(|part| rest.push_front(part));
                    self.links.insert((next, leads));
                }
            }
        }
        Some(real)
    }

    /// Puts it together, and makes it this thread's root.
    fn make(&self, site: &Path) -> io::Result<()> {
        let within = |path: &Path| site.join(path.strip_prefix("/").unwrap_or(path));
        let mut folders: Vec<(&Path, May)> = Vec::new();
        // A folder comes before what is in it.
        for (real, (file, is_folder, may)) in &self.shown {
            let around = folders.iter().rev().find(|(folder, _)| is_below(real, [*folder]));
            match around {
                // It is there already, and may be written to where that is wanted.
                Some((_, other)) if !is_read_only(*other) || is_read_only(*may) => continue,
                Some(_) => {}
                None => make_place(&within(real), *is_folder)?,
            }
            mount_bind_recursive(format!("/proc/self/fd/{}", file.as_raw_fd()), within(real))?;
            if is_read_only(*may) {
                mount_remount(within(real), read_only(), c"")?;
            }
            if *is_folder {
                folders.push((real, *may));
            }
        }
        for (link, leads) in &self.links {
            let place = within(link);
            if let Some(folder) = place.parent().filter(|_| place.symlink_metadata().is_err()) {
                fs::create_dir_all(folder)?;
                symlink(leads, &place)?;
            }
        }
        mount_remount(site, read_only(), c"")?;
        env::set_current_dir(site)?;
        // The old root is put upon the new one, and taken away (pivot_root(2), notes).
        pivot_root(c".", c".")?;
        unmount(c".", UnmountFlags::DETACH)?;
        env::set_current_dir("/")
    }
}

fn is_read_only(may: May) -> bool {
    matches!(may, May::Pass | May::Read | May::Run)
}

fn read_only() -> MountFlags {
    MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV
}

/// Something to mount upon.
fn make_place(path: &Path, is_folder: bool) -> io::Result<()> {
    if is_folder {
        return fs::create_dir_all(path);
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(path).map(drop)
}
