//! XML as people read it: one element a line, indented.

use minidom::Element;

/// The element over several lines, each indented by four spaces for Markdown.
pub fn block(element: &Element) -> String {
    let mut out = String::new();
    write(element, None, 1, &mut out);
    out
}

fn write(element: &Element, parent: Option<&str>, depth: usize, out: &mut String) {
    let indent = "    ".to_owned() + &"  ".repeat(depth - 1);
    let namespace = element.ns();
    let mut tag = element.name().to_owned();
    if parent != Some(namespace.as_str()) {
        tag += &format!(" xmlns='{namespace}'");
    }
    for ((of, name), value) in element.attrs().iter() {
        let prefix = if of.is_none() { "" } else { "xml:" };
        tag += &format!(" {prefix}{name}='{}'", escaped(value));
    }
    let text = element.text();
    if element.children().next().is_some() {
        *out += &format!("{indent}<{tag}>\n");
        for child in element.children() {
            write(child, Some(&namespace), depth + 1, out);
        }
        *out += &format!("{indent}</{}>\n", element.name());
    } else if text.is_empty() {
        *out += &format!("{indent}<{tag}/>\n");
    } else {
        let text = escaped(&text).replace('\n', &format!("\n{}", " ".repeat(4)));
        *out += &format!("{indent}<{tag}>{text}</{}>\n", element.name());
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}
