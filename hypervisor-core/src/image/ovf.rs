//! An OVF outside an archive: a description beside its disk, as a file each (DMTF DSP0243 1.1 and 2.1). It is
//! read for which file the disk is; what it says of processors, memory and NICs is a machine's, not an
//! image's, as with an OVA. A manifest beside it says what each file has to be.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use rxml::{AttrMap, Event, Namespace, Options, Parse, Parser, WithOptions, parser::CommentMode};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::{Digest, ImageError, header::unfit};

/// The longest description that is read, in bytes.
pub const OVF_BYTES_MAX: usize = 1 << 20;
/// The longest manifest that is read, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;
const DEPTH_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 255;

/// The one disk that is described: its file beside the description, as a relative path of plain names.
///
/// # Errors
/// It is no description, has no disk or several, or one that is elsewhere, in pieces or packed.
pub fn described(xml: &[u8]) -> Result<Vec<String>, ImageError> {
    let found = read(xml)?;
    let mut files: Vec<&File> = Vec::new();
    for disk in &found.disks {
        let Some(file) = found.files.get(disk) else { return unfit("it names a disk without a file") };
        files.push(file);
    }
    let file = match files.as_slice() {
        [] => return unfit("there is no disk in it"),
        [one] => *one,
        several => {
            let shown = |file: &&File| file.href.chars().filter(|c| !c.is_control()).take(60).collect();
            let names: Vec<String> = several.iter().take(8).map(shown).collect();
            return unfit(format!("it has several disks, import them one by one: {}", names.join(", ")));
        }
    };
    if found.stands_on_another {
        return unfit("its disk stands on another one");
    }
    if file.changed {
        return unfit("its disk is packed, or in pieces: unpack it, and import the disk itself");
    }
    beside(&file.href)
}

/// The names on the way to a file beside the description. Nothing absolute, upwards or elsewhere.
fn beside(href: &str) -> Result<Vec<String>, ImageError> {
    let elsewhere = || ImageError::Unfit("its disk is to be found elsewhere than beside it".into());
    if href.chars().count() > NAME_CHARS_MAX || href.contains([':', '?', '#', '\\']) {
        return Err(elsewhere());
    }
    let plain = |name: &str| {
        let name = percent_decode_str(name).decode_utf8().ok()?.into_owned();
        let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
        (!matches!(name.as_str(), "" | "." | "..") && !name.contains(odd)).then_some(name)
    };
    href.split('/').map(plain).collect::<Option<_>>().ok_or_else(elsewhere)
}

/// A file that a description refers to.
struct File {
    href: String,
    /// It is compressed, or cut into pieces.
    changed: bool,
}

#[derive(Default)]
struct Found {
    files: BTreeMap<String, File>,
    /// The files of its disks, by their ids, in order.
    disks: Vec<String>,
    stands_on_another: bool,
}

fn read(xml: &[u8]) -> Result<Found, ImageError> {
    let options = Options { comments: CommentMode::Discard, ..Options::default() };
    let mut parser = Parser::with_options(options);
    let (mut rest, mut depth, mut found) = (xml, 0_usize, Found::default());
    loop {
        match parser.parse(&mut rest, true) {
            Ok(Some(Event::StartElement(_, (_, name), attributes))) => {
                if depth == 0 && name != "Envelope" {
                    return unfit("it is no description of a machine (OVF)");
                }
                depth += 1;
                if depth > DEPTH_MAX {
                    return unfit("it is nested too deeply");
                }
                found.take(&name, &attributes);
            }
            Ok(Some(Event::EndElement(_))) => depth = depth.saturating_sub(1),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(found),
            Err(_) => return unfit("it is no description of a machine (OVF): its XML cannot be read"),
        }
    }
}

impl Found {
    fn take(&mut self, element: &str, attributes: &AttrMap) {
        // Some write their attributes without the prefix that the schema wants.
        let said = |name: &str| {
            let of = |(space, local): (&Namespace, &rxml::NcName)| {
                *local == name && (space.is_none() || space.as_str().contains("/ovf/envelope/"))
            };
            attributes.iter().find(|(key, _)| of(*key)).map(|(_, value)| value.clone())
        };
        match (element, said("id"), said("href"), said("fileRef")) {
            ("File", Some(id), Some(href), _) => {
                let packed = said("compression").is_some_and(|how| how != "identity");
                let changed = packed || said("chunkSize").is_some();
                self.files.insert(id, File { href, changed });
            }
            ("Disk", _, _, Some(file)) => {
                self.stands_on_another |= said("parentRef").is_some();
                if !self.disks.contains(&file) {
                    self.disks.push(file);
                }
            }
            _ => {}
        }
    }
}

/// What a manifest says that a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// Its SHA-1, as OVF 1 has it: it finds what was damaged, not what somebody forged.
    Sha1([u8; 20]),
    /// Its SHA-256.
    Sha256(Digest),
}

impl Sum {
    /// What a manifest says of a file: `SHA256(disk1.vmdk)= 0123…`.
    ///
    /// # Errors
    /// It says nothing of it, or nothing that is known here.
    pub fn of(manifest: &[u8], file: &str) -> Result<Self, ImageError> {
        let text = String::from_utf8_lossy(manifest);
        let about = |line: &str| {
            let (how, rest) = line.trim().split_once('(')?;
            let (name, sum) = rest.rsplit_once(")=")?;
            (name == file).then(|| (how.trim().to_ascii_uppercase(), sum.trim().to_owned()))
        };
        let known = |(how, sum): (String, String)| match how.as_str() {
            "SHA256" => sum.parse().ok().map(Self::Sha256),
            "SHA1" => hex20(&sum).map(Self::Sha1),
            _ => None,
        };
        text.lines().filter_map(about).find_map(known).ok_or_else(|| {
            ImageError::Unfit(format!("its manifest (.mf) has no SHA-256 or SHA-1 of {file:?}"))
        })
    }

    /// Whether these bytes are it.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Sha1(sum) => Sha1::digest(bytes)[..] == sum[..],
            Self::Sha256(sum) => Digest::of_bytes(Sha256::digest(bytes).into()) == *sum,
        }
    }
}

fn hex20(text: &str) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (text.len() == 40).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ovf(files: &str, disks: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><!-- Made by somebody -->\
             <Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
             xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"><References>{files}</References>\
             <DiskSection><Info>disks</Info>{disks}</DiskSection></Envelope>"
        )
    }

    fn one(href: &str) -> Result<Vec<String>, ImageError> {
        let files =
            format!("<File ovf:id=\"f1\" ovf:href=\"{href}\"/><File ovf:id=\"f2\" ovf:href=\"x.nvram\"/>");
        described(ovf(&files, "<Disk ovf:diskId=\"d\" ovf:fileRef=\"f1\"/>").as_bytes())
    }

    #[test]
    fn the_one_disk_is_named_wherever_others_put_their_prefixes() {
        assert_eq!(one("a-disk1.vmdk").unwrap(), ["a-disk1.vmdk"]);
        assert_eq!(one("disks/my%20disk.vmdk").unwrap(), ["disks", "my disk.vmdk"]);
        let bare = "<o:Envelope xmlns:o='http://schemas.dmtf.org/ovf/envelope/2'><o:References>\
            <o:File id='f' href='a.vmdk'/></o:References><o:DiskSection><o:Disk diskId='d'/>\
            <o:Disk fileRef='f'/></o:DiskSection></o:Envelope>";
        assert_eq!(described(bare.as_bytes()).unwrap(), ["a.vmdk"]);
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for href in [
            "../a.vmdk",
            "x/../../a.vmdk",
            "/etc/shadow",
            "//other/a.vmdk",
            "file:///etc/shadow",
            "a//b",
            ".",
            "",
            "http://other.example/a.vmdk",
            "..\\a.vmdk",
            "%2e%2e/a.vmdk",
            "x%2f..%2fa",
            "a.vmdk?x",
            "%0a",
            "%ff",
        ] {
            assert!(one(href).unwrap_err().to_string().contains("elsewhere"), "{href}");
        }
        assert!(one(&"a".repeat(256)).is_err());
    }

    #[test]
    fn what_is_no_description_of_one_disk_is_refused() {
        let why = |xml: &str| described(xml.as_bytes()).unwrap_err().to_string();
        assert!(why("").contains("cannot be read"));
        assert!(why("<html/>").contains("no description"));
        assert!(why("<!DOCTYPE x [<!ENTITY a 'b'>]><Envelope/>").contains("cannot be read"));
        assert!(why(&ovf("", "").replace("</Envelope>", "")).contains("cannot be read"));
        let deep = format!("<Envelope>{}", "<x>".repeat(DEPTH_MAX));
        assert!(why(&deep).contains("too deeply"));
        assert!(why(&ovf("", "")).contains("no disk"));
        assert!(why(&ovf("", "<Disk fileRef=\"f\"/>")).contains("without a file"));
        let file = |id: &str, more: &str| format!("<File id=\"{id}\" href=\"{id}.vmdk\" {more}/>");
        let disk = "<Disk fileRef=\"a\"/>";
        let several = ovf(&(file("a", "") + &file("b", "")), &format!("{disk}<Disk fileRef=\"b\"/>"));
        assert!(why(&several).contains("one by one: a.vmdk, b.vmdk"));
        assert!(why(&ovf(&file("a", "compression=\"gzip\""), disk)).contains("packed"));
        assert!(why(&ovf(&file("a", "chunkSize=\"100\""), disk)).contains("in pieces"));
        assert!(why(&ovf(&file("a", ""), "<Disk fileRef=\"a\" parentRef=\"p\"/>")).contains("another one"));
    }

    #[test]
    fn a_manifest_is_read_as_others_write_it() {
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let manifest =
            format!("SHA1(a (1).vmdk)= {sha1}\r\nSHA256 (b)= {sha256}\nSHA512(c)= 00\nSHA1(d)= 0\n");
        let sum = |file: &str| Sum::of(manifest.as_bytes(), file);
        assert!(sum("a (1).vmdk").unwrap().is_of(b"") && !sum("a (1).vmdk").unwrap().is_of(b"x"));
        assert_eq!(sum("b").unwrap(), Sum::Sha256(sha256.parse().unwrap()));
        assert!(sum("b").unwrap().is_of(b"") && !sum("b").unwrap().is_of(b"x"));
        for file in ["c", "d", "e"] {
            assert!(sum(file).unwrap_err().to_string().contains("has no SHA-256"), "{file}");
        }
    }
}
