//! From what was typed to calls: which words name targets, which are the command's own. Pure, given
//! the fleet.

use skerry_stanzas::{
    command::{Declaration, Effect, Object},
    refusal::Refusal,
    words,
};

use crate::{
    call::Call,
    cli::Asked,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    name::{Among, Meant, resolve},
};

/// A call, and whose it is.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What is sent.
    pub call: Call,
    /// The name of the target.
    pub who: String,
    /// The host.
    pub host: Host,
}

/// What a command line comes to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of the command line.
    pub calls: Vec<Planned>,
    /// Whether a single target was named.
    pub one: bool,
}

/// Sees that a target is named where one is needed: the part that needs no fleet.
///
/// # Errors
/// It is not.
pub fn check(asked: &Asked) -> Outcome<()> {
    match asked.declarations.as_slice() {
        [only] if only.object == Object::Machine && asked.words.is_empty() => {
            let verb = only.spoken();
            Err(Failure::usage(format!("{verb} which machine?"))
                .hint(format!("For example: skerry {verb} web1. `skerry list` shows what there is.")))
        }
        _ => Ok(()),
    }
}

/// What the machines or hosts named are, as far as the words say before the fleet is known.
pub fn among(asked: &Asked) -> Among {
    match asked.declarations.as_slice() {
        [only] if only.object == Object::Machine => Among::Machines,
        [_] => Among::Hosts,
        _ if asked.words.is_empty() => Among::Hosts,
        _ => Among::Both,
    }
}

/// The calls a command line comes to.
///
/// # Errors
/// A name that is unknown or ambiguous, or words the command has no use for.
pub fn plan(asked: &Asked, fleet: &Fleet) -> Outcome<Plan> {
    if fleet.hosts.is_empty() {
        return Err(fleet.nobody());
    }
    let (targets, rest, one) = match among(asked) {
        Among::Hosts => hosts(asked, fleet)?,
        among => named(asked, among, fleet)?,
    };
    let mut calls = Vec::new();
    for target in targets {
        calls.push(planned(asked, target, rest, fleet)?);
    }
    Ok(Plan { calls, one })
}

type Targets<'a> = (Vec<Meant>, &'a [String], bool);

/// Machines, or for a verb of both whatever is named: the first word, or all bare ones when the
/// command has no other use for them.
fn named<'a>(asked: &'a Asked, among: Among, fleet: &Fleet) -> Outcome<Targets<'a>> {
    let takes_more = asked.declarations.iter().any(|declaration| !declaration.positional.is_empty());
    let count = if takes_more { 1 } else { bare(&asked.words) };
    let (names, rest) = asked.words.split_at(count.min(asked.words.len()));
    let targets: Vec<Meant> = names
        .iter()
        .flat_map(|word| word.split(','))
        .filter(|name| !name.is_empty())
        .map(|name| resolve(name, among, fleet))
        .collect::<Outcome<_>>()?;
    let one = targets.len() == 1;
    Ok((targets, rest, one))
}

/// Hosts: named by flag, by the first word, or not at all.
fn hosts<'a>(asked: &'a Asked, fleet: &Fleet) -> Outcome<Targets<'a>> {
    let declaration = asked.of(Object::Host).ok_or_else(|| Failure::usage("this is no command of hosts"))?;
    let words = asked.words.as_slice();
    let by_name = |word: &String| resolve(word, Among::Hosts, fleet);
    if let Some(host) = &asked.host {
        return Ok((vec![by_name(host)?], words, true));
    }
    if declaration.positional.is_empty() {
        let (names, rest) = words.split_at(bare(words));
        if !names.is_empty() {
            return Ok((names.iter().map(by_name).collect::<Outcome<_>>()?, rest, names.len() == 1));
        }
    } else if let [first, rest @ ..] = words
        && fleet.hosts.iter().any(|host| host.is(first))
    {
        return Ok((vec![by_name(first)?], rest, true));
    }
    let all: Vec<Meant> = fleet.hosts.iter().cloned().map(Meant::Host).collect();
    match (all.len(), declaration.effect) {
        (1, _) => Ok((all, words, true)),
        (_, Effect::Read) => Ok((all, words, false)),
        // Those on which it waits.
        _ if declaration.answers_requests() => Ok((all, words, false)),
        _ => Err(which_host(declaration, fleet)),
    }
}

/// How many words stand before the first `key=value`.
fn bare(words: &[String]) -> usize {
    words.iter().position(|word| word.contains('=')).unwrap_or(words.len())
}

fn which_host(declaration: &Declaration, fleet: &Fleet) -> Failure {
    let names: Vec<&str> = fleet.hosts.iter().map(|host| host.name.as_str()).collect();
    Failure::usage(format!("{} on which host? There are {}", declaration.spoken(), names.join(", "))).hint(
        format!("Name it first: skerry {} {} …", declaration.spoken(), names.first().unwrap_or(&"HOST")),
    )
}

fn planned(asked: &Asked, target: Meant, rest: &[String], fleet: &Fleet) -> Outcome<Planned> {
    let object = match &target {
        Meant::Host(_) => Object::Host,
        Meant::Machine(_) => Object::Machine,
    };
    let declaration = asked.of(object).ok_or_else(|| Failure::usage("this is no command for that"))?;
    let typed: Vec<String> = asked.flags.iter().chain(rest).cloned().collect();
    let argv = words::arguments(declaration, &typed)
        // What the agent would refuse is refused here, sooner.
        .and_then(|argv| declaration.args(&argv).map(|_| argv))
        .map_err(|refusal| misread(declaration, refusal))?;
    let planned = match target {
        Meant::Host(host) => Planned {
            call: Call {
                to: host.jid.clone(),
                node: declaration.verb.to_owned(),
                declaration,
                argv,
                together: None,
            },
            who: host.name.clone(),
            host,
        },
        Meant::Machine(machine) => {
            let (to, node) = machine.asked_at(declaration.verb);
            Planned {
                call: Call { to, node, declaration, argv, together: None },
                who: machine.name.clone(),
                host: fleet.host_of(&machine).cloned().ok_or_else(|| fleet.nobody())?,
            }
        }
    };
    Ok(planned)
}

/// The chat's hints say "Write …": here the usage line of the command line stands instead.
fn misread(declaration: &Declaration, refusal: Refusal) -> Failure {
    let keep = refusal.hint.as_deref().is_some_and(|hint| !hint.starts_with("Write "));
    let failure = Failure::from(refusal);
    match keep {
        true => failure,
        false => failure.hint(format!("See: skerry {} --help", declaration.spoken())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use xmpp_parsers::jid::Jid;

    use super::*;
    use crate::{
        cli::{asked, tree},
        failure::Kind,
        fleet::Machine,
    };

    fn fleet(hosts: &[&str]) -> Fleet {
        let jid = |text: &str| Jid::new(text).unwrap();
        let machine = |host: &str, name: &str| Machine {
            name: name.into(),
            jid: jid(&format!("{name}@{host}.example.org")),
            node: None,
            host: jid(&format!("{host}.example.org")),
        };
        Fleet {
            hosts: hosts
                .iter()
                .map(|name| Host { jid: jid(&format!("{name}.example.org")), name: (*name).into() })
                .collect(),
            machines: hosts.iter().flat_map(|host| [machine(host, &format!("web-{host}"))]).collect(),
            away: Vec::new(),
        }
    }

    fn planned(line: &str, hosts: &[&str]) -> Outcome<Vec<String>> {
        let matches = tree().try_get_matches_from(shlex::split(line).unwrap()).unwrap();
        let (verb, matches) = matches.subcommand().unwrap();
        let asked = asked(verb, matches);
        check(&asked)?;
        let plan = plan(&asked, &fleet(hosts))?;
        let told = |planned: &Planned| {
            let call = &planned.call;
            format!("{} {} {}", call.to, call.node, call.argv.join(" ")).trim_end().to_owned()
        };
        Ok(plan.calls.iter().map(told).collect())
    }

    #[track_caller]
    fn assert_plan(line: &str, hosts: &[&str], calls: &[&str]) {
        assert_eq!(planned(line, hosts).unwrap_or_else(|f| panic!("{line}: {f:?}")), calls, "{line}");
    }

    #[test]
    fn machines_come_first_one_or_several() {
        let two = ["a", "b"];
        assert_plan("skerry start web-a", &two, &["web-a@a.example.org start"]);
        let both = ["web-a@a.example.org start", "web-b@b.example.org start"];
        assert_plan("skerry start web-a web-b", &two, &both);
        assert_plan("skerry start web-a,b/web-b", &two, &both);
        assert_plan("skerry shutdown web-a wait=5m", &two, &["web-a@a.example.org shutdown --wait=5m"]);
        assert_plan("skerry rename web-a web9", &two, &["web-a@a.example.org rename --to=web9"]);
        assert_plan("skerry log web-a 100", &two, &["web-a@a.example.org log --lines=100"]);
    }

    #[test]
    fn the_host_may_be_left_out_when_there_is_one() {
        let call = ["a.example.org create --name=web1 --image=linux"];
        assert_plan("skerry create web1 linux", &["a"], &call);
        assert_plan("skerry create a web1 linux", &["a", "b"], &call);
        assert_plan("skerry create --host a web1 linux", &["a", "b"], &call);
        let failure = planned("skerry create web1 linux", &["a", "b"]).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
        assert!(failure.text.contains("which host"), "{failure}");
    }

    #[test]
    fn what_only_looks_asks_every_host() {
        assert_plan("skerry list", &["a", "b"], &["a.example.org list", "b.example.org list"]);
        assert_plan("skerry list b", &["a", "b"], &["b.example.org list"]);
        assert_plan("skerry list state=running", &["a"], &["a.example.org list --state=running"]);
        assert_plan("skerry may kill web-a", &["a"], &["a.example.org may --what=kill --machine=web-a"]);
    }

    #[test]
    fn a_verb_of_both_goes_to_what_is_named() {
        assert_plan("skerry status web-a", &["a"], &["web-a@a.example.org status"]);
        assert_plan("skerry status a", &["a"], &["a.example.org status"]);
        assert_plan("skerry status", &["a", "b"], &["a.example.org status", "b.example.org status"]);
        assert_plan("skerry status a web-a", &["a"], &["a.example.org status", "web-a@a.example.org status"]);
    }

    #[test]
    fn what_is_missing_or_odd_is_the_command_lines_fault() {
        for (line, says) in [
            ("skerry start", "which machine"),
            ("skerry create a web1", "needs image"),
            ("skerry create a web1 linux vcpus=many", "vcpus"),
            ("skerry autostart web-a perhaps", "set"),
            ("skerry list nowhere", "there is no host"),
            ("skerry label web-a --ad prod", ""),
        ] {
            let matches = tree().try_get_matches_from(shlex::split(line).unwrap());
            let Ok(matches) = matches else { continue };
            drop(matches);
            let failure = planned(line, &["a"]).unwrap_err();
            assert!(failure.to_string().contains(says), "{line}: {failure:?}");
            assert!(matches!(failure.kind, Kind::Usage | Kind::Refused), "{line}");
        }
    }

    #[test]
    fn without_hosts_it_says_how_they_are_found() {
        for line in ["skerry list", "skerry start web1", "skerry status web1"] {
            let failure = planned(line, &[]).unwrap_err();
            assert_eq!(failure.kind, Kind::Unreachable, "{line}");
            assert!(failure.hint.unwrap().contains("contact list"), "{line}");
        }
    }
}
