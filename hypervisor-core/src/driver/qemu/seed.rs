//! What cloud-init in a guest is told: a small FAT disk labelled `cidata` (cloud-init's NoCloud), made at
//! every start in the machine's folder and taken away when it is no longer wanted.

use std::{
    fs,
    io::{self, Cursor, Write},
    os::unix::fs::OpenOptionsExt,
};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use serde_json::json;

use super::folder::Folder;
use crate::{
    definition::CloudInit,
    driver::{DriverError, Launch},
};

/// The disk, in the machine's folder.
pub(super) const SEED: &str = "cidata.img";
/// Its size in bytes: a definition is far smaller.
const SEED_BYTES: usize = 1 << 20;
/// Characters of a host name (RFC 1035 §2.3.4).
const HOST_NAME_MAX: usize = 63;

/// Makes the disk, or sees to it that there is none.
pub(super) fn prepare(launch: &Launch, folder: &Folder) -> Result<(), DriverError> {
    let path = folder.within(SEED);
    let failed = |source| DriverError::system(format!("writing {}", path.display()), source);
    let Some(wanted) = &launch.definition.cloud_init else {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    };
    let image = image(launch, wanted).map_err(failed)?;
    let beside = folder.within("cidata.img.new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&beside).and_then(|mut file| file.write_all(&image));
    written.and_then(|()| fs::rename(&beside, &path)).map_err(failed)
}

/// The disk's bytes.
fn image(launch: &Launch, wanted: &CloudInit) -> io::Result<Vec<u8>> {
    let mut disk = Cursor::new(vec![0; SEED_BYTES]);
    fatfs::format_volume(&mut disk, FormatVolumeOptions::new().volume_label(*b"CIDATA     "))?;
    {
        let files = FileSystem::new(&mut disk, FsOptions::new())?;
        let root = files.root_dir();
        let write = |name: &str, text: &str| root.create_file(name)?.write_all(text.as_bytes());
        // JSON is YAML, and nothing in it can be mistaken for more of it.
        let about = json!({
            "instance-id": launch.id.to_string(),
            "local-hostname": host_name(&launch.name),
            "public-keys": wanted.ssh_keys,
        });
        write("meta-data", &about.to_string())?;
        write("user-data", wanted.user_data.as_deref().unwrap_or("#cloud-config\n{}\n"))?;
        if let Some(network) = &wanted.network {
            write("network-config", network)?;
        }
    }
    Ok(disk.into_inner())
}

/// The machine's name, as far as a host can be called so.
fn host_name(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let fitting: String = name.chars().map(fits).take(HOST_NAME_MAX).collect();
    let trimmed = fitting.trim_matches('-');
    if trimmed.is_empty() { "guest".into() } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read;

    use super::*;
    use crate::{
        definition::{Boot, Definition},
        machine::MachineId,
    };

    fn launch(folder: &std::path::Path, cloud_init: Option<CloudInit>) -> Launch {
        let definition = Definition { cloud_init, ..Definition::new(1, 64, Boot::Disk) };
        let id = MachineId(uuid::Uuid::from_u128(7));
        Launch {
            id,
            name: "größe 1".into(),
            definition,
            folder: folder.into(),
            own: Vec::new(),
            networks: crate::driver::Networks::default(),
            devices: crate::driver::Devices::default(),
        }
    }

    #[test]
    fn what_is_wanted_is_on_the_disk_and_what_is_not_is_gone() {
        let path = tempfile::tempdir().unwrap();
        let folder = Folder::new(path.path());
        let wanted = CloudInit {
            ssh_keys: vec!["ssh-ed25519 AAAA \"ann\"".into()],
            user_data: Some("#!/bin/sh\necho hello\n".into()),
            network: None,
        };
        prepare(&launch(path.path(), Some(wanted)), &folder).unwrap();
        let disk = fs::File::options().read(true).write(true).open(folder.within(SEED)).unwrap();
        let files = FileSystem::new(disk, FsOptions::new()).unwrap();
        assert_eq!(files.volume_label(), "CIDATA");
        let read = |name: &str| {
            let mut text = String::new();
            files.root_dir().open_file(name).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read("user-data"), "#!/bin/sh\necho hello\n");
        let about: serde_json::Value = serde_json::from_str(&read("meta-data")).unwrap();
        assert_eq!(about["local-hostname"], "gr--e-1");
        assert_eq!(about["public-keys"][0], "ssh-ed25519 AAAA \"ann\"");
        assert!(files.root_dir().open_file("network-config").is_err());
        drop(files);
        prepare(&launch(path.path(), None), &folder).unwrap();
        assert_eq!(fs::read_dir(path.path()).unwrap().count(), 0);
        prepare(&launch(path.path(), None), &folder).unwrap();
    }

    #[test]
    fn a_host_is_called_what_a_host_can_be() {
        assert_eq!(host_name("web1"), "web1");
        assert_eq!(host_name("my first.machine_"), "my-first-machine");
        assert_eq!(host_name("猫"), "guest");
    }
}
