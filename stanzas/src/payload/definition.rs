//! What a machine is made of, for programs: each value with its kind, its name and its place.
//!
//! There is no list of keys here: they are those of the definition itself, as its TOML has them, and whoever
//! reads it as a definition refuses what it does not know.

use minidom::Element;
use serde_json::{Map, Number, Value};
use xso::error::{Error, FromElementError};

use crate::{element::set, ns, safe::safe_value};

const ROOT: &str = "definition";
/// The most values, lists and tables of one definition.
const VALUES_MAX: usize = 4096;
const DEPTH_MAX: usize = 12;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The longest text of one value, in bytes: as long as a definition that a person wrote may be.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A definition: its keys and their values, as JSON and TOML have them as well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition(pub Map<String, Value>);

impl Definition {
    /// The one in an element, if there is one.
    ///
    /// # Errors
    /// It is none, or over a bound.
    pub fn of(element: &Element) -> Result<Option<Self>, Error> {
        let found = element.get_child(ROOT, ns::DEFINITION);
        found.map(|child| Reader::default().table(child, 0).map(Self)).transpose()
    }
}

impl TryFrom<Element> for Definition {
    type Error = FromElementError;

    fn try_from(element: Element) -> Result<Self, FromElementError> {
        if !element.is(ROOT, ns::DEFINITION) {
            return Err(FromElementError::Mismatch(element));
        }
        Reader::default().table(&element, 0).map(Self).map_err(FromElementError::Invalid)
    }
}

impl From<Definition> for Element {
    fn from(definition: Definition) -> Self {
        Self::from(&definition)
    }
}

impl From<&Definition> for Element {
    fn from(definition: &Definition) -> Self {
        let mut element = Element::bare(ROOT, ns::DEFINITION);
        fill(&mut element, &definition.0);
        element
    }
}

fn fill(element: &mut Element, table: &Map<String, Value>) {
    for (name, value) in table {
        if let Some(mut child) = write(value) {
            set(&mut child, "name", Some(name));
            element.append_child(child);
        }
    }
}

/// What is nothing is left out, as in TOML.
fn write(value: &Value) -> Option<Element> {
    let of = |kind: &str, text: String| {
        let mut element = Element::bare(kind, ns::DEFINITION);
        element.append_text(text);
        element
    };
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => of("boolean", yes.to_string()),
        Value::Number(number) => of("number", number.to_string()),
        // What XML cannot hold goes as JSON writes it, with nothing but ASCII in it.
        Value::String(text) if *text != safe_value(text) => {
            let mut element = of("string", ascii(text));
            set(&mut element, "as", Some("json"));
            element
        }
        Value::String(text) => of("string", text.clone()),
        Value::Array(items) => {
            let mut element = Element::bare("list", ns::DEFINITION);
            for item in items.iter().filter_map(write) {
                element.append_child(item);
            }
            element
        }
        Value::Object(table) => {
            let mut element = Element::bare("table", ns::DEFINITION);
            fill(&mut element, table);
            element
        }
    })
}

fn ascii(text: &str) -> String {
    let mut written = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\\') => {
                written.push(char::from(byte));
            }
            _ => written.push_str(&format!("\\u{unit:04x}")),
        }
    }
    written.push('"');
    written
}

/// Reads within bounds.
#[derive(Default)]
struct Reader {
    values: usize,
}

impl Reader {
    fn table(&mut self, element: &Element, depth: usize) -> Result<Map<String, Value>, Error> {
        let mut table = Map::new();
        for child in element.children() {
            let name = child.attr("name").filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX);
            let name = name.ok_or(Error::Other("A value of the definition has no name, or a long one."))?;
            if table.insert(name.to_owned(), self.value(child, depth)?).is_some() {
                return Err(Error::Other("A name is in the definition twice."));
            }
        }
        Ok(table)
    }

    fn value(&mut self, element: &Element, depth: usize) -> Result<Value, Error> {
        self.values += 1;
        if self.values > VALUES_MAX || depth >= DEPTH_MAX || element.ns() != ns::DEFINITION {
            return Err(Error::Other("The definition is too large, or holds something else."));
        }
        let text = element.text();
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::Other("A value of the definition is too long."));
        }
        let no = Error::Other("A value of the definition is not of its kind.");
        match (element.name(), text.trim()) {
            ("boolean", "true" | "1") => Ok(Value::Bool(true)),
            ("boolean", "false" | "0") => Ok(Value::Bool(false)),
            ("number", number) => number.parse::<Number>().map(Value::Number).map_err(|_| no),
            ("string", json) if element.attr("as") == Some("json") => {
                serde_json::from_str::<String>(json).map(Value::String).map_err(|_| no)
            }
            ("string", _) if element.attr("as").is_none() => Ok(Value::String(text)),
            ("list", "") => {
                let items = element.children().map(|item| self.value(item, depth + 1));
                items.collect::<Result<_, _>>().map(Value::Array)
            }
            ("table", "") => self.table(element, depth + 1).map(Value::Object),
            _ => Err(no),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(xml: &str) -> Result<Definition, String> {
        let element: Element =
            format!("<definition xmlns='{}'>{xml}</definition>", ns::DEFINITION).parse().unwrap();
        Definition::try_from(element).map_err(|error| error.to_string())
    }

    fn there_and_back(definition: &Definition) -> Definition {
        let xml = String::from(&Element::from(definition));
        Definition::try_from(xml.parse::<Element>().unwrap()).unwrap()
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            // Whole strings of proptest's have no control characters.
            prop::collection::vec(any::<char>(), 0..12)
                .prop_map(|chars| Value::from(String::from_iter(chars))),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z_]{1,9}", inner, 0..6)
                    .prop_map(|table| Value::Object(table.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_as_the_same(
            table in prop::collection::btree_map("[a-z_]{1,9}", values(), 0..8)
        ) {
            let definition = Definition(table.into_iter().collect());
            prop_assert_eq!(there_and_back(&definition), definition);
        }
    }

    #[test]
    fn what_is_nothing_is_left_out_and_what_xml_cannot_hold_is_not() {
        let table = json!({"note": null, "cmdline": "a\u{1b}[2J\r\n😀\"\\"});
        let definition = Definition(table.as_object().unwrap().clone());
        let read = there_and_back(&definition);
        assert_eq!(Value::Object(read.0), json!({"cmdline": "a\u{1b}[2J\r\n😀\"\\"}));
    }

    #[test]
    fn what_is_no_definition_is_refused() {
        assert!(read("<number name='vcpus'>2</number>").is_ok());
        for wrong in [
            "<number>2</number>",
            "<number name=''>2</number>",
            "<number name='a'>2</number><number name='a'>2</number>",
            "<number name='a'>two</number>",
            "<boolean name='a'>yes</boolean>",
            "<table name='a'>text</table>",
            "<string name='a' as='yaml'>x</string>",
            "<string name='a' as='json'>1</string>",
            "<file name='a'/>",
            "<number xmlns='x' name='a'>2</number>",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let deep = |depth: usize| {
            let (open, close) = ("<list>".repeat(depth - 1), "</list>".repeat(depth - 1));
            read(&format!("<list name='a'>{open}{close}</list>"))
        };
        assert!(deep(DEPTH_MAX).is_ok() && deep(DEPTH_MAX + 1).is_err());
        let many = |count: usize| read(&format!("<list name='a'>{}</list>", "<list/>".repeat(count - 1)));
        assert!(many(VALUES_MAX).is_ok() && many(VALUES_MAX + 1).is_err());
    }
}
