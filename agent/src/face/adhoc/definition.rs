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

    #[test]
    fn every_definition_that_a_fuzzer_found_is_the_same_as_toml_typed_and_as_a_payload() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/definition");
        let mut seen = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            let Ok(text) = std::fs::read_to_string(file.unwrap().path()) else { continue };
            let Ok(definition) = Known::from_toml(&text) else { continue };
            assert_eq!(there_and_back(&definition), definition);
            seen += 1;
        }
        assert!(seen > 5, "{seen}");
    }

    #[test]
    fn it_is_for_one_command() {
        let other = COMMANDS.iter().find(|one| one.verb == "start").unwrap();
        assert_eq!(word(other, &Definition::default()).unwrap_err().reason, Reason::BadRequest);
    }
}
