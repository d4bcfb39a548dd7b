//! Disks' files, by `qemu-img` and by their own first bytes. The format is always given, never guessed:
//! what a guest wrote to a raw disk may look like any format.

pub(super) mod beneath;
pub(super) mod chain;
mod outside;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;
use tokio::{io::AsyncReadExt, process::Command, runtime::Handle};

pub use self::outside::{Outside, outside};
use super::{
    DriverError,
    disk::{absolute, img},
    disks::{DiskFile, Progress},
    reach::Img,
};
use crate::definition::{Disk, DiskFormat};

/// What qemu-img and QEMU say of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Image {
    virtual_size: u64,
    #[serde(default)]
    actual_size: u64,
    #[serde(default)]
    full_backing_filename: Option<PathBuf>,
    #[serde(default)]
    pub(super) snapshots: Vec<Kept>,
}

/// A snapshot in a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) vm_state_size: u64,
    pub(super) date_sec: i64,
    #[serde(default)]
    pub(super) date_nsec: u32,
}

impl Image {
    pub(super) fn file(&self) -> DiskFile {
        DiskFile {
            size_bytes: self.virtual_size,
            used_bytes: self.actual_size,
            backing: self.full_backing_filename.clone(),
        }
    }
}

/// What the file is. It must not be one of a machine that runs.
pub(super) async fn describe(path: &Path, format: DiskFormat) -> Result<Image, DriverError> {
    let path = absolute(path)?;
    let words: [&OsStr; 5] =
        ["info".as_ref(), "--output=json".as_ref(), "-f".as_ref(), format.word().as_ref(), path.as_ref()];
    let said = img(&words, Img::new().reads(&path)).await?;
    serde_json::from_slice(&said).map_err(|source| DriverError::system("understanding qemu-img", source))
}

/// Makes an empty one.
pub(super) async fn create(path: &Path, format: DiskFormat, size_bytes: u64) -> Result<(), DriverError> {
    let path = absolute(path)?;
    claim(&path)?;
    let size = size_bytes.to_string();
    let words: [&OsStr; 6] = [
        "create".as_ref(),
        "-q".as_ref(),
        "-f".as_ref(),
        format.word().as_ref(),
        path.as_ref(),
        size.as_ref(),
    ];
    let reach = Img::new().writes(&path);
    unclaimed(&path, img(&words, reach).await.map(drop))
}

/// Makes it larger.
pub(super) async fn resize(disk: &Disk, size_bytes: u64) -> Result<(), DriverError> {
    let size = size_bytes.to_string();
    let words: [&OsStr; 6] = [
        "resize".as_ref(),
        "-q".as_ref(),
        "-f".as_ref(),
        disk.format.word().as_ref(),
        disk.path.as_ref(),
        size.as_ref(),
    ];
    img(&words, Img::new().writes(&disk.path).follows(&disk.path, disk.format)?).await.map(drop)
}

/// Something to do to a snapshot of a file.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Take,
    Apply,
    Delete,
}

/// Does it.
pub(super) async fn snapshot(path: &Path, act: Act, name: &str) -> Result<(), DriverError> {
    let option = match act {
        Act::Take => "-c",
        Act::Apply => "-a",
        Act::Delete => "-d",
    };
    // It takes no format, and would guess; described as options it does not.
    let mut options = std::ffi::OsString::from("driver=qcow2,file.driver=file,file.filename=");
    options.push(OsStr::from_bytes(&comma_doubled(path.as_os_str().as_bytes())));
    let words: [&OsStr; 6] = [
        "snapshot".as_ref(),
        "-q".as_ref(),
        "--image-opts".as_ref(),
        option.as_ref(),
        name.as_ref(),
        options.as_ref(),
    ];
    img(&words, Img::new().writes(path).follows(path, DiskFormat::Qcow2)?).await.map(drop)
}

fn comma_doubled(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 })).collect()
}

/// Makes `path` a disk with all that can be read from this one.
pub(super) async fn copy(
    disk: &Disk,
    path: &Path,
    to: DiskFormat,
    progress: Progress<'_>,
) -> Result<(), DriverError> {
    let path = absolute(path)?;
    claim(&path)?;
    let copied = convert(disk, &path, to, progress).await;
    unclaimed(&path, copied)
}

async fn convert(
    disk: &Disk,
    path: &Path,
    to: DiskFormat,
    progress: Progress<'_>,
) -> Result<(), DriverError> {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-p", "-f", disk.format.word(), "-O", to.word()]).arg(&disk.path).arg(path);
    let reach = Img::new().reads(&disk.path).follows(&disk.path, disk.format)?.writes(path);
    converted(command, reach, progress).await
}

/// Runs a `qemu-img convert -p` to its end. It is ended when this is dropped.
pub(super) async fn converted(
    mut command: Command,
    reach: Img,
    progress: Progress<'_>,
) -> Result<(), DriverError> {
    let failed = |source| DriverError::system("running qemu-img", source);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    ends_with_us(&mut command);
    let runtime = Handle::current();
    let start = move || {
        let _in_it = runtime.enter();
        command.spawn()
    };
    let (mut child, _held) = reach.hold(start).map_err(failed)?;
    if let Some(mut said) = child.stdout.take() {
        let (mut part, mut last) = ([0; 256], None);
        while let Ok(1..) = said.read(&mut part).await.inspect(|read| {
            let now = percent(&part[..*read]);
            if now.is_some() && now != last {
                last = now;
                progress(now.unwrap_or_default());
            }
        }) {}
    }
    let done = child.wait_with_output().await.map_err(failed)?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it did not say why");
    Err(DriverError::Unfit(line.strip_prefix("qemu-img: ").unwrap_or(line).to_owned()))
}

/// Long work ends with the agent: nobody would look at what it left.
#[allow(unsafe_code)]
pub(super) fn ends_with_us(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe, and this of its operations touches no memory.
    unsafe {
        command.pre_exec(|| {
            let kill = rustix::process::Signal::KILL;
            rustix::process::set_parent_process_death_signal(Some(kill)).map_err(std::io::Error::from)
        });
    }
}

/// The last number in what `qemu-img -p` wrote: `    (12.50/100%)\r`.
fn percent(said: &[u8]) -> Option<u8> {
    let said = String::from_utf8_lossy(said);
    let (_, last) = said.rsplit_once('(')?;
    let (whole, _) = last.split_once('.')?;
    whole.trim().parse().ok()
}

/// qemu-img would write over what is there.
fn claim(path: &Path) -> Result<(), DriverError> {
    std::fs::File::create_new(path).map(drop).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => {
            DriverError::Unfit(format!("{} is there already", path.display()))
        }
        _ => DriverError::system(format!("making {}", path.display()), source),
    })
}

/// What was claimed and not made is taken away.
fn unclaimed(path: &Path, made: Result<(), DriverError>) -> Result<(), DriverError> {
    if made.is_err() {
        // It is the failure that is told.
        let _ = std::fs::remove_file(path);
    }
    made
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::driver::disk;

    #[test]
    fn progress_is_read_from_what_is_overwritten_on_a_terminal() {
        assert_eq!(percent(b"    (0.00/100%)\r    (12.50/100%)\r"), Some(12));
        assert_eq!(percent(b"    (100.00/100%)\r\n"), Some(100));
        assert_eq!(percent(b"0/100%)"), None);
    }

    #[tokio::test]
    async fn a_copy_is_whole_and_leaves_nothing_when_it_fails() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("a,base.raw");
        std::fs::write(&base, vec![7; 1 << 20]).unwrap();
        let thin = folder.path().join("thin.qcow2");
        disk::overlay(&base, &thin).await.unwrap();
        let said = std::sync::Mutex::new(Vec::new());
        let whole = folder.path().join("whole.qcow2");
        let disk = Disk::new(thin, DiskFormat::Qcow2);
        copy(&disk, &whole, DiskFormat::Qcow2, &|percent| said.lock().unwrap().push(percent)).await.unwrap();
        assert_eq!(said.lock().unwrap().last(), Some(&100));
        let described = describe(&whole, DiskFormat::Qcow2).await.unwrap().file();
        assert_eq!((described.size_bytes, described.backing), (1 << 20, None));
        let other = folder.path().join("other.qcow2");
        std::fs::remove_file(&base).unwrap();
        copy(&disk, &other, DiskFormat::Qcow2, &|_| {}).await.unwrap_err();
        assert!(!other.exists());
    }
}
