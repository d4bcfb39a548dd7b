#![allow(clippy::unwrap_used, clippy::panic)]

use hypervisor_core::{
    definition::Definition,
    lifecycle::{Exit, State},
    machine::{MachineId, MachineName},
};
use skerry_stanzas::command::COMMANDS;
use uuid::Uuid;

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

fn bare(text: &str) -> BareJid {
    jid(text).into_bare()
}

fn command(permission: &str) -> &'static Declaration {
    COMMANDS.iter().find(|it| it.permission() == permission).unwrap()
}

fn configured() -> Rights {
    let [admin, operator, viewer] =
        ["ann@example.org", "otto@example.org", "example.org"].map(|one| vec![one.to_owned()]);
    let lists = [(Role::Admin, &admin), (Role::Operator, &operator), (Role::Viewer, &viewer)];
    Rights { roles: Roles::new(lists).unwrap(), ..Rights::default() }
}

fn grant(to: &str, what: &[&str], on: Scope) -> Grant {
    Grant {
        number: 0,
        whom: Whom::read(to).unwrap(),
        what: what.iter().map(|word| (*word).to_owned()).collect(),
        on: vec![on],
        forbids: false,
        until: None,
        because: None,
        by: Whom::read("ann@example.org").unwrap(),
        at: now(),
        entry: Uuid::nil(),
        from: None,
        set: None,
    }
}

fn with(grants: impl IntoIterator<Item = Grant>) -> Rights {
    let mut rights = configured();
    for (number, grant) in (1..).zip(grants) {
        rights.grants.push(Grant { number, ..grant });
    }
    rights
}

fn machine(number: u128, labels: &[&str], maker: &str) -> Record {
    let name = MachineName::new(format!("web{number}")).unwrap();
    let mut record = Record::new(
        MachineId(Uuid::from_u128(number)),
        name,
        Definition::new(1, 64, hypervisor_core::definition::Boot::Disk),
        "fake",
        State::Stopped(Exit::Never),
        maker.to_owned(),
    );
    record.labels = labels.iter().map(|label| (*label).to_owned()).collect();
    record
}

fn allows(rights: &Rights, who: &str, permission: &str, on: &Subject<'_>) -> bool {
    rights.sees(&bare(who), on, now()) && rights.decide(&bare(who), command(permission), on, now()).allowed
}

#[test]
fn every_command_is_refused_to_a_stranger_and_allowed_to_an_admin() {
    let (web1, rights) = (machine(1, &[], "ann@example.org"), configured());
    let target = Target::Machine(web1.name.clone());
    for declaration in COMMANDS {
        for on in [Subject::Host, Subject::Machine(&web1), Subject::Absent] {
            let permit = |who: &str| rights.permit(&jid(who), declaration, &target, &on, now());
            for stranger in ["eve@elsewhere.org", "example.org", "ann@sub.example.org", "ann@elsewhere.org"] {
                let refusal = permit(stranger).unwrap_err();
                assert_eq!(refusal.reason, Reason::NotAllowed, "{stranger} {declaration:?}");
                assert!(refusal.sentence().contains("no role"), "{}", refusal.sentence());
            }
            permit("ann@example.org/phone").unwrap();
        }
    }
}

#[test]
fn a_role_of_the_configuration_holds_the_rights_of_the_ones_below_and_none_above() {
    let web1 = machine(1, &[], "ann@example.org");
    for (person, role) in [("otto@example.org", Role::Operator), ("vera@example.org", Role::Viewer)] {
        for declaration in COMMANDS {
            let on = match declaration.object {
                Object::Host => Subject::Host,
                Object::Machine => Subject::Machine(&web1),
            };
            let allowed = allows(&configured(), person, &declaration.permission(), &on);
            assert_eq!(allowed, declaration.role <= role, "{person} {declaration:?}");
        }
    }
}

#[test]
fn the_rule_that_decides_is_named() {
    let rule = |rights: &Rights, who: &str| {
        rights.decide(&bare(who), command("machine.start"), &Subject::Absent, now()).rule
    };
    let rights = with([grant("vera@example.org", &["power"], Scope::All)]);
    assert_eq!(
        rule(&configured(), "otto@example.org"),
        "roles.operator names otto@example.org: operator allows machine.start"
    );
    assert_eq!(
        rule(&configured(), "vera@example.org"),
        "roles.viewer names example.org: viewer does not allow machine.start, which needs operator"
    );
    assert_eq!(rule(&configured(), "eve@elsewhere.org"), "no rule names eve@elsewhere.org");
    assert_eq!(
        rule(&rights, "vera@example.org"),
        "grant 1 by ann@example.org gives power to vera@example.org"
    );
}

#[test]
fn a_grant_reaches_as_far_as_it_says() {
    let (web1, web2) = (machine(1, &["lab"], "ann@example.org"), machine(2, &[], "mia@other.example"));
    let (one, two) = (Subject::Machine(&web1), Subject::Machine(&web2));
    let reach = |scope: Scope| {
        let rights = with([grant("eve@other.example", &["machine.start", "host.create"], scope)]);
        let machines = [&one, &two].map(|on| allows(&rights, "eve@other.example", "machine.start", on));
        (machines, allows(&rights, "eve@other.example", "host.create", &Subject::Host))
    };
    assert_eq!(reach(Scope::All), ([true, true], true));
    assert_eq!(reach(Scope::Machine(web1.id)), ([true, false], false));
    assert_eq!(reach(Scope::Label("lab".into())), ([true, false], false));
    assert_eq!(reach(Scope::MadeBy(Whom::read("mia@other.example").unwrap())), ([false, true], false));
    assert!(reach(Scope::Host).1);
}

#[test]
fn what_is_forbidden_is_so_whatever_allows_it() {
    let web1 = machine(1, &[], "otto@example.org");
    let on = Subject::Machine(&web1);
    let forbids =
        Grant { forbids: true, ..grant("otto@example.org", &["machine.kill"], Scope::Machine(web1.id)) };
    let gives = grant("otto@example.org", &["owner"], Scope::All);
    let rights = with([gives, forbids]);
    assert!(!allows(&rights, "otto@example.org", "machine.kill", &on));
    assert!(allows(&rights, "otto@example.org", "machine.start", &on));
    let decision = rights.decide(&bare("otto@example.org"), command("machine.kill"), &on, now());
    assert!(decision.forbidden && decision.rule.contains("grant 2"), "{decision:?}");
    let target = Target::Machine(web1.name.clone());
    let refusal = rights.permit(&jid("otto@example.org"), command("machine.kill"), &target, &on, now());
    assert!(refusal.unwrap_err().sentence().contains("forbidden to you here"));
}

#[test]
fn a_grant_ends_to_the_second() {
    let web1 = machine(1, &[], "ann@example.org");
    let on = Subject::Machine(&web1);
    let ends = Grant {
        until: Some(now() + chrono::Duration::seconds(1)),
        ..grant("eve@other.example", &["power"], Scope::Machine(web1.id))
    };
    let rights = with([ends]);
    let eve = bare("eve@other.example");
    let at = |seconds| now() + chrono::Duration::seconds(seconds);
    let allowed = |at| rights.decide(&eve, command("machine.start"), &on, at).allowed;
    assert!(allowed(at(0)) && !allowed(at(1)) && !rights.sees(&eve, &on, at(1)));
    assert!(rights.is_known(&eve, at(0)) && !rights.is_known(&eve, at(1)));
}

#[test]
fn who_may_not_see_a_machine_hears_the_same_whether_it_is_there_or_not() {
    let (web1, web2) = (machine(1, &[], "ann@example.org"), machine(2, &[], "ann@example.org"));
    let rights = with([grant("eve@other.example", &["power"], Scope::Machine(web1.id))]);
    for declaration in COMMANDS.iter().filter(|it| it.object == Object::Machine) {
        let target = Target::Machine(web2.name.clone());
        let permit = |on: Subject<'_>| {
            rights.permit(&jid("eve@other.example"), declaration, &target, &on, now()).unwrap_err().sentence()
        };
        assert_eq!(permit(Subject::Machine(&web2)), permit(Subject::Absent));
    }
    let eve = bare("eve@other.example");
    assert!(rights.sees(&eve, &Subject::Host, now()) && rights.sees(&eve, &Subject::Machine(&web1), now()));
    assert!(!rights.sees(&eve, &Subject::Machine(&web2), now()));
    assert!(rights.standing(&eve, now()).is_none());
}

#[test]
fn a_right_on_the_host_shows_no_machine() {
    let web1 = machine(1, &[], "ann@example.org");
    let rights = with([grant("eve@other.example", &["host.create"], Scope::All)]);
    assert!(!rights.sees(&bare("eve@other.example"), &Subject::Machine(&web1), now()));
}

#[test]
fn who_may_do_anything_with_a_machine_may_see_how_it_is() {
    let web1 = machine(1, &[], "ann@example.org");
    let rights = with([grant("eve@other.example", &["machine.start"], Scope::Machine(web1.id))]);
    assert!(allows(&rights, "eve@other.example", "machine.status", &Subject::Machine(&web1)));
    assert!(!allows(&rights, "eve@other.example", "machine.shutdown", &Subject::Machine(&web1)));
    for asked in FOR_ANYBODY_KNOWN {
        assert!(allows(&rights, "eve@other.example", asked, &Subject::Host), "{asked}");
        assert!(!allows(&rights, "mia@other.example", asked, &Subject::Host), "{asked}");
    }
}

#[test]
fn a_permit_knows_whether_it_was_granted() {
    let rights = with([grant("eve@other.example", &["host.create"], Scope::Host)]);
    let granted = |who: &str| {
        let create = command("host.create");
        rights.permit(&jid(who), create, &Target::Host, &Subject::Host, now()).unwrap().is_granted()
    };
    assert!(granted("eve@other.example") && !granted("ann@example.org"));
}

#[test]
fn a_role_on_everything_is_a_role_on_the_host() {
    let on_all = with([grant("eve@other.example", &["operator"], Scope::All)]);
    let standing = |rights: &Rights, who: &str| rights.standing(&bare(who), now()).map(|(role, _)| role);
    assert_eq!(standing(&on_all, "eve@other.example"), Some(Role::Operator));
    assert!(allows(&on_all, "eve@other.example", "host.trash", &Subject::Host));
    let on_one = with([grant("eve@other.example", &["operator"], Scope::Machine(MachineId(Uuid::nil())))]);
    assert_eq!(standing(&on_one, "eve@other.example"), None);
    let more = with([grant("vera@example.org", &["admin"], Scope::All)]);
    assert_eq!(standing(&more, "vera@example.org"), Some(Role::Admin));
    assert_eq!(more.admin_until(&bare("vera@example.org"), now()), Some(None));
    assert_eq!(more.admin_until(&bare("ann@example.org"), now()), None, "that is the configuration's");
}

#[test]
fn who_can_lists_each_rule_and_not_who_is_forbidden() {
    let web1 = machine(1, &[], "mia@other.example");
    let on = Subject::Machine(&web1);
    let forbids = Grant { forbids: true, ..grant("otto@example.org", &["machine.kill"], Scope::All) };
    let rights = with([grant("eve@other.example", &["editor"], Scope::Machine(web1.id)), forbids]);
    let who: Vec<String> =
        rights.who_can(command("machine.kill"), &on, now()).into_iter().map(|(who, _)| who).collect();
    // Mia made it, and has no right here.
    assert_eq!(who, ["ann@example.org", "eve@other.example"]);
}

#[test]
fn a_resource_or_nonsense_is_no_rule() {
    for odd in ["ann@example.org/phone", "@@", ""] {
        let lists =
            [vec!["ann@example.org".to_owned()], vec!["otto@example.org".to_owned()], vec![odd.to_owned()]];
        let [admin, operator, viewer] = &lists;
        let roles = Roles::new([(Role::Admin, admin), (Role::Operator, operator), (Role::Viewer, viewer)]);
        assert_eq!(roles.unwrap_err().0, Role::Viewer);
    }
}

/// With a grant to those in a circle, and Eve in it.
fn with_circle(what: &str) -> Rights {
    let mut rights = with([grant("room:ops@rooms.example.org/members", &[what], Scope::All)]);
    let people = ["eve@other.example"].map(bare).into();
    rights.circles.insert("room:ops@rooms.example.org/members".into(), people);
    rights
}

#[test]
fn who_is_in_a_circle_has_what_it_has_as_long_as_that_is_known() {
    let web1 = machine(1, &[], "ann@example.org");
    let on = Subject::Machine(&web1);
    let mut rights = with_circle("power");
    assert!(allows(&rights, "eve@other.example", "machine.start", &on));
    assert!(!allows(&rights, "mia@other.example", "machine.start", &on));
    let decision = rights.decide(&bare("eve@other.example"), command("machine.start"), &on, now());
    assert_eq!(
        decision.rule,
        "grant 1 by ann@example.org gives power to room:ops@rooms.example.org/members (eve@other.example is in it)"
    );
    let who = |rights: &Rights| -> Vec<String> {
        rights.who_can(command("machine.start"), &on, now()).into_iter().map(|(who, _)| who).collect()
    };
    assert!(who(&rights).contains(&"eve@other.example".to_owned()));
    rights.circles.clear();
    assert!(!allows(&rights, "eve@other.example", "machine.start", &on));
    assert!(!rights.is_known(&bare("eve@other.example"), now()));
    assert!(who(&rights).contains(&"room:ops@rooms.example.org/members".to_owned()));
}

#[test]
fn what_came_from_another_host_forbids_nothing_to_who_has_a_role_here() {
    let web1 = machine(1, &[], "ann@example.org");
    let on = Subject::Machine(&web1);
    let came = |whom: &str| Grant {
        forbids: true,
        from: Some("kvm2.example.org".into()),
        ..grant(whom, &["machine.start"], Scope::Machine(web1.id))
    };
    let rights = with([
        came("otto@example.org"),
        came("eve@other.example"),
        grant("eve@other.example", &["power"], Scope::All),
    ]);
    assert!(allows(&rights, "otto@example.org", "machine.start", &on));
    assert!(!allows(&rights, "eve@other.example", "machine.start", &on));
}
