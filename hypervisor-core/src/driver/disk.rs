//! Disks as files, by `qemu-img`: a machine made from an image gets a thin copy of its own.

use std::{io, path::Path, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{process::Command, runtime::Handle, time::timeout};

use super::reach::Img;
use crate::{definition::DiskFormat, driver::DriverError};

/// Making or looking at one is a matter of milliseconds, but for a slow or hanging file system.
const IMG_MAX: Duration = Duration::from_secs(60);

/// What is known of a disk's file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Described {
    /// As large as the guest sees it, in bytes.
    #[serde(rename = "virtual-size")]
    pub size_bytes: u64,
    /// What the file takes now, in bytes.
    #[serde(rename = "actual-size", default)]
    pub used_bytes: u64,
    /// How it is written: qemu-img's word.
    pub format: String,
    /// The file it is a thin copy of.
    #[serde(rename = "full-backing-filename", default)]
    pub image: Option<String>,
    #[serde(default)]
    format_specific: FormatSpecific,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct FormatSpecific {
    data: Qcow2Header,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Qcow2Header {
    data_file: Option<String>,
}

impl Described {
    /// The file with what it holds, where that is another one (qcow2 allows it).
    pub fn data_file(&self) -> Option<&str> {
        self.format_specific.data.data_file.as_deref()
    }
}

/// Makes `path` a thin copy of `image`, which is only read from then on and must stay as it is.
/// `path` must not be there yet.
///
/// # Errors
/// [`DriverError::Unfit`] with what is wrong; nothing of `path` is left then.
pub async fn overlay(image: &Path, path: &Path) -> Result<(), DriverError> {
    let described = describe(image).await?;
    let format = match described.format.as_str() {
        "qcow2" => DiskFormat::Qcow2,
        "raw" => DiskFormat::Raw,
        other => {
            return Err(DriverError::Unfit(format!(
                "the image {} is {other}, not qcow2 or raw",
                image.display()
            )));
        }
    };
    // Absolute: in the copy a relative name would be taken from its folder. Both are options' values
    // and operands that begin with a slash, so neither is ever taken for an option.
    let image = absolute(image)?;
    let path = absolute(path)?;
    // qemu-img would write over it.
    let claimed = std::fs::File::create_new(&path);
    claimed.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => DriverError::Unfit(format!("{} is there already", path.display())),
        _ => DriverError::system(format!("making {}", path.display()), source),
    })?;
    let reach = Img::new().reads(&image).follows(&image, format)?.writes(&path);
    let words = [
        "create".as_ref(),
        "-q".as_ref(),
        "-f".as_ref(),
        "qcow2".as_ref(),
        "-F".as_ref(),
        word(format).as_ref(),
        "-b".as_ref(),
        image.as_os_str(),
        path.as_os_str(),
    ];
    let made = img(&words, reach).await;
    if made.is_err() {
        // It is the failure that is told.
        let _ = std::fs::remove_file(&path);
    }
    made.map(drop)
}

/// Makes a disk larger, whose file nothing has open. What is at its end then is empty.
///
/// # Errors
/// [`DriverError::Unfit`] with what is wrong, or that it would become smaller.
pub async fn grow(path: &Path, format: DiskFormat, size_bytes: u64) -> Result<(), DriverError> {
    let path = absolute(path)?;
    let size = size_bytes.to_string();
    let words = ["resize".as_ref(), "-q".as_ref(), "-f".as_ref(), word(format).as_ref(), path.as_os_str()];
    let reach = Img::new().writes(&path).follows(&path, format)?;
    img(&[&words[..], &[size.as_ref()]].concat(), reach).await.map(drop)
}

/// What the file is.
///
/// # Errors
/// [`DriverError::Unfit`] if it is not there, or no disk.
pub async fn describe(path: &Path) -> Result<Described, DriverError> {
    let path = absolute(path)?;
    // Shared: a running machine may have it open.
    let words = ["info".as_ref(), "-U".as_ref(), "--output=json".as_ref(), path.as_os_str()];
    let said = img(&words, Img::new().reads(&path)).await?;
    serde_json::from_slice(&said).map_err(|source| DriverError::system("understanding qemu-img", source))
}

fn word(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    }
}

pub(super) fn absolute(path: &Path) -> Result<std::path::PathBuf, DriverError> {
    std::path::absolute(path)
        .map_err(|source| DriverError::system(format!("finding {}", path.display()), source))
}

/// Runs qemu-img: what it printed, or its sentence. It is ended when this is dropped.
pub(super) async fn img(words: &[&std::ffi::OsStr], reach: Img) -> Result<Vec<u8>, DriverError> {
    let mut command = Command::new("qemu-img");
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let runtime = Handle::current();
    let start = move || {
        let _in_it = runtime.enter();
        command.spawn()
    };
    let running = async {
        let (child, _held) = reach.hold(start)?;
        child.wait_with_output().await
    };
    let done = timeout(IMG_MAX, running)
        .await
        .map_err(|_| DriverError::TimedOut { what: "qemu-img", limit: IMG_MAX })?
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                DriverError::Unfit("qemu-img is not installed (Debian package qemu-utils)".into())
            }
            _ => DriverError::system("running qemu-img", source),
        })?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it did not say why");
    Err(DriverError::Unfit(line.strip_prefix("qemu-img: ").unwrap_or(line).to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SIZE: u64 = 64 << 20;

    fn image(folder: &Path) -> std::path::PathBuf {
        // Names that a shell or an option parser would stumble over.
        let path = folder.join("-o an, image $(x).img");
        std::fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
        path
    }

    #[tokio::test]
    async fn a_thin_copy_is_as_large_as_its_image_and_takes_little() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path());
        let copy = folder.path().join("copy.qcow2");
        overlay(&image, &copy).await.unwrap();
        let described = describe(&copy).await.unwrap();
        assert_eq!((described.size_bytes, described.format.as_str()), (SIZE, "qcow2"));
        assert!(described.used_bytes < 1 << 20);
        assert_eq!(described.image.as_deref(), image.to_str());
        grow(&copy, DiskFormat::Qcow2, 2 * SIZE).await.unwrap();
        assert_eq!(describe(&copy).await.unwrap().size_bytes, 2 * SIZE);
        assert!(grow(&copy, DiskFormat::Qcow2, SIZE).await.is_err());
        // And a copy of the copy.
        let again = folder.path().join("again.qcow2");
        overlay(&copy, &again).await.unwrap();
        assert_eq!(describe(&again).await.unwrap().image.as_deref(), copy.to_str());
    }

    #[tokio::test]
    async fn what_is_there_is_not_written_over_and_what_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path());
        let precious = folder.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        let error = overlay(&image, &precious).await.unwrap_err();
        assert!(matches!(&error, DriverError::Unfit(why) if why.ends_with("is there already")), "{error}");
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious");

        let copy = folder.path().join("copy.qcow2");
        let error = overlay(&folder.path().join("no-such"), &copy).await.unwrap_err();
        assert!(matches!(&error, DriverError::Unfit(why) if why.contains("No such file")), "{error}");
        assert!(!copy.exists());
    }
}
