//! `skerry apply FILE`: what the file says goes to the host, and the host knows it by the file's name.

use std::path::Path;

use crate::{
    failure::{Failure, Outcome},
    plan::Plan,
};

/// The most of a file that is sent, in bytes.
const BYTES_MAX: u64 = 128 << 10;

/// The plan with what is in the file in place of its name.
///
/// # Errors
/// It cannot be read, or is too much.
pub fn read(mut plan: Plan) -> Outcome<Plan> {
    for planned in &mut plan.calls {
        let call = &mut planned.call;
        if (call.declaration.verb, call.declaration.object.word()) != ("apply", "host") {
            continue;
        }
        let set = call.argv.iter().any(|word| word.starts_with("--set="));
        let Some(word) = call.argv.iter_mut().find(|word| word.starts_with("--toml=")) else { continue };
        let Some(file) = named(word.trim_start_matches("--toml=")) else { continue };
        let shown = file.display();
        let size =
            std::fs::metadata(file).map_err(|error| Failure::usage(format!("{shown}: {error}")))?.len();
        if size > BYTES_MAX {
            return Err(Failure::usage(format!("{shown} is too much to send: at most 128 KiB")));
        }
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
        // A form has no empty answer that is one: nothing is said in a remark.
        let text = if text.trim().is_empty() { "# nothing".to_owned() } else { text };
        let name = file.file_name().map(|name| format!("--set={}", name.to_string_lossy()));
        *word = format!("--toml={text}");
        call.argv.extend(name.filter(|_| !set));
    }
    Ok(plan)
}

/// The file that is meant: TOML itself has an equals sign or a bracket, or is empty.
fn named(text: &str) -> Option<&Path> {
    let is_toml = text.trim().is_empty() || text.contains(['=', '[', '\n']);
    (!is_toml).then(|| Path::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_from_what_is_in_one() {
        assert_eq!(named("rights/ops.toml"), Some(Path::new("rights/ops.toml")));
        for toml in ["", "grant = []", "[[grant]]\nto = \"x\"", "\n"] {
            assert_eq!(named(toml), None, "{toml}");
        }
    }
}
