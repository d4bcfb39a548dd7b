//! Commands that somebody gives together, on one host or several: `<together/>` in each `<command/>`. Who has
//! to agree to them is asked once.

use minidom::Element;

use crate::{element::set, ns, safe::safe_line};

/// The longest id that is kept, in characters.
const ID_MAX: usize = 64;
const NAME: &str = "together";

/// That a command is one of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Together {
    /// What they all bear; whose it is, the server says.
    pub id: String,
    /// How many there are, on this host.
    pub of: u16,
}

impl Together {
    /// The one in an element, if it says what it should.
    pub fn of(element: &Element) -> Option<Self> {
        let found = element.get_child(NAME, ns::COMMAND)?;
        let id = safe_line(found.attr("id")?.trim(), ID_MAX);
        let of = found.attr("of")?.parse().ok()?;
        (!id.is_empty() && of > 0).then_some(Self { id, of })
    }
}

impl From<&Together> for Element {
    fn from(together: &Together) -> Self {
        let mut element = Element::bare(NAME, ns::COMMAND);
        set(&mut element, "id", Some(&together.id));
        set(&mut element, "of", Some(&together.of.to_string()));
        element
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(inside: &str) -> Option<Together> {
        let text = format!("<command xmlns='{}'>{inside}</command>", ns::ADHOC);
        Together::of(&text.parse().unwrap())
    }

    #[test]
    fn what_is_said_is_read_and_bounded() {
        let together = Together { id: "5e1f".into(), of: 3 };
        let mut command = Element::bare("command", ns::ADHOC);
        command.append_child(Element::from(&together));
        assert_eq!(Together::of(&command), Some(together));
        let long = "x".repeat(5000);
        let read_long = read(&format!("<together xmlns='{}' id='{long}' of='2'/>", ns::COMMAND)).unwrap();
        assert!(read_long.id.chars().count() <= ID_MAX + 1);
        for odd in
            ["", "id='a'", "of='2'", "id=' ' of='2'", "id='a' of='0'", "id='a' of='70000'", "id='a' of='-1'"]
        {
            assert_eq!(read(&format!("<together xmlns='{}' {odd}/>", ns::COMMAND)), None, "{odd}");
        }
    }
}
