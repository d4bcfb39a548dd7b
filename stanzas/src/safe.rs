//! What a guest or a stranger wrote, made safe to show: in a chat, a form, a terminal, a log.

/// The most bytes [`safe_text`] gives back.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// The most characters of one line.
pub const LINE_CHARS_MAX: usize = 240;

/// Lines a guest wrote, as plain text: escape sequences and control characters are gone, long lines
/// are cut, and of too much the end is kept, as the newest is what is asked for.
pub fn safe_text<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let safe: Vec<String> =
        lines.into_iter().flat_map(str::lines).map(|line| safe_line(line, LINE_CHARS_MAX)).collect();
    let mut kept = 0;
    let from = safe
        .iter()
        .rposition(|line| {
            kept += line.len() + 1;
            kept > TEXT_BYTES_MAX
        })
        .map_or(0, |too_much| too_much + 1);
    safe[from..].join("\n")
}

/// One line, at most `chars_max` characters long, the last of them `…` when something was cut.
pub fn safe_line(line: &str, chars_max: usize) -> String {
    let plain = without_escapes(line);
    let mut safe: String = plain.chars().take(chars_max).collect();
    if plain.chars().nth(chars_max).is_some() {
        safe.pop();
        safe.push('…');
    }
    safe.truncate(safe.trim_end().len());
    safe
}

/// A value on its way into XML: what XML 1.0 cannot hold (§2.2) and what deceives the eye is gone;
/// line breaks and tabs stay, and the joiners that Persian and emoji are written with.
pub fn safe_value(text: &str) -> String {
    let kept = |c: &char| matches!(c, '\n' | '\t' | '\u{200c}' | '\u{200d}') || !is_hostile(*c);
    text.chars().filter(kept).collect()
}

/// Drops ANSI (ECMA-48) escape sequences and every hostile character; a tab becomes a space. What
/// comes before a carriage return was overwritten on a real terminal, and is overwritten here.
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.trim_end_matches('\r').chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => skip_control_sequence(&mut chars),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                // Two-character sequences, some with one more to name a character set.
                Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => drop(chars.next()),
                _ => {}
            },
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            '\r' => plain.clear(),
            '\u{8}' => drop(plain.pop()),
            '\t' => plain.push(' '),
            c if is_hostile(c) => {}
            c => plain.push(c),
        }
    }
    plain
}

/// `CSI parameters… final`: up to and with the final byte.
fn skip_control_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    for c in chars.by_ref() {
        if matches!(c, '\u{40}'..='\u{7e}') || !matches!(c, '\u{20}'..='\u{3f}') {
            return;
        }
    }
}

/// `OSC … BEL` or `… ST`: a title, a link, a device's own string.
fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// Characters that never go out: controls (C0, DEL, C1), those that turn the direction of text
/// around, those without a width, and the non-characters XML refuses.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
        || (c as u32 & 0xfffe) == 0xfffe
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_line(hostile: &str, plain: &str) {
        assert_eq!(safe_line(hostile, 80), plain, "{hostile:?}");
    }

    #[test]
    fn plain_text_of_any_script_stays() {
        assert_line("login: Zoë 日本語 🙂 שלום", "login: Zoë 日本語 🙂 שלום");
    }

    #[test]
    fn escape_sequences_go() {
        assert_line("\u{1b}[1;31mred\u{1b}[0m", "red");
        assert_line("\u{1b}]0;title\u{7}after", "after");
        assert_line("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link");
        assert_line("\u{1b}(B\u{1b}cx\u{1b}Pq\u{1b}\\y", "xy");
        assert_line("\u{9b}31mred\u{9d}title\u{9c}x", "redx");
        assert_line("\u{1b}[31", "");
        assert_line("\u{1b}", "");
        assert_line("\u{1b}]never ended", "");
    }

    #[test]
    fn controls_and_deceivers_go() {
        assert_line("a\u{0}b\u{7}c\u{7f}d\u{85}e", "abcde");
        assert_line("user\u{202e}gnp.exe\u{2066}x\u{2069}", "usergnp.exex");
        assert_line("a\u{200b}b\u{200d}c\u{feff}d\u{ad}e\u{2060}f\u{e0041}", "abcdef");
        assert_line("a\u{fffe}\u{ffff}\u{1fffe}b", "ab");
        assert_line("a\u{2028}b", "ab");
    }

    #[test]
    fn overwritten_text_is_overwritten() {
        assert_line("10%\r20%\r\r", "20%");
        assert_line("abc\u{8}\u{8}x", "ax");
        assert_line("\u{8}x", "x");
    }

    #[test]
    fn lines_are_cut() {
        assert_eq!(safe_line("abcdef", 4), "abc…");
        assert_eq!(safe_line("abcd", 4), "abcd");
        assert_eq!(safe_line("🙂🙂🙂", 2), "🙂…");
    }

    #[test]
    fn of_too_much_the_end_is_kept() {
        let many: Vec<String> = (0..5000).map(|n| format!("line {n}")).collect();
        let text = safe_text(many.iter().map(String::as_str));
        assert!(text.len() <= TEXT_BYTES_MAX && text.len() > TEXT_BYTES_MAX - 20);
        assert!(text.ends_with("line 4999") && text.starts_with("line "));
        assert_eq!(safe_text(["a"; 5000]).len(), TEXT_BYTES_MAX - 1);
        let wide = "🙂".repeat(100_000);
        assert!(safe_text([wide.as_str()]).len() <= 4 * LINE_CHARS_MAX);
    }

    #[test]
    fn a_line_with_line_breaks_is_several() {
        assert_eq!(safe_text(["a\nb\r\nc", "d"]), "a\nb\nc\nd");
    }

    #[test]
    fn values_keep_their_lines() {
        assert_eq!(safe_value("می\u{200c}خواهم"), "می\u{200c}خواهم");
        assert_eq!(safe_value("a = 1\n\tb\u{0}\u{fffe}\u{202e} = 2\n"), "a = 1\n\tb = 2\n");
    }

    proptest! {
        // Making such text takes far longer than reading it.
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever a guest writes, nothing hostile comes out, nor too much of it.
        #[test]
        fn nothing_hostile_comes_through(
            lines in proptest::collection::vec(
                "(\u{1b}[\\[\\]P(]?|\u{9b}|\r|\u{8}|\\PC|\\p{C}|[0-9;m]){0,30}",
                0..8,
            ),
        ) {
            let text = safe_text(lines.iter().map(String::as_str));
            prop_assert!(text.len() <= TEXT_BYTES_MAX);
            prop_assert!(text.lines().all(|line| line.chars().count() <= LINE_CHARS_MAX));
            prop_assert!(!text.chars().any(|c| c != '\n' && is_hostile(c)), "{text:?}");
        }
    }
}
