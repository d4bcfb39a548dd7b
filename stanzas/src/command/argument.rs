//! One argument of a command, as the forms, the help and the chat grammar see it: read from clap's
//! own reflection, so that it is declared nowhere twice.

use std::{any::TypeId, time::Duration};

use super::{
    Declaration,
    kept::{Content, Secret},
};

/// The argument that every command takes which changes something: why it is given. A few declare one of
/// their own, which means the same.
pub const BECAUSE: &str = "because";

/// The same for clap.
pub(super) fn because() -> clap::Arg {
    clap::Arg::new(BECAUSE).long(BECAUSE).value_name("TEXT").help("Why, for the audit")
}

/// The reason among `--name=value` words, when one is given.
pub fn reason(argv: &[String]) -> Option<&str> {
    let said =
        argv.iter().filter_map(|word| word.strip_prefix("--")?.strip_prefix(BECAUSE)?.strip_prefix('='));
    said.map(str::trim).find(|why| !why.is_empty())
}

/// What an argument takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is given or not.
    Switch,
    /// One of these words.
    Choice(Vec<String>),
    /// A whole number, not negative.
    Whole,
    /// A length of time, such as `90s`.
    Time,
    /// An XMPP address.
    Address,
    /// Any line of text.
    Text,
    /// Text of several lines: see [`Lines`].
    Lines,
    /// What nobody else may see: see [`Secret`].
    Secret,
}

/// Text of several lines, as the value of an argument.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Lines(pub String);

impl std::str::FromStr for Lines {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// One argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its long name, without dashes; also the `var` of its form field.
    pub name: String,
    /// What it is for, in one line.
    pub help: String,
    /// What stands for its value in a usage line: `SIZE`.
    pub placeholder: String,
    /// What it takes.
    pub takes: Takes,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it may be given several times.
    pub many: bool,
    /// Whether an empty value means something (to take a note away, say).
    pub may_be_empty: bool,
    /// Its value when it is not given.
    pub default: Option<String>,
    /// Whether records keep its value: neither those of secrets, nor what is in files.
    pub recorded: bool,
    /// The step of a form that asks for it, when one form would be too long: clap's heading for it.
    pub step: Option<String>,
}

impl Argument {
    /// What a value has to be, for "memory must be …"; `None` when any text will do.
    pub fn expects(&self) -> Option<String> {
        match &self.takes {
            Takes::Switch => Some("yes or no".into()),
            Takes::Choice(words) => Some(words.join(" or ")),
            Takes::Whole => Some("a whole number".into()),
            Takes::Time => Some("a length of time, such as 90s or 5m".into()),
            Takes::Address => Some("an address, such as ann@example.org".into()),
            Takes::Text | Takes::Lines | Takes::Secret => None,
        }
    }
}

impl Declaration {
    /// Its arguments, in the order they are declared.
    pub fn arguments(&self) -> &[Argument] {
        &self.reflection().arguments
    }

    /// The reason that it takes besides them, as everything does that changes something.
    pub fn because(&self) -> Option<&Argument> {
        self.reflection().because.as_ref()
    }

    /// Its own arguments as forms ask for them, and the reason.
    pub fn shown_arguments(&self) -> impl Iterator<Item = &Argument> + Clone {
        self.arguments().iter().chain(self.because())
    }

    /// Its own arguments, those that are taken without being shown, and the reason.
    pub fn all_arguments(&self) -> impl Iterator<Item = &Argument> + Clone {
        self.arguments().iter().chain(&self.reflection().hidden).chain(self.because())
    }

    /// The steps in which a form asks for them, in this order; none when it asks for all at once.
    pub fn steps(&self) -> Vec<&str> {
        let mut steps: Vec<&str> = self.arguments().iter().filter_map(|one| one.step.as_deref()).collect();
        steps.dedup();
        steps
    }

    /// What it does, in one line.
    pub fn about(&self) -> &str {
        &self.reflection().about
    }

    /// Clap builds a command anew each time it is asked for one, and every form, help and answer asks.
    fn reflection(&self) -> &Reflection {
        self.reflection.get_or_init(|| {
            let mut cli = self.cli();
            cli.build();
            let about = cli.get_about().map(ToString::to_string).unwrap_or_default();
            // What is not shown says only what is so anyway.
            let (hidden, shown): (Vec<_>, Vec<_>) = cli.get_arguments().partition(|one| one.is_hide_set());
            let hidden = hidden.into_iter().map(argument).collect();
            let mut arguments: Vec<Argument> = shown.into_iter().map(argument).collect();
            // Declared ones have a place of their own among the others.
            let declared = (self.arguments)(clap::Command::new(self.verb));
            let own = declared.get_arguments().any(|one| one.get_id() == BECAUSE);
            let because = arguments.pop_if(|last| !own && last.name == BECAUSE);
            Reflection { arguments, hidden, because, about }
        })
    }
}

/// What clap says of a command.
pub(super) struct Reflection {
    arguments: Vec<Argument>,
    hidden: Vec<Argument>,
    because: Option<Argument>,
    about: String,
}

fn argument(arg: &clap::Arg) -> Argument {
    let name = arg.get_long().unwrap_or(arg.get_id().as_str()).to_owned();
    let is_switch = matches!(arg.get_action(), clap::ArgAction::SetTrue);
    Argument {
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        placeholder: arg
            .get_value_names()
            .and_then(|names| names.first())
            .map_or_else(|| name.to_uppercase(), ToString::to_string),
        takes: takes(arg, &name),
        required: arg.is_required_set(),
        many: matches!(arg.get_action(), clap::ArgAction::Append),
        may_be_empty: !is_switch && arg.get_num_args().is_some_and(|n| n.min_values() == 0),
        default: (!is_switch)
            .then(|| arg.get_default_values().first())
            .flatten()
            .map(|value| value.to_string_lossy().into_owned()),
        recorded: ![TypeId::of::<Secret>(), TypeId::of::<Content>()]
            .iter()
            .any(|kind| arg.get_value_parser().type_id() == *kind),
        step: arg.get_help_heading().map(str::to_owned),
        name,
    }
}

/// The few facts clap knows only as types.
fn takes(arg: &clap::Arg, name: &str) -> Takes {
    if matches!(arg.get_action(), clap::ArgAction::SetTrue) {
        return Takes::Switch;
    }
    let words: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !words.is_empty() {
        return Takes::Choice(words);
    }
    let kind = arg.get_value_parser().type_id();
    if [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>()].iter().any(|whole| kind == *whole) {
        Takes::Whole
    } else if kind == TypeId::of::<Duration>() {
        Takes::Time
    } else if kind == TypeId::of::<Secret>() {
        Takes::Secret
    } else if kind == TypeId::of::<Lines>() || kind == TypeId::of::<Content>() {
        Takes::Lines
    } else if name == "who" {
        Takes::Address
    } else {
        Takes::Text
    }
}
