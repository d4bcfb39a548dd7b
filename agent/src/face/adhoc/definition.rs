//! A definition that a program sends typed goes on as if a person had given its TOML: the one way to read it,
//! to sign it and to write it down, and the one place that knows its keys.

use skerry_stanzas::{
    command::{Declaration, Object},
    payload::Definition,
    refusal::{Reason, Refusal},
};

/// It as a word of the command.
pub(super) fn word(declaration: &Declaration, definition: &Definition) -> Result<String, Refusal> {
    let no = |text: &str| Refusal::new(Reason::BadRequest, text);
    if (declaration.object, declaration.verb) != (Object::Machine, "define") {
        return Err(no("A definition is for the command define."));
    }
    let toml = toml::to_string(&definition.0);
    toml.map(|toml| format!("--toml={toml}")).map_err(|_| no("That definition cannot be written as TOML."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use hypervisor_core::definition::Definition as Known;
    use minidom::Element;
    use serde_json::Value;
    use skerry_stanzas::command::COMMANDS;

    use super::*;

    fn define() -> &'static Declaration {
        COMMANDS.iter().find(|one| one.verb == "define" && one.object == Object::Machine).unwrap()
    }

    /// What comes of a definition that goes the whole way: typed, as XML, back, and as a person writes it.
    fn there_and_back(definition: &Known) -> Known {
        let Value::Object(table) = serde_json::to_value(definition).unwrap() else { panic!("no table") };
        let xml = String::from(&Element::from(Definition(table)));
        let read = Definition::try_from(xml.parse::<Element>().unwrap()).unwrap();
        let word = word(define(), &read).unwrap();
        Known::from_toml(word.strip_prefix("--toml=").unwrap())
            .unwrap_or_else(|error| panic!("{error}: {xml}"))
    }

    /// Lists, tables in tables, numbers, words, and text that XML cannot hold.
    const WHOLE: &str = r##"
vcpus = 2
vcpus_max = 4
memory_mib = 512
memory_min_mib = 256
graphics = false
tpm = true
note = "one\ntwo <b> &amp; \\ 😀"

[boot]
from = "kernel"
kernel = "/boot/vmlinuz"
cmdline = "console=ttyS0"

[[disks]]
path = "/srv/web.qcow2"
format = "qcow2"
limits = { iops = 100, bytes_per_second = 1048576 }
boot_order = 1

[[nics]]
forwards = ["8080:80", "5353:53/udp"]

[[nics]]
name = "lan"
bridge = "br0"
mac = "52:54:00:12:34:56"

[[shares]]
name = "doc"
path = "/usr/share/doc"

[cloud_init]
user_data = "#cloud-config\r\n\tname: x\n"
"##;

    #[test]
    fn a_definition_is_the_same_as_toml_typed_and_as_a_payload() {
        let whole = Known::from_toml(WHOLE).unwrap();
        assert_eq!(there_and_back(&whole), whole);
        // And what a fuzzer found.
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/definition");
        for file in std::fs::read_dir(corpus).unwrap() {
            let Ok(text) = std::fs::read_to_string(file.unwrap().path()) else { continue };
            let Ok(definition) = Known::from_toml(&text) else { continue };
            assert_eq!(there_and_back(&definition), definition);
        }
    }

    #[test]
    fn it_is_for_one_command() {
        let other = COMMANDS.iter().find(|one| one.verb == "start").unwrap();
        assert_eq!(word(other, &Definition::default()).unwrap_err().reason, Reason::BadRequest);
    }
}
