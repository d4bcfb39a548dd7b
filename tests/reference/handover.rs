//! docs/handover.md: what a host does when a machine is passed on.

use hypervisor_core::handover::{
    Attempt, Deed, Effect, Input, Message, Pass, Standing, Step, Word, recover, step,
};

const INTRODUCTION: &str = "\
# The hand-over of a machine

This page is written by a test from the code that decides (`hypervisor-core/src/handover/`): see
`tests/reference.rs`. Why it is so: docs/design/.

Each row is what a host is to a machine, each column what happens. A cell has what is done, in this order, and
after the arrow what the host is then. *write* goes to the journal, and is on the disk before anything after it is
done; what is in quotes is said to the other host. An empty cell changes nothing. A crash between any two is
followed by what the last column says, for what was written last.
";

fn pass() -> Pass {
    Pass { attempt: Attempt(uuid::Uuid::from_u128(1)), epoch: 2 }
}

fn standings() -> Vec<Standing> {
    let (pass, known) = (pass(), 0);
    vec![
        Standing::Owner { epoch: 1 },
        Standing::Offered { pass },
        Standing::Sending { pass },
        Standing::Holding { pass },
        Standing::HandedOver { pass },
        Standing::Away { epoch: 0 },
        Standing::Preparing { pass, known },
        Standing::Prepared { pass, known },
        Standing::Received { pass, known },
        Standing::Dropping { pass, known },
        Standing::Taking { pass },
    ]
}

fn deed(deed: Deed) -> &'static str {
    match deed {
        Deed::Prepare(_) => "make room",
        Deed::Send(_) => "begin to send",
        Deed::Hold(_) => "make sure that it stands still",
        Deed::CallOff(_) => "stop sending, let it run on",
        Deed::Clear(_) => "clear away",
        Deed::Discard(_) => "throw away",
        Deed::Continue(_) => "let it run on",
    }
}

fn cell(before: Standing, step: &Step) -> String {
    let effects: Vec<String> = step
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Write(standing) => format!("write *{}*", standing.word()),
            Effect::Do(what) => deed(*what).to_owned(),
            Effect::Say(message) => format!("“{}”", message.word.word()),
        })
        .collect();
    if step.next == before {
        effects.join(", ")
    } else {
        format!("{} → {}", effects.join(", "), step.next.word())
    }
}

fn table(inputs: &[(String, Input)], with_recovery: bool) -> String {
    let mut columns: Vec<&str> = inputs.iter().map(|(name, _)| name.as_str()).collect();
    if with_recovery {
        columns.push("it comes back after a crash");
    }
    let mut page = format!("\n|  | {} |\n| --- {}|\n", columns.join(" | "), "| --- ".repeat(columns.len()));
    for standing in standings() {
        let mut cells: Vec<String> =
            inputs.iter().map(|(_, input)| cell(standing, &step(standing, *input))).collect();
        if with_recovery {
            cells.push(cell(standing, &recover(standing)));
        }
        page.push_str(&format!("| **{}** | {} |\n", standing.word(), cells.join(" | ")));
    }
    page
}

/// The page.
pub fn page() -> String {
    let named = |name: &str, input| (name.to_owned(), input);
    let own = [
        named("somebody moves it", Input::Move(pass().attempt)),
        named("room is made", Input::Prepared),
        named("all has come", Input::Received),
        named("it stands still", Input::Held),
        named("that did not work", Input::Failed),
        named("called off, or too late", Input::GiveUp),
        named("time passes", Input::Tick),
    ];
    let heard =
        Word::ALL.map(|word| (format!("“{}”", word.word()), Input::Heard(Message { word, pass: pass() })));
    format!(
        "{INTRODUCTION}\n## What happens here\n{}\n## What the other host says\n{}",
        table(&own, true),
        table(&heard, false)
    )
}
