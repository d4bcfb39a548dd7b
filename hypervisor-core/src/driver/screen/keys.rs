//! The keys of a PC keyboard of the US layout: by what people call them, and by what they write.
//!
//! A guest turns keys into characters by the layout it was told, which nobody outside knows; firmware,
//! boot loaders and installers begin with the US one, so that is the one typed in.

/// A key, by QEMU's name for it (QKeyCode), which other hypervisors' names can be looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(&'static str);

impl Key {
    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }
}

/// Keys held down together, pressed in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chord(Vec<Key>);

/// The most keys that are held down together: hands have ten fingers, PS/2 keyboards tell fewer.
pub const TOGETHER_MAX: usize = 6;

impl Chord {
    /// The keys, in the order in which they are pressed.
    pub fn keys(&self) -> &[Key] {
        &self.0
    }

    /// What it writes on a US keyboard: `None` for one that writes nothing.
    pub fn writes(&self) -> Option<char> {
        let (shifted, key) = match self.0.as_slice() {
            [key] => (false, key),
            [Key("shift" | "shift_r"), key] => (true, key),
            _ => return None,
        };
        let row = ROWS.iter().find(|row| row.name == key.0)?;
        let (plain, with_shift) = row.writes?;
        Some(if shifted { with_shift } else { plain })
    }
}

/// Why something cannot be pressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key is called so.
    #[error("there is no key {word}")]
    Unknown {
        /// What was written.
        word: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The keyboard has no such character.
    #[error("a US keyboard has no {0}")]
    NoSuchCharacter(char),
    /// Nobody can hold so many down.
    #[error("at most {TOGETHER_MAX} keys can be held down together")]
    TooMany,
}

/// One key.
struct Row {
    name: &'static str,
    /// Other names, in small letters and without underscores: xkb's, and what people say.
    also: &'static [&'static str],
    /// What it writes alone, and with shift.
    writes: Option<(char, char)>,
}

const fn named(name: &'static str, also: &'static [&'static str]) -> Row {
    Row { name, also, writes: None }
}

const fn writing(name: &'static str, plain: char, shifted: char) -> Row {
    Row { name, also: &[], writes: Some((plain, shifted)) }
}

#[rustfmt::skip]
static ROWS: &[Row] = &[
    named("ctrl", &["control", "controll", "lctrl"]), named("ctrl_r", &["controlr", "rctrl"]),
    named("alt", &["altl", "option"]), named("alt_r", &["altgr", "isolevel3shift"]),
    named("shift", &["shiftl"]), named("shift_r", &["rshift"]),
    named("meta_l", &["super", "superl", "win", "windows", "meta", "cmd"]), named("meta_r", &["superr"]),
    named("menu", &["apps"]), named("compose", &["multikey"]),
    Row { name: "ret", also: &["enter", "return"], writes: Some(('\n', '\n')) },
    Row { name: "tab", also: &[], writes: Some(('\t', '\t')) },
    Row { name: "spc", also: &["space"], writes: Some((' ', ' ')) },
    named("esc", &["escape"]), named("backspace", &["bksp"]), named("delete", &["del"]),
    named("insert", &["ins"]), named("home", &[]), named("end", &[]), named("pgup", &["pageup", "prior"]),
    named("pgdn", &["pagedown", "next"]), named("left", &[]), named("right", &[]), named("up", &[]),
    named("down", &[]), named("caps_lock", &["caps"]), named("num_lock", &[]), named("scroll_lock", &[]),
    named("print", &["printscreen", "prtsc"]), named("sysrq", &[]), named("pause", &["break"]),
    named("f1", &[]), named("f2", &[]), named("f3", &[]), named("f4", &[]), named("f5", &[]),
    named("f6", &[]), named("f7", &[]), named("f8", &[]), named("f9", &[]), named("f10", &[]),
    named("f11", &[]), named("f12", &[]),
    writing("1", '1', '!'), writing("2", '2', '@'), writing("3", '3', '#'), writing("4", '4', '$'),
    writing("5", '5', '%'), writing("6", '6', '^'), writing("7", '7', '&'), writing("8", '8', '*'),
    writing("9", '9', '('), writing("0", '0', ')'), writing("minus", '-', '_'), writing("equal", '=', '+'),
    writing("q", 'q', 'Q'), writing("w", 'w', 'W'), writing("e", 'e', 'E'), writing("r", 'r', 'R'),
    writing("t", 't', 'T'), writing("y", 'y', 'Y'), writing("u", 'u', 'U'), writing("i", 'i', 'I'),
    writing("o", 'o', 'O'), writing("p", 'p', 'P'), writing("bracket_left", '[', '{'),
    writing("bracket_right", ']', '}'), writing("a", 'a', 'A'), writing("s", 's', 'S'),
    writing("d", 'd', 'D'), writing("f", 'f', 'F'), writing("g", 'g', 'G'), writing("h", 'h', 'H'),
    writing("j", 'j', 'J'), writing("k", 'k', 'K'), writing("l", 'l', 'L'),
    writing("semicolon", ';', ':'), writing("apostrophe", '\'', '"'), writing("grave_accent", '`', '~'),
    writing("backslash", '\\', '|'), writing("z", 'z', 'Z'), writing("x", 'x', 'X'),
    writing("c", 'c', 'C'), writing("v", 'v', 'V'), writing("b", 'b', 'B'), writing("n", 'n', 'N'),
    writing("m", 'm', 'M'), writing("comma", ',', '<'), writing("dot", '.', '>'), writing("slash", '/', '?'),
    named("kp_0", &[]), named("kp_1", &[]), named("kp_2", &[]), named("kp_3", &[]), named("kp_4", &[]),
    named("kp_5", &[]), named("kp_6", &[]), named("kp_7", &[]), named("kp_8", &[]), named("kp_9", &[]),
    named("kp_add", &[]), named("kp_subtract", &[]), named("kp_multiply", &[]), named("kp_divide", &[]),
    named("kp_decimal", &[]), named("kp_enter", &[]),
];

const SHIFT: Key = Key("shift");

/// The keys that write a text, one chord a character.
///
/// # Errors
/// [`KeyError::NoSuchCharacter`]: then nothing of the text should be typed.
pub fn written(text: &str) -> Result<Vec<Chord>, KeyError> {
    text.replace("\r\n", "\n").chars().map(character).collect()
}

fn character(wanted: char) -> Result<Chord, KeyError> {
    let found = ROWS.iter().find_map(|row| match row.writes? {
        (plain, _) if plain == wanted => Some(Chord(vec![Key(row.name)])),
        (_, shifted) if shifted == wanted => Some(Chord(vec![SHIFT, Key(row.name)])),
        _ => None,
    });
    found.ok_or(KeyError::NoSuchCharacter(wanted))
}

/// Keys as people name them, joined by `-` or `+`: `ctrl-alt-del`, `F2`, `shift+Tab`, `ctrl-c`.
///
/// # Errors
/// [`KeyError::Unknown`] with the nearest name, [`KeyError::TooMany`].
pub fn chord(word: &str) -> Result<Chord, KeyError> {
    // The separators are keys as well, when they stand alone or last.
    let (before, last) = match word.strip_suffix(['-', '+']) {
        Some("") => ("", word),
        Some(before) if before.ends_with(['-', '+']) => (&before[..before.len() - 1], &word[before.len()..]),
        _ => word.rsplit_once(['-', '+']).unwrap_or(("", word)),
    };
    let mut keys = Vec::new();
    for part in before.split(['-', '+']).filter(|_| !before.is_empty()).chain([last]) {
        // What takes shift takes it here too: `ctrl-?`. Letters are named by what is printed on the key.
        let one = match part.chars().next() {
            Some(only) if part.chars().count() == 1 => {
                character(only.to_ascii_lowercase()).map_err(|_| unknown(part))?
            }
            _ => Chord(vec![key(part)?]),
        };
        keys.extend(one.0.into_iter().filter(|key| !keys.contains(key)).collect::<Vec<_>>());
    }
    if keys.len() > TOGETHER_MAX { Err(KeyError::TooMany) } else { Ok(Chord(keys)) }
}

fn key(word: &str) -> Result<Key, KeyError> {
    let plain = |name: &str| name.to_lowercase().replace('_', "");
    let wanted = plain(word);
    let found = ROWS.iter().find(|row| plain(row.name) == wanted || row.also.contains(&wanted.as_str()));
    found.map(|row| Key(row.name)).ok_or_else(|| unknown(word))
}

fn unknown(word: &str) -> KeyError {
    let wanted = word.to_lowercase();
    let names = ROWS.iter().flat_map(|row| std::iter::once(row.name).chain(row.also.iter().copied()));
    let nearest = names
        .map(|name| (strsim::damerau_levenshtein(name, &wanted), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len().min(wanted.len()))
        .min()
        .map(|(_, name)| name);
    KeyError::Unknown { word: word.to_owned(), nearest }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[track_caller]
    fn assert_chord(word: &str, keys: &[&str]) {
        let chord = chord(word).unwrap();
        assert_eq!(chord.keys().iter().map(|key| key.name()).collect::<Vec<_>>(), keys, "{word}");
    }

    #[test]
    fn keys_are_called_what_people_call_them() {
        assert_chord("ctrl-alt-del", &["ctrl", "alt", "delete"]);
        assert_chord("Control_L+Alt_L+F1", &["ctrl", "alt", "f1"]);
        assert_chord("Return", &["ret"]);
        assert_chord("ctrl-C", &["ctrl", "c"]);
        assert_chord("Page_Up", &["pgup"]);
        assert_chord("-", &["minus"]);
        assert_chord("ctrl--", &["ctrl", "minus"]);
        assert_chord("ctrl-+", &["ctrl", "shift", "equal"]);
        assert_chord("shift-A", &["shift", "a"]);
        assert_chord("ctrl-?", &["ctrl", "shift", "slash"]);
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_nearest() {
        let nearest = |word: &str| match chord(word) {
            Err(KeyError::Unknown { nearest, .. }) => nearest,
            other => panic!("{word}: {other:?}"),
        };
        assert_eq!(nearest("ctrl-escpe"), Some("escape"));
        assert_eq!(nearest("entr"), Some("enter"));
        assert_eq!(nearest("f13"), Some("f1"));
        assert_eq!(nearest(""), None);
        assert_eq!(nearest("ctrl-ü"), None);
        assert_eq!(chord("a-b-c-d-e-f-g"), Err(KeyError::TooMany));
    }

    #[test]
    fn every_printable_character_is_written_by_its_chord() {
        for wanted in (' '..='~').chain(['\n', '\t']) {
            let chords = written(&wanted.to_string()).unwrap();
            assert_eq!(chords.iter().map(Chord::writes).collect::<Vec<_>>(), [Some(wanted)]);
        }
        assert_eq!(written("a\r\nB").unwrap().len(), 3);
        assert_eq!(written("naïve"), Err(KeyError::NoSuchCharacter('ï')));
    }

    #[test]
    fn no_two_keys_have_one_name() {
        let mut names: Vec<String> = ROWS
            .iter()
            .flat_map(|row| row.also.iter().copied().chain([row.name]))
            .map(|name| name.replace('_', ""))
            .collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
