//! What is said to people is written for a chat (XEP-0393). Whatever shows no styling gets it plain.

/// A block of text in one width.
const FENCE: &str = "```";

/// Without what is for clients with a choice of fonts: fences, and the stars about the first word of a
/// line. What stands within fences stays as it is: it may be a guest's.
pub fn plain(text: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim() == FENCE {
            fenced = !fenced;
            continue;
        }
        lines.push(match line.strip_prefix('*').and_then(|rest| rest.split_once('*')) {
            Some((word, rest)) if !fenced && !word.is_empty() && !word.starts_with(' ') => {
                format!("{word}{rest}")
            }
            _ => line.to_owned(),
        });
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_and_stars_are_for_chat_clients() {
        assert_eq!(plain("Two:\n```\na\n  b\n```"), "Two:\na\n  b");
        assert_eq!(plain("*kvm1*: up\n* a\n*b\n**"), "kvm1: up\n* a\n*b\n**");
        assert_eq!(plain("*disk create*: make one"), "disk create: make one");
    }

    #[test]
    fn what_a_guest_wrote_is_left_as_it_is() {
        assert_eq!(plain("*web1*:\n```\n*** boot ***\n*a* b\n```\n*c* d"), "web1:\n*** boot ***\n*a* b\nc d");
    }
}
