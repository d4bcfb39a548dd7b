//! An OVA to take elsewhere: a description (OVF 1.1), a manifest with checksums, and each disk as a stream
//! optimised VMDK, in one tar archive, in the order the standard wants (DMTF DSP0243 §5.3).

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    Chain, Digest, Format, ImageError,
    convert::stream_optimized,
    inspect, ova,
    staging::{Hashing, aside},
};

/// What the machine is, beside its disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// What it is called.
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// How many NICs it has.
    pub nics: usize,
}

/// A disk in it.
struct Disk {
    file: String,
    path: PathBuf,
    bytes: u64,
    capacity_bytes: u64,
    digest: Digest,
}

/// Writes one. `folder` is for what it is put together from, and the caller's to remove. `progress` hears the
/// percent done.
///
/// # Errors
/// A disk cannot be read, or there is no room. What is there of `target` then is the caller's to remove.
pub async fn pack(
    appliance: Appliance,
    disks: &[(PathBuf, Format, Chain)],
    (folder, target): (&Path, &Path),
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), ImageError> {
    let count = disks.len() as u64;
    let mut packed = Vec::new();
    for (at, (source, format, chain)) in disks.iter().enumerate() {
        let file = format!("disk{}.vmdk", at + 1);
        let path = folder.join(&file);
        let before = at as u64 * 100;
        // Converting is most of it; to read it twice more is the rest.
        let percent = &mut |percent: u64| progress((before + percent) * 8 / (10 * count));
        stream_optimized((source, *format, *chain), &path, percent).await?;
        packed.push(hashed(file, path).await?);
    }
    let target = target.to_owned();
    let of: u64 = packed.iter().map(|disk| disk.bytes).sum();
    let work = move |went_on: &mut dyn FnMut(u64) -> bool| archive(&appliance, &packed, &target, went_on);
    aside(work, &mut |done| progress(80 + done.min(of) * 20 / of.max(1))).await
}

async fn hashed(file: String, path: PathBuf) -> Result<Disk, ImageError> {
    let work = move |went_on: &mut dyn FnMut(u64) -> bool| {
        let mut from = File::open(&path).map_err(ImageError::system("reading the disk"))?;
        let capacity_bytes = inspect(&from, Some(Format::Vmdk))?.size_bytes;
        let mut to = Hashing { to: io::sink(), hash: Sha256::new() };
        io::Seek::rewind(&mut from).map_err(ImageError::system("reading the disk"))?;
        let bytes = ova::copy(&mut from, &mut to, went_on)?;
        let digest = Digest::of_bytes(to.hash.finalize().into());
        Ok(Disk { file, path, bytes, capacity_bytes, digest })
    };
    aside(work, &mut |_| {}).await
}

fn archive(
    appliance: &Appliance,
    disks: &[Disk],
    target: &Path,
    went_on: &mut dyn FnMut(u64) -> bool,
) -> Result<(), ImageError> {
    let failed = |error| ImageError::system("writing the archive")(error);
    let described = describe(appliance, disks);
    let ovf = format!("{}.ovf", file_name(&appliance.name));
    let mut manifest =
        format!("SHA256({ovf})= {}\n", Digest::of_bytes(Sha256::digest(described.as_bytes()).into()));
    for disk in disks {
        let _ = writeln!(manifest, "SHA256({})= {}", disk.file, disk.digest);
    }
    let file = File::create_new(target).map_err(failed)?;
    let mut tar = tar::Builder::new(io::BufWriter::new(file));
    let mut put = |name: &str, bytes: u64, from: &mut dyn io::Read| -> Result<(), ImageError> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, from).map_err(failed)
    };
    put(&ovf, described.len() as u64, &mut described.as_bytes())?;
    put(&ovf.replace(".ovf", ".mf"), manifest.len() as u64, &mut manifest.as_bytes())?;
    let mut before = 0;
    for disk in disks {
        let from = File::open(&disk.path).map_err(failed)?;
        let mut from = Heard { from, done: before, went_on: &mut *went_on };
        put(&disk.file, disk.bytes, &mut from)?;
        before += disk.bytes;
    }
    let mut file = tar.into_inner().map_err(failed)?;
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)
}

/// What says how far it was read, and stops when nobody waits for it any more.
struct Heard<'a> {
    from: File,
    done: u64,
    went_on: &'a mut dyn FnMut(u64) -> bool,
}

impl io::Read for Heard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.done += read as u64;
        match (self.went_on)(self.done) {
            true => Ok(read),
            false => Err(io::Error::other("given up")),
        }
    }
}

/// What of a name can be one of a file anywhere.
fn file_name(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let fitting: String = name.chars().map(fits).take(60).collect();
    let fitting = fitting.trim_start_matches(['.', '-']);
    if fitting.is_empty() { "machine".into() } else { fitting.into() }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Where the words of an item come from, and in which order: the schema fixes both.
const RASD: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData";
const VSSD: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData";
const OVF: &str = "http://schemas.dmtf.org/ovf/envelope/1";
const STREAM: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

fn item(words: &[(&str, String)]) -> String {
    let mut item = String::from("      <Item>\n");
    for (word, value) in words {
        let _ = writeln!(item, "        <rasd:{word}>{}</rasd:{word}>", escaped(value));
    }
    item + "      </Item>\n"
}

fn describe(appliance: &Appliance, disks: &[Disk]) -> String {
    let name = escaped(&appliance.name);
    let (mut files, mut sections) = (String::new(), String::new());
    for (at, disk) in disks.iter().enumerate().map(|(at, disk)| (at + 1, disk)) {
        let Disk { file, bytes, capacity_bytes, .. } = disk;
        let _ = writeln!(files, "    <File ovf:id=\"file{at}\" ovf:href=\"{file}\" ovf:size=\"{bytes}\"/>");
        let _ = writeln!(
            sections,
            "    <Disk ovf:diskId=\"disk{at}\" ovf:fileRef=\"file{at}\" ovf:capacity=\"{capacity_bytes}\" \
             ovf:format=\"{STREAM}\"/>"
        );
    }
    let networks = match appliance.nics {
        0 => String::new(),
        _ => "  <NetworkSection>\n    <Info>Networks</Info>\n    <Network ovf:name=\"NAT\">\n      \
              <Description>Outwards only</Description>\n    </Network>\n  </NetworkSection>\n"
            .into(),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Envelope xmlns=\"{OVF}\" xmlns:ovf=\"{OVF}\" xmlns:rasd=\"{RASD}\" xmlns:vssd=\"{VSSD}\" \
         ovf:version=\"1.0\" xml:lang=\"en-US\">\n  \
         <References>\n{files}  </References>\n  \
         <DiskSection>\n    <Info>Disks</Info>\n{sections}  </DiskSection>\n{networks}  \
         <VirtualSystem ovf:id=\"{name}\">\n    <Info>A machine</Info>\n    <Name>{name}</Name>\n    \
         <OperatingSystemSection ovf:id=\"1\">\n      <Info>What runs in it</Info>\n      \
         <Description>Other</Description>\n    </OperatingSystemSection>\n    \
         <VirtualHardwareSection>\n      <Info>What it is made of</Info>\n      <System>\n        \
         <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>\n        \
         <vssd:InstanceID>0</vssd:InstanceID>\n        \
         <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>\n        \
         <vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType>\n      </System>\n{}    \
         </VirtualHardwareSection>\n  </VirtualSystem>\n</Envelope>\n",
        hardware(appliance, disks.len())
    )
}

fn hardware(appliance: &Appliance, disks: usize) -> String {
    let say = |text: &str| text.to_owned();
    let mut items = item(&[
        ("AllocationUnits", say("hertz * 10^6")),
        ("ElementName", format!("{} virtual CPUs", appliance.vcpus)),
        ("InstanceID", say("1")),
        ("ResourceType", say("3")),
        ("VirtualQuantity", appliance.vcpus.to_string()),
    ]);
    items += &item(&[
        ("AllocationUnits", say("byte * 2^20")),
        ("ElementName", format!("{} MB of memory", appliance.memory_mib)),
        ("InstanceID", say("2")),
        ("ResourceType", say("4")),
        ("VirtualQuantity", appliance.memory_mib.to_string()),
    ]);
    items += &item(&[
        ("Address", say("0")),
        ("ElementName", say("SATA Controller 0")),
        ("InstanceID", say("3")),
        ("ResourceSubType", say("AHCI")),
        ("ResourceType", say("20")),
    ]);
    for at in 1..=disks {
        items += &item(&[
            ("AddressOnParent", (at - 1).to_string()),
            ("ElementName", format!("Disk {at}")),
            ("HostResource", format!("ovf:/disk/disk{at}")),
            ("InstanceID", (3 + at).to_string()),
            ("Parent", say("3")),
            ("ResourceType", say("17")),
        ]);
    }
    for at in 1..=appliance.nics {
        items += &item(&[
            ("AddressOnParent", (at - 1).to_string()),
            ("AutomaticAllocation", say("true")),
            ("Connection", say("NAT")),
            ("ElementName", format!("NIC {at}")),
            ("InstanceID", (3 + disks + at).to_string()),
            ("ResourceSubType", say("E1000")),
            ("ResourceType", say("10")),
        ]);
    }
    items
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{io::Read as _, os::unix::fs::FileExt as _, process::Command};

    use super::*;
    use crate::{definition::DiskFormat, image::convert};

    fn appliance() -> Appliance {
        Appliance { name: "web & <co>".into(), vcpus: 2, memory_mib: 512, nics: 1 }
    }

    /// A disk with something at its beginning and in its middle.
    fn disk(path: &Path) -> Vec<u8> {
        let file = File::create_new(path).unwrap();
        file.set_len(4 << 20).unwrap();
        file.write_all_at(b"\x55\xaa", 510).unwrap();
        file.write_all_at(&[7; 5000], 3 << 20).unwrap();
        std::fs::read(path).unwrap()
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_and_the_manifest_holds() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let content = disk(&at("source.raw"));
        let disks = [(at("source.raw"), Format::Raw, Chain::Alone)];
        let mut last = 0;
        pack(appliance(), &disks, (folder.path(), &at("x.ova")), &mut |percent| last = percent)
            .await
            .unwrap();
        assert_eq!(last, 100);
        let mut members = Vec::new();
        let mut archive = tar::Archive::new(File::open(at("x.ova")).unwrap());
        for member in archive.entries().unwrap() {
            let mut member = member.unwrap();
            let name = member.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            members.push((name, bytes));
        }
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["web----co-.ovf", "web----co-.mf", "disk1.vmdk"]);
        let manifest = String::from_utf8(members[1].1.clone()).unwrap();
        for (name, bytes) in [&members[0], &members[2]] {
            let digest = Digest::of_bytes(Sha256::digest(bytes).into());
            assert!(manifest.contains(&format!("SHA256({name})= {digest}\n")), "{manifest}");
        }
        let described = String::from_utf8(members[0].1.clone()).unwrap();
        assert!(described.contains("<Name>web &amp; &lt;co&gt;</Name>"), "{described}");
        assert!(described.contains("ovf:capacity=\"4194304\""), "{described}");
        // QEMU's own tool reads the disk in it, and finds what was there.
        std::fs::write(at("out.vmdk"), &members[2].1).unwrap();
        let said = Command::new("qemu-img").arg("info").arg(at("out.vmdk")).output().unwrap();
        assert!(String::from_utf8_lossy(&said.stdout).contains("streamOptimized"), "{said:?}");
        let from = (&*at("out.vmdk"), Format::Vmdk, Chain::Alone);
        convert(from, (&at("out.raw"), DiskFormat::Raw), &mut |_| {}).await.unwrap();
        assert_eq!(std::fs::read(at("out.raw")).unwrap(), content);
    }

    #[tokio::test]
    async fn our_own_import_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let content = disk(&at("source.raw"));
        let disks = [(at("source.raw"), Format::Raw, Chain::Alone)];
        pack(appliance(), &disks, (folder.path(), &at("x.ova")), &mut |_| {}).await.unwrap();
        let images = super::super::Images::open(at("images")).unwrap();
        let staging = images.stage("one").unwrap();
        let arrived = staging.copy(File::open(at("x.ova")).unwrap(), &mut |_, _| {}).await.unwrap();
        let staged = staging.finish(arrived, None, &mut |_, _| {}).await.unwrap();
        assert_eq!((staged.format, staged.size_bytes), (Format::Ova, 4 << 20));
        let kept = images.keep(staged).await.unwrap();
        let from = (kept.as_path(), Format::Qcow2, Chain::Alone);
        convert(from, (&at("out.raw"), DiskFormat::Raw), &mut |_| {}).await.unwrap();
        assert_eq!(std::fs::read(at("out.raw")).unwrap(), content);
    }

    #[test]
    fn a_description_is_xml_that_others_read() {
        let disks = [Disk {
            file: "disk1.vmdk".into(),
            path: "/x".into(),
            bytes: 10,
            capacity_bytes: 20,
            digest: Digest::of_bytes([0; 32]),
        }];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.ovf");
        std::fs::write(&file, describe(&appliance(), &disks)).unwrap();
        // Somebody else's parser: every item of hardware, with its words in the order of the schema.
        let program = "import sys, xml.etree.ElementTree as tree\n\
            items = list(tree.parse(sys.argv[1]).getroot().iter('{http://schemas.dmtf.org/ovf/envelope/1}Item'))\n\
            names = [[child.tag.split('}')[1] for child in item] for item in items]\n\
            assert all(words == sorted(words) for words in names), names\n\
            print(len(items))";
        let said = Command::new("python3").args(["-c", program]).arg(&file).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "5", "{said:?}");
    }
}
