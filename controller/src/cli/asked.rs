//! What was typed after a drawn verb, before any host is asked.

use std::path::PathBuf;

use clap::{ArgMatches, parser::ValueSource};
use skerry_stanzas::command::{Declaration, Object};

use super::{
    own::{
        AuditExportArgs, AuditVerifyArgs, ConsoleArgs, ExecArgs, FileReadArgs, FileWriteArgs, PasswordArgs,
        PictureArgs, VncArgs,
    },
    tree::{found, verb_declarations},
};

/// A drawn command as it was typed. Which host or machine it is for is not yet known: that needs the
/// fleet.
#[derive(Clone, Debug)]
pub struct Asked {
    /// One declaration, or one for machines and one for hosts.
    pub declarations: Vec<&'static Declaration>,
    /// The bare words and `key=value` words: target first.
    pub words: Vec<String>,
    /// The flags of the declaration, as words.
    pub flags: Vec<String>,
    /// The host, when it was given by flag.
    pub host: Option<String>,
    /// The person said yes beforehand.
    pub yes: bool,
    /// Wait until it is done.
    pub wait: bool,
    /// What only `console` has.
    pub console: Option<ConsoleArgs>,
    /// What only `vnc` has.
    pub vnc: Option<VncArgs>,
    /// What only `exec` has.
    pub exec: Option<ExecArgs>,
    /// What only `file read` has.
    pub file_read: Option<FileReadArgs>,
    /// What only `file write` has.
    pub file_write: Option<FileWriteArgs>,
    /// What only `password` has.
    pub password: Option<PasswordArgs>,
    /// What only `audit export` has.
    pub export: Option<AuditExportArgs>,
    /// What only `audit verify` has.
    pub verify: Option<AuditVerifyArgs>,
    /// Where a picture goes: what only `screenshot` and `graph` have.
    pub out: Option<PathBuf>,
}

impl Asked {
    /// Whether the verb has a form for this object.
    pub fn of(&self, object: Object) -> Option<&'static Declaration> {
        self.declarations.iter().copied().find(|declaration| declaration.object == object)
    }
}

/// Reads what clap found under a drawn verb.
pub fn asked(name: &str, matches: &ArgMatches) -> Asked {
    let (verb, matches) = found(name, matches);
    let declarations = verb_declarations(&verb);
    let mut flags = Vec::new();
    for declaration in &declarations {
        for argument in declaration.all_arguments() {
            let written = written(matches, &argument.name);
            if !flags.iter().any(|flag: &String| written.contains(flag)) {
                flags.extend(written);
            }
        }
    }
    let out = ["screenshot", "graph"]
        .into_iter()
        .find_map(|drawing| own(&verb, drawing, matches))
        .and_then(|args: PictureArgs| args.out);
    if out.is_some() {
        flags.push("--inline".to_owned());
    }
    let flag = |name: &str| matches!(matches.try_get_one::<bool>(name), Ok(Some(true)));
    Asked {
        words: matches.get_many::<String>("words").unwrap_or_default().cloned().collect(),
        flags,
        host: matches.try_get_one::<String>("at-host").ok().flatten().cloned(),
        yes: flag("yes"),
        wait: !flag("no-wait"),
        console: own(&verb, "console", matches),
        vnc: own(&verb, "vnc", matches),
        exec: own(&verb, "exec", matches),
        file_read: own(&verb, "file-read", matches),
        file_write: own(&verb, "file-write", matches),
        password: own(&verb, "password", matches),
        export: own(&verb, "audit-export", matches),
        verify: own(&verb, "audit-verify", matches),
        out,
        declarations,
    }
}

/// What only this verb has.
fn own<A: clap::FromArgMatches>(verb: &str, of: &str, matches: &ArgMatches) -> Option<A> {
    (verb == of).then(|| A::from_arg_matches(matches).ok()).flatten()
}

/// One argument as it was written, as `--name=value` words; nothing when it was left out.
fn written(matches: &ArgMatches, name: &str) -> Vec<String> {
    let Some(id) = matches.ids().map(clap::Id::as_str).find(|id| id.replace('_', "-") == name) else {
        return Vec::new();
    };
    if matches.value_source(id) != Some(ValueSource::CommandLine) {
        return Vec::new();
    }
    if let Ok(Some(set)) = matches.try_get_one::<bool>(id) {
        return set.then(|| format!("--{name}")).into_iter().collect();
    }
    matches
        .get_raw(id)
        .unwrap_or_default()
        .map(|value| format!("--{name}={}", value.to_string_lossy()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use skerry_stanzas::{command::COMMANDS, words};

    use super::{super::tree, *};

    fn typed(line: &str) -> Asked {
        let words = shlex::split(line).unwrap();
        let matches =
            tree::tree().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        let (verb, matches) = matches.subcommand().unwrap();
        asked(verb, matches)
    }

    #[test]
    fn every_example_is_a_command_line_of_the_same_meaning() {
        for declaration in COMMANDS {
            for (line, _) in declaration.examples {
                let asked = typed(&tree::example(declaration, line));
                assert!(asked.of(declaration.object).is_some(), "{line}");
                let mut typed: Vec<String> = asked.flags.clone();
                typed.extend(asked.words[1..].iter().cloned());
                let mut here = words::arguments(declaration, &typed).unwrap();
                let chat = words::joined(words::split(line).unwrap());
                let mut there = words::arguments(declaration, &chat[1..]).unwrap();
                here.sort();
                there.sort();
                assert_eq!(here, there, "{line}");
            }
        }
    }

    #[test]
    fn flags_and_words_mix() {
        let asked = typed("skerry create kvm1 web1 --memory 1G linux vcpus=2 --start");
        assert_eq!(asked.words, ["kvm1", "web1", "linux", "vcpus=2"]);
        assert_eq!(asked.flags, ["--memory=1G", "--start"]);
        assert!(asked.wait && !asked.yes);
    }

    #[test]
    fn a_picture_for_a_file_is_uploaded_nowhere() {
        let asked = typed("skerry screenshot web1 --out /tmp/web1.png");
        assert_eq!(asked.out, Some("/tmp/web1.png".into()));
        assert_eq!(asked.flags, ["--inline"]);
        assert_eq!(typed("skerry screenshot web1").out, None);
    }

    #[test]
    fn aliases_are_the_verb() {
        assert_eq!(typed("skerry stop web1").declarations[0].verb, "shutdown");
        assert_eq!(typed("skerry ls").declarations[0].verb, "list");
        assert_eq!(typed("skerry images").declarations[0].verb, "image-list");
    }

    #[test]
    fn a_declared_wait_keeps_its_meaning() {
        let asked = typed("skerry shutdown web1 --wait 5m --no-wait");
        assert_eq!(asked.flags, ["--wait=5m"]);
        assert!(!asked.wait);
        assert!(typed("skerry start web1 --wait").wait);
    }

    #[test]
    fn status_is_of_both() {
        let asked = typed("skerry status web1");
        assert!(asked.of(Object::Host).is_some() && asked.of(Object::Machine).is_some());
    }

    #[track_caller]
    fn meant(line: &str) -> Vec<String> {
        let asked = typed(line);
        let words: Vec<String> = asked.flags.iter().chain(&asked.words[1..]).cloned().collect();
        words::arguments(asked.declarations[0], &words).unwrap_or_else(|no| panic!("{line}: {no:?}"))
    }

    #[test]
    fn a_line_for_the_guest_may_look_like_options() {
        for line in ["skerry send web1 -- ls --all -y", "skerry send web1 ls --all -y"] {
            assert_eq!(meant(line), ["--line=ls --all -y"], "{line}");
        }
        let uname = ["--command=uname", "--command=-a"];
        for line in ["skerry exec web1 uname -a", "skerry exec web1 -- uname -a"] {
            assert_eq!(meant(line), uname, "{line}");
        }
        let longer = ["--wait=5m", "--command=uname", "--command=-a"];
        for line in [
            "skerry exec --wait 5m web1 uname -a",
            "skerry exec web1 --wait 5m uname -a",
            "skerry exec web1 wait=5m uname -a",
        ] {
            assert_eq!(meant(line), longer, "{line}");
        }
        let asked = typed("skerry exec -i web1 sh -c 'cat; exit 3' --");
        assert!(asked.exec.is_some_and(|exec| exec.stdin));
        assert_eq!(asked.words, ["web1", "sh", "-c", "cat; exit 3", "--"]);
    }

    #[test]
    fn a_file_is_given_by_name() {
        for line in
            ["skerry file write web1 /etc/motd --in motd", "skerry file write --in motd web1 /etc/motd"]
        {
            let asked = typed(line);
            assert_eq!(asked.words, ["web1", "/etc/motd"], "{line}");
            assert_eq!(asked.file_write.unwrap().input, Some("motd".into()), "{line}");
        }
    }

    #[test]
    fn a_password_is_no_argument() {
        let words = |line: &str| shlex::split(line).unwrap();
        assert!(tree::tree().try_get_matches_from(words("skerry password web1 root --password x")).is_err());
        let asked = typed("skerry password web1 root --password-file /run/secret");
        assert_eq!(asked.password.unwrap().password_file, Some("/run/secret".into()));
        assert!(asked.flags.is_empty());
    }
}
