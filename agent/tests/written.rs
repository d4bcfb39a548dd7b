//! Rights as files have them, and quotas.

#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use futures::future::join_all;
use skerry_agent::asked::{Answer, Asked};
use skerry_stanzas::{command::Object, refusal::Reason};
use stage::{ANN, EVE, OTTO, Stage, VERA, asked, declaration, done, jid, question, stage};

const OPS: &str = r#"
[roles]
night = ["start", "shutdown"]
late = ["night", "reboot"]

[[grant]]
to = "eve@elsewhere.org"
what = "late"
on = ["web1", "label:lab"]
until = "2099-01-31 18:00"
because = "she is on call"

[[deny]]
to = "otto@example.org"
what = ["kill"]

[[quota]]
to = "everyone"
machines = 3
memory = "16G"
"#;

fn file(who: &str, toml: &str, more: &[&str]) -> Asked {
    let argv = [format!("--toml={toml}"), "--set=ops".to_owned()];
    let argv = argv.into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect();
    Asked { caller: jid(who), declaration: declaration(Object::Host, "apply"), argv, ..asked(who, "list") }
}

/// Applies a file: what is shown first, and what is answered.
async fn apply(stage: &Stage, toml: &str) -> (String, String) {
    let asked = file(ANN, toml, &[]);
    let target = asked.target.clone();
    let question = question(stage.agent.ask(asked.clone(), None).await);
    let yes = stage.agent.confirm(&jid(ANN), &target, Some(&question.code), asked.door, None, None).await;
    (question.sentence, done(yes))
}

async fn grants(stage: &Stage) -> String {
    stage.done(ANN, "grant list").await
}

async fn furnished() -> Stage {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux").await;
    stage
}

#[tokio::test]
async fn a_file_is_shown_asked_about_and_made_so_once() {
    let stage = furnished().await;
    stage.done(ANN, "grant viewer to sam@elsewhere.org").await;
    let dry = done(stage.agent.ask(file(ANN, OPS, &["--dry-run"]), None).await);
    assert!(dry.starts_with("To be as ops says, this would change:\n- role night, new: "), "{dry}");
    assert!(!grants(&stage).await.contains("eve@"), "a dry run changes nothing");
    let (shown, said) = apply(&stage, OPS).await;
    for line in [
        "- role late, new: machine.start, machine.shutdown, machine.reboot",
        "- given: eve@elsewhere.org has late on web1, label:lab until 2099-01-31",
        "- denied: otto@example.org is denied machine.kill on all",
        "- quota: everyone may have 3 machines, 16 GiB of memory",
    ] {
        assert!(shown.contains(line) && said.contains(line), "{line}: {shown} {said}");
    }
    assert!(
        grants(&stage).await.contains("she is on call\" (by ann@example.org, "),
        "{}",
        grants(&stage).await
    );
    stage.done(EVE, "web1: start").await;
    assert_eq!(stage.refused(OTTO, "web1: kill").await.reason, Reason::NotAllowed);
    // Once more: nothing, and no question.
    let again = done(stage.agent.ask(file(ANN, OPS, &[]), None).await);
    assert_eq!(again, "There is nothing to change: all is as ops says.");
    // Also for the next agent, which knows what came from the file.
    let stage = stage.restart().await;
    let again = done(stage.agent.ask(file(ANN, OPS, &[]), None).await);
    assert_eq!(again, "There is nothing to change: all is as ops says.");
    // What is not in it any more goes, at once, and what was made by hand stays.
    let (shown, _) = apply(&stage, "[roles]\nnight = [\"start\"]\n").await;
    for line in ["role night, now: machine.start", "role late: gone", "taken back, ", "quota, gone: everyone"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(stage.refused(EVE, "web1: shutdown").await.reason, Reason::NotAllowed);
    let left = grants(&stage).await;
    assert!(
        left.contains("sam@elsewhere.org") && !left.contains("eve@") && !left.contains("otto@"),
        "{left}"
    );
}

#[tokio::test]
async fn what_is_granted_can_be_written_out_and_made_so_elsewhere() {
    let stage = furnished().await;
    apply(&stage, OPS).await;
    let exported = stage.done(ANN, "grant export").await;
    let toml = exported.trim_start_matches("```\n").trim_end_matches("\n```").to_owned();
    let other = furnished().await;
    apply(&other, &toml).await;
    let again = other.done(ANN, "grant export").await;
    let without_remarks = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(without_remarks(&again), without_remarks(&exported));
    assert!(done(other.agent.ask(file(ANN, &toml, &[]), None).await).contains("nothing to change"));
    assert_eq!(stage.refused(VERA, "grant export").await.reason, Reason::NotAllowed);
    assert_eq!(
        stage.done(ANN, "grant export set=none").await,
        "Nothing is granted, and there are no quotas."
    );
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing_and_says_where() {
    let stage = furnished().await;
    for (toml, says) in [
        ("[[grants]]\n", "is \"grant\" meant?"),
        ("[[grant]]\nto = \"e@x.org\"\nwhat = \"powre\"", "grant 1: There is no role or command"),
        ("[[grant]]\nto = \"e@x.org\"\nwhat = \"power\"\non = \"web9\"", "grant 1: "),
        ("[[grant]]\nto = \"e@x.org\"\nwhat = \"power\"\nuntil = \"3d\"", "no moment for a file"),
        ("[[deny]]\nto = \"ann@example.org\"\nwhat = \"kill\"", "Nothing can be forbidden to an admin"),
        ("[roles]\na = [\"b\"]\nb = [\"a\"]", "There is no role"),
        ("[roles]\npower = [\"start\"]", "cannot be the name"),
        ("[[quota]]\nto = \"everyone\"", "limits nothing"),
    ] {
        let Answer::Refused(refusal) = stage.agent.ask(file(ANN, toml, &[]), None).await else {
            panic!("{toml}: not refused")
        };
        assert_eq!(refusal.field.as_deref(), Some("toml"), "{toml}: {refusal:?}");
        assert!(refusal.sentence().contains(says), "{toml}: {}", refusal.sentence());
    }
    assert!(grants(&stage).await.starts_with("Nothing was granted."));
    // A right to the command alone would be a right to everything.
    stage.done(ANN, "grant host.apply to vera@example.org").await;
    let vera = stage.agent.ask(file(VERA, "[roles]\nx = [\"start\"]", &[]), None).await;
    assert!(matches!(vera, Answer::Refused(refusal) if refusal.reason == Reason::NotAllowed));
    // Another file's are another file's.
    apply(&stage, OPS).await;
    let mut other = file(ANN, "[roles]\nnight = [\"kill\"]", &[]);
    other.argv[1] = "--set=dev".into();
    assert!(
        matches!(stage.agent.ask(other, None).await, Answer::Refused(it) if it.reason == Reason::Conflict)
    );
}

#[tokio::test]
async fn nobody_locks_themselves_out_without_being_told() {
    let stage = furnished().await;
    let admin = "[[grant]]\nto = \"mia@elsewhere.org\"\nwhat = \"admin\"\n";
    apply(&stage, admin).await;
    let mia = file("mia@elsewhere.org/tab", "", &[]);
    let shown = question(stage.agent.ask(mia, None).await).sentence;
    assert!(shown.ends_with("After this you are no admin of this host any more."), "{shown}");
}

/// Eve may make machines, and nothing else limits her.
async fn with_eve(quota: &str) -> Stage {
    let stage = stage().await;
    stage.done(ANN, "grant create, owner, clone, define to eve@elsewhere.org").await;
    stage.done(ANN, quota).await;
    stage
}

async fn too_much(stage: &Stage, who: &str, line: &str) -> String {
    let refusal = stage.refused(who, line).await;
    assert_eq!(refusal.reason, Reason::Limit, "{line}: {}", refusal.sentence());
    refusal.text
}

#[tokio::test]
async fn a_quota_holds_for_all_that_makes_a_machine_larger() {
    let stage = with_eve("quota set everyone machines=2 vcpus=3 memory=2G disk=4G snapshots=1").await;
    let said = stage.done(EVE, "create web1 linux vcpus=1 memory=512M disk=data,1G").await;
    assert!(
        said.contains("1 of 2 machines, 1 of 3 vCPU, 512 MiB of 2 GiB of memory, 1 GiB of 4 GiB of disk"),
        "{said}"
    );
    let no = too_much(&stage, EVE, "create web2 linux memory=2G").await;
    assert!(
        no.contains("eve@elsewhere.org may have here: 512 MiB of 2 GiB of memory, 1.5 GiB of memory left"),
        "{no}"
    );
    too_much(&stage, EVE, "web1: define vcpus=4").await;
    too_much(&stage, EVE, "web1: disk create more 4G").await;
    too_much(&stage, EVE, "web1: disk resize data 5G").await;
    stage.done(EVE, "web1: disk resize data 2G").await;
    // It is hers, whoever does it.
    too_much(&stage, ANN, "web1: define vcpus=4").await;
    too_much(&stage, EVE, "create web2 linux memory=512M disk=3G").await;
    stage.done(EVE, "web1: clone web2").await;
    too_much(&stage, EVE, "web1: clone web3").await;
    stage.done(EVE, "web1: snapshot take one").await;
    too_much(&stage, EVE, "web1: snapshot take two").await;
    // What she gives up she may have again, but not twice.
    done(stage.yes(EVE, "web2: delete").await);
    stage.done(EVE, "create web3 linux memory=512M").await;
    too_much(&stage, ANN, "undelete web2").await;
    // An admin of the configuration is bound by nothing but a quota of their own.
    stage.done(ANN, "create big linux vcpus=8 memory=4G").await;
    stage.done(ANN, "quota set ann@example.org machines=1").await;
    assert!(too_much(&stage, ANN, "create more linux").await.contains("1 of 1 machine, none left"));
    stage.done(ANN, "quota remove ann@example.org").await;
    stage.done(ANN, "create more linux").await;
}

#[tokio::test]
async fn several_at_once_do_not_have_together_what_one_may() {
    let stage = with_eve("quota set eve@elsewhere.org machines=3").await;
    let lines: Vec<String> = (0..8).map(|n| format!("create web{n} linux")).collect();
    let all = join_all(lines.iter().map(|line| stage.ask(EVE, line))).await;
    let made = all.iter().filter(|answer| matches!(answer, Answer::Done { .. })).count();
    let full = |answer: &&Answer| matches!(answer, Answer::Refused(it) if it.reason == Reason::Limit);
    assert_eq!((made, all.iter().filter(full).count()), (3, 5), "{all:?}");
    let stage = stage.restart().await;
    too_much(&stage, EVE, "create web9 linux").await;
}

#[tokio::test]
async fn who_may_not_see_all_sees_their_own_quota() {
    let stage = with_eve("quota set elsewhere.org machines=3").await;
    stage.done(ANN, "quota set sam@elsewhere.org machines=1").await;
    stage.done(EVE, "create web1 linux").await;
    let own = stage.done(EVE, "quota list").await;
    assert!(own.contains("each of elsewhere.org may have 3 machines"), "{own}");
    assert!(own.contains("eve@elsewhere.org has 1 of 3 machines") && !own.contains("sam@"), "{own}");
    assert_eq!(stage.refused(EVE, "quota list sam@elsewhere.org").await.reason, Reason::NotAllowed);
    assert_eq!(stage.refused(EVE, "quota set everyone machines=9").await.reason, Reason::NotAllowed);
    let all = stage.done(ANN, "quota list").await;
    assert!(
        all.contains("sam@elsewhere.org has 0 of 1 machine") && all.contains("eve@elsewhere.org has 1 of 3")
    );
    assert!(stage.done(VERA, "quota list").await.contains("nothing limits that"));
    // A right to the command is none to what others have.
    stage.done(ANN, "grant quota-set, quota-remove to vera@example.org").await;
    for line in ["quota set everyone machines=9", "quota remove elsewhere.org"] {
        assert_eq!(stage.refused(VERA, line).await.reason, Reason::NotAllowed, "{line}");
    }
}
