//! What holds for every command there is.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use clap::ArgAction;
use proptest::prelude::*;
use xmpp_parsers::data_forms::FieldType;

use super::{
    argument::{Argument, Takes},
    *,
};
use crate::{
    form::{self, form, submit, with_machine},
    help,
    refusal::Refusal,
    words::{Verb, arguments, find_verb, joined, parse, split},
};

/// A command by its name, parsed to what the journal would hold.
type Parse = fn(&[String]) -> Result<serde_json::Value, Refusal>;

fn parse_to_json<C: Command>(argv: &[String]) -> Result<serde_json::Value, Refusal> {
    parse::<C>(argv).map(|command| serde_json::to_value(command).unwrap())
}

macro_rules! parsers {
    ($($command:ty),* $(,)?) => {
        [$((Declaration::of::<$command>().permission(), parse_to_json::<$command> as Parse)),*]
    };
}

fn parser(declaration: &Declaration) -> Parse {
    let permission = declaration.permission();
    let all = each_command!(parsers);
    all.iter().find(|(name, _)| *name == permission).unwrap().1
}

fn of(object: Object) -> Vec<&'static Declaration> {
    COMMANDS.iter().filter(|declaration| declaration.object == object).collect()
}

#[test]
fn words_mean_one_thing() {
    for object in [Object::Host, Object::Machine] {
        let mut seen = BTreeSet::new();
        for declaration in of(object) {
            for word in std::iter::once(&declaration.verb).chain(declaration.aliases) {
                assert!(seen.insert(*word), "{word} means two things to a {}", object.word());
                assert!(word.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{word}");
            }
        }
        for word in ["destroy", "suspend", "help", "yes", "no", "cancel"] {
            assert!(!seen.contains(word), "{word} is taken");
        }
    }
}

#[test]
fn permissions_are_unique() {
    let names: BTreeSet<String> = COMMANDS.iter().map(Declaration::permission).collect();
    assert_eq!(names.len(), COMMANDS.len());
}

#[test]
fn clap_finds_nothing_wrong() {
    for declaration in COMMANDS {
        declaration.cli().debug_assert();
    }
}

#[test]
fn every_argument_is_long_described_and_not_from_the_environment() {
    for declaration in COMMANDS {
        assert!(!declaration.about().is_empty() && !declaration.about().ends_with('.'), "{declaration:?}");
        for arg in declaration.cli().get_arguments() {
            let name = format!("{declaration:?} {}", arg.get_id());
            assert_eq!(arg.get_long(), Some(arg.get_id().as_str()), "{name}");
            assert!(arg.get_short().is_none() && arg.get_index().is_none(), "{name}");
            assert!(arg.get_help().is_some_and(|help| !help.to_string().ends_with('.')), "{name}");
            assert!(arg.get_env().is_none(), "{name} would read the environment of the agent");
            assert!(
                matches!(arg.get_action(), ArgAction::Set | ArgAction::SetTrue | ArgAction::Append),
                "{name}: the forms and the chat know no such action"
            );
            let names_a_machine = arg.get_id() == form::MACHINE;
            assert!(
                declaration.object == Object::Host || !names_a_machine,
                "{name}: the form has that field"
            );
        }
    }
}

#[test]
fn a_form_in_steps_asks_for_all_of_it_once() {
    let stepping: Vec<_> = COMMANDS.iter().filter(|declaration| !declaration.steps().is_empty()).collect();
    let named: Vec<String> = stepping.iter().map(|declaration| declaration.permission()).collect();
    assert_eq!(named, ["machine.define", "host.create"]);
    for declaration in stepping {
        let steps = declaration.steps();
        let unlike: BTreeSet<&str> = steps.iter().copied().collect();
        assert_eq!(unlike.len(), steps.len(), "{declaration:?}: a step comes back");
        assert!(declaration.arguments().iter().all(|argument| argument.step.is_some()), "{declaration:?}");
        let arguments: Vec<&str> = declaration.shown_arguments().map(|one| one.name.as_str()).collect();
        let mut asked = Vec::new();
        for at in 0..steps.len() {
            let fields = form::step(declaration, at, |_| vec![], |_| None).fields;
            let places = fields.iter().filter(|field| field.var.as_deref() != Some("FORM_TYPE")).enumerate();
            for (place, field) in places.filter(|(_, field)| field.type_ != FieldType::Hidden) {
                let var = field.var.clone().unwrap();
                assert_eq!(arguments[place], var, "{declaration:?}: a place that was another field's");
                asked.push(var);
            }
        }
        assert_eq!(asked, arguments, "{declaration:?}");
    }
}

#[test]
fn bare_arguments_exist_and_only_the_last_is_many() {
    for declaration in COMMANDS {
        let known = declaration.arguments();
        let bare: Vec<&Argument> = declaration
            .positional
            .iter()
            .map(|name| known.iter().find(|argument| argument.name == *name).unwrap())
            .collect();
        let (_, first) = match bare.split_last() {
            Some(split) => split,
            None => {
                assert!(!declaration.rest, "{declaration:?}");
                continue;
            }
        };
        assert!(first.iter().all(|argument| !argument.many), "{declaration:?}");
        assert!(bare.iter().all(|argument| argument.takes != Takes::Switch), "{declaration:?}");
        // What must be given comes before what may be left out.
        assert!(bare.is_sorted_by_key(|argument| !argument.required), "{declaration:?}");
    }
}

#[test]
fn every_example_is_understood() {
    for declaration in COMMANDS {
        assert!(!declaration.examples.is_empty(), "{declaration:?}");
        for (line, what) in declaration.examples {
            let words = joined(split(line).unwrap());
            let Verb::Known(found) = find_verb(&of(declaration.object), &words[0]) else { panic!("{line}") };
            assert_eq!(found.permission(), declaration.permission(), "{line}");
            let argv = arguments(found, &words[1..]).unwrap();
            parser(found)(&argv).unwrap_or_else(|refusal| panic!("{line}: {}", refusal.sentence()));
            assert!(!what.is_empty());
        }
    }
}

#[test]
fn what_takes_away_is_confirmed() {
    let destroys: Vec<String> =
        COMMANDS.iter().filter(|d| d.effect == Effect::Destroy).map(Declaration::permission).collect();
    assert_eq!(
        destroys,
        [
            "machine.kill",
            "machine.reset",
            "machine.disk-delete",
            "machine.snapshot-revert",
            "machine.snapshot-delete",
            "machine.migrate-resolve",
            "machine.delete",
            "host.image-delete",
            "host.network-delete",
            "host.apply",
            "host.evacuate"
        ]
    );
    for declaration in COMMANDS.iter().filter(|declaration| declaration.effect == Effect::Destroy) {
        assert!(declaration.role >= Role::Operator, "{declaration:?}");
        assert!(help::about(declaration, help::At::Own).contains("Asks before"), "{declaration:?}");
    }
}

#[test]
fn who_may_only_look_cannot_change() {
    // What a person is told is their own, and so is what they answer when they are asked.
    let answers = ["approve", "reject", "withdraw", "break-glass"];
    let own = |declaration: &Declaration| {
        declaration.topic() == Some("alert")
            || declaration.verb == "quiet"
            || answers.contains(&declaration.verb)
    };
    for declaration in COMMANDS.iter().filter(|one| one.role == Role::Viewer && !own(one)) {
        assert_eq!(declaration.effect, Effect::Read, "{declaration:?}");
    }
}

#[test]
fn capabilities_are_those_drivers_have() {
    for needs in COMMANDS.iter().filter_map(|declaration| declaration.needs) {
        let looks = ["console", "screen", "numbers", "guest-agent"];
        let changes = ["reset", "pause", "adopt", "disks", "snapshots", "migrate"];
        let known = [&looks[..], &changes].concat();
        assert!(known.contains(&needs), "{needs}");
    }
}

#[test]
fn roles_hold_the_rights_of_those_before() {
    assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
}

/// A value an argument could have, as a person would write it.
fn value(argument: &Argument) -> BoxedStrategy<String> {
    match &argument.takes {
        Takes::Switch => Just(String::new()).boxed(),
        Takes::Choice(words) => proptest::sample::select(words.clone()).boxed(),
        Takes::Whole => any::<u32>().prop_map(|number| number.to_string()).boxed(),
        Takes::Time => (1_u32..100_000).prop_map(|seconds| format!("{seconds}s")).boxed(),
        Takes::Address => Just("ann@example.org".to_owned()).boxed(),
        Takes::Secret => "[ -~äß]{1,20}[a-z0-9]".boxed(),
        Takes::Lines => "[a-z\\[]{1,9} = \"[ -~äß]{0,9}\"\n[ -~\t]{0,20}[a-z]".boxed(),
        Takes::Text => "[a-zäß☃0-9=\"'“’—#\\\\-][ -~äß☃“’—]{0,20}[a-z0-9=\"'-]".boxed(),
    }
}

/// Canonical words for a command: each argument given or not, the required ones always.
fn argv(declaration: &'static Declaration) -> BoxedStrategy<Vec<String>> {
    let words: Vec<BoxedStrategy<Vec<String>>> = declaration
        .arguments()
        .iter()
        .map(|argument| {
            let count = match (argument.required, argument.many) {
                (true, _) => 1..=1,
                (false, true) => 0..=4,
                (false, false) => 0..=1,
            };
            proptest::collection::vec(value(argument), count)
                .prop_map(move |values| {
                    values
                        .into_iter()
                        .map(|value| match argument.takes {
                            Takes::Switch => format!("--{}", argument.name),
                            _ => format!("--{}={value}", argument.name),
                        })
                        .collect()
                })
                .boxed()
        })
        .collect();
    words.prop_map(|words| words.concat()).boxed()
}

/// Any command with words for it.
fn any_command() -> impl Strategy<Value = (&'static Declaration, Vec<String>)> {
    (0..COMMANDS.len()).prop_flat_map(|at| argv(&COMMANDS[at]).prop_map(move |words| (&COMMANDS[at], words)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn forms_chat_and_words_say_the_same((declaration, words) in any_command()) {
        let parse = parser(declaration);
        let meant = parse(&words).map_err(|refusal| TestCaseError::fail(refusal.sentence()))?;

        // A program fills the form in without having seen it.
        let sent = String::from(&form::to_element(&submit(&words)));
        let sent = sent.parse::<minidom::Element>().unwrap().try_into().unwrap();
        prop_assert_eq!(&parse(&form::argv(declaration, &sent).unwrap()).unwrap(), &meant);

        // A person fills the form in field by field.
        let mut shown = form(declaration, |_| Vec::new(), |_| None);
        for field in &mut shown.fields {
            let given: Vec<String> = submit(&words)
                .fields
                .iter()
                .filter(|given| given.var == field.var)
                .flat_map(|given| given.values.clone())
                .collect();
            if !given.is_empty() {
                field.values = given;
            } else if field.var.as_deref().is_some_and(|var| matches!(var, "note" | "cmdline")) {
                // Left out of the form, not blank: blank would take the note away.
                field.var = Some("left-out".into());
            }
        }
        shown.type_ = xmpp_parsers::data_forms::DataFormType::Submit;
        prop_assert_eq!(&parse(&form::argv(declaration, &shown).unwrap()).unwrap(), &meant);
        if declaration.object == Object::Machine {
            let at_host = with_machine(shown, vec!["web1".into()]);
            prop_assert_eq!(&parse(&form::argv(declaration, &at_host).unwrap()).unwrap(), &meant);
        }

        // A person types it, but for what is not typed.
        if declaration.arguments().iter().any(|argument| argument.takes == Takes::Secret) {
            return Ok(());
        }
        let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let typed = split(&line.join(" ")).unwrap();
        prop_assert_eq!(&parse(&arguments(declaration, &typed).unwrap()).unwrap(), &meant);
    }

    #[test]
    fn any_line_is_read_or_refused(line in "\\PC{0,60}", at in 0..COMMANDS.len()) {
        if let Ok(words) = split(&line)
            && let Ok(argv) = arguments(&COMMANDS[at], &words)
        {
            prop_assert!(argv.iter().all(|word| word.starts_with("--")));
            let _ = parser(&COMMANDS[at])(&argv);
        }
    }
}

/// A word as a careful person quotes it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
