//! A tree of mounts that shows a process the files it may reach and nothing else of the host, at the paths
//! they have (mount_namespaces(7)). What landlock does not bound is bounded by it: a socket of another
//! program, of the system's bus say, is nowhere to be found.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env,
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, symlink},
    },
    path::{Component, Path, PathBuf},
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, chownat, mknodat},
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
        mount_remount, unmount,
    },
    process::{Gid, Uid, pivot_root, umask},
    thread::{CapabilitySet, capabilities},
};

use super::{
    May, is_below,
    mapped::{Mapping, Owner},
};

/// Where the tree is put together: whichever of these is there. What is below it is not seen meanwhile, by
/// this thread alone.
const SITES: [&str; 4] = ["/tmp", "/run", "/mnt", "/var"];
/// Links that are followed on the way to one file, as the kernel has it (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// What the tree itself may take: names, no content.
const OPTIONS: &std::ffi::CStr = c"mode=0755,size=1M";

/// What others may need not be shown as one's own: to read it, and to use it.
const READ_BY_OTHERS: u32 = 0o4;
const PASSED_BY_OTHERS: u32 = 0o5;
const USED_BY_OTHERS: u32 = 0o6;

/// What is shown.
struct Shown {
    file: File,
    what: Metadata,
    may: May,
}

/// What the tree is made of.
#[derive(Default)]
struct Plan {
    /// By the path that no link is in.
    shown: BTreeMap<PathBuf, Shown>,
    /// Links on the way to them, and where they lead.
    links: BTreeSet<(PathBuf, PathBuf)>,
}

/// From now on this thread sees nothing else, and what it is shown is `user`'s, if there is one, as far as
/// that user needs it. False if it may make no such tree, or all is to be seen: then it sees all there is.
///
/// # Errors
/// It could not be made, or not for that user. Then this thread is where it was.
pub(super) fn show(files: &[(PathBuf, May)], user: Option<u32>) -> io::Result<bool> {
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
    mount("tmpfs", site, "tmpfs", MountFlags::NOSUID, Some(OPTIONS))?;
    // It is this thread's alone since the namespace is.
    let before = umask(Mode::WGRP | Mode::WOTH);
    let made = plan.make(site, user.map(Mapping::to));
    umask(before);
    if let Err(error) = made {
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
            let Ok(what) = file.metadata() else { continue };
            let before = plan.shown.get(&real).map_or(May::Pass, |before| before.may);
            plan.shown.insert(real, Shown { file, what, may: before.max(*may) });
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
    fn make(&self, site: &Path, mut mapping: Option<Mapping>) -> io::Result<()> {
        let within = |path: &Path| site.join(path.strip_prefix("/").unwrap_or(path));
        let mut folders: Vec<(&Path, May, Option<Owner>)> = Vec::new();
        // A folder comes before what is in it.
        for (real, shown) in &self.shown {
            let owner = shown.owner().filter(|_| mapping.is_some());
            let around = folders.iter().rev().find(|(folder, ..)| is_below(real, [*folder]));
            if around.is_some_and(|(_, may, whose)| shown.is_there(*may, *whose, owner)) {
                continue;
            }
            shown
                .put(&within(real), around.is_some(), mapping.as_mut(), owner)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", real.display())))?;
            if shown.what.is_dir() {
                folders.push((real, shown.may, owner));
            }
        }
        for (link, leads) in &self.links {
            let place = within(link);
            if let Some(folder) = place.parent().filter(|_| place.symlink_metadata().is_err()) {
                fs::create_dir_all(folder)?;
                symlink(leads, &place)?;
            }
        }
        // With the devices that were made in it.
        mount_remount(site, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID, c"")?;
        env::set_current_dir(site)?;
        // The old root is put upon the new one, and taken away (pivot_root(2), notes).
        pivot_root(c".", c".")?;
        unmount(c".", UnmountFlags::DETACH)?;
        env::set_current_dir("/")
    }
}

impl Shown {
    /// Whose it is, if a user of its own needs to be shown it as its own: to write it, or to read what others
    /// may not.
    fn owner(&self) -> Option<Owner> {
        let all = if self.what.is_dir() { PASSED_BY_OTHERS } else { READ_BY_OTHERS };
        let needs = match self.may {
            May::Pass | May::Drive => false,
            May::Read | May::Run => self.what.mode() & all != all,
            May::Listen | May::Write | May::Fill => true,
        };
        needs.then(|| Owner { uid: self.what.uid(), gid: self.what.gid() })
    }

    /// Whether it is a device that others may not use. Whose it is cannot be shown otherwise where devices
    /// are.
    fn is_anothers_device(&self) -> bool {
        let kind = self.what.file_type();
        (kind.is_char_device() || kind.is_block_device())
            && self.what.mode() & USED_BY_OTHERS != USED_BY_OTHERS
    }

    /// Whether it needs no more than the folder around it: that may be written to where it may, and its files
    /// are whose it is to be.
    fn is_there(&self, around: May, whose: Option<Owner>, owner: Option<Owner>) -> bool {
        let is_written = !is_read_only(around) || is_read_only(self.may);
        is_written && owner.is_none_or(|owner| whose.is_some_and(|whose| whose.uid == owner.uid))
    }

    /// Puts it in its place.
    fn put(
        &self,
        place: &Path,
        has_place: bool,
        mapping: Option<&mut Mapping>,
        owner: Option<Owner>,
    ) -> io::Result<()> {
        if let Some(mapping) = mapping.as_ref().filter(|_| !has_place && self.is_anothers_device()) {
            return self.make_device(place, mapping.uid());
        }
        if !has_place {
            make_place(place, self.what.is_dir())?;
        }
        match (mapping, owner) {
            (Some(mapping), Some(owner)) => mapping.show(&self.file, place, owner, is_read_only(self.may)),
            _ => self.bind(place),
        }
    }

    /// The same device once more, the user's.
    fn make_device(&self, place: &Path, uid: u32) -> io::Result<()> {
        place.parent().map_or(Ok(()), fs::create_dir_all)?;
        let is_block = self.what.file_type().is_block_device();
        let kind = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
        mknodat(CWD, place, kind, Mode::RUSR | Mode::WUSR, self.what.rdev())?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
        Ok(chownat(CWD, place, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Shows it as it is.
    fn bind(&self, place: &Path) -> io::Result<()> {
        mount_bind_recursive(format!("/proc/self/fd/{}", self.file.as_raw_fd()), place)?;
        if is_read_only(self.may) {
            mount_remount(place, read_only(), c"")?;
        }
        Ok(())
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
