//! Examples of the replies about rights.

use skerry_stanzas::reply::{
    Able, Applied, Exported, GrantLine, GrantList, Granted, QuotaChanged, QuotaLine, QuotaList, QuotaUse,
    RoleLine, RoleList, Verdict, WhoCan, Whoami,
};

use crate::examples::{Example, example};

/// What the commands about rights answer.
pub fn of_rights() -> Vec<Example> {
    let ann = "ann@example.org";
    let rule = "roles.admin names ann@example.org: admin allows machine.kill";
    let role = RoleLine {
        name: "night".into(),
        about: "machine.start, machine.shutdown".into(),
        own: true,
        permissions: vec!["machine.start".into(), "machine.shutdown".into()],
    };
    vec![
        example(Whoami {
            jid: ann.into(),
            role: Some("admin".into()),
            rule: "roles.admin names ann@example.org".into(),
        }),
        example(Verdict {
            who: "otto@example.org".into(),
            what: "machine.define".into(),
            machine: Some("web1".into()),
            allowed: false,
            rule:
                "roles.operator names otto@example.org: operator does not allow machine.define, which needs \
                   admin"
                    .into(),
            grant: Some("grant machine.define to otto@example.org on web1".into()),
        }),
        example(WhoCan {
            what: "machine.kill".into(),
            machine: Some("web1".into()),
            people: vec![Able { who: ann.into(), rule: rule.into() }],
        }),
        example(Granted {
            number: 3,
            sentence: "eve@other.example has power on web1 until 2026-11-27 17:00 UTC (number 3).".into(),
        }),
        example(GrantList {
            grants: vec![GrantLine {
                number: 3,
                to: "eve@other.example".into(),
                what: vec!["power".into()],
                on: vec!["web1".into()],
                forbids: false,
                until: "2026-11-27T17:00:00Z".parse().ok(),
                because: Some("she moves it".into()),
                by: ann.into(),
                at: "2026-11-22T20:31:00Z".parse().unwrap(),
                from: None,
                set: None,
            }],
            all: true,
        }),
        example(role.clone()),
        example(RoleList { roles: vec![role] }),
    ]
}

/// What the commands about files of rights, and about quotas, answer.
pub fn of_limits() -> Vec<Example> {
    let ann = "ann@example.org";
    vec![
        example(Applied {
            set: "ops".into(),
            changes: vec!["given: eve@other.example has power on web1".into()],
            warnings: vec![],
            done: true,
        }),
        example(Exported {
            toml: "[[grant]]\nto = \"eve@other.example\"\nwhat = [\"power\"]\non = [\"web1\"]\n".into(),
        }),
        example(QuotaChanged { to: "everyone".into(), sentence: "everyone may have 5 machines.".into() }),
        example(QuotaList {
            quotas: vec![QuotaLine {
                to: "everyone".into(),
                machines: Some(5),
                vcpus: None,
                memory_bytes: None,
                disk_bytes: None,
                snapshots: None,
                by: ann.into(),
                set: None,
                sentence: "everyone may have 5 machines".into(),
            }],
            uses: vec![QuotaUse {
                who: "eve@other.example".into(),
                quota: Some("everyone".into()),
                machines: 2,
                vcpus: 2,
                memory_bytes: 1 << 30,
                disk_bytes: 20 << 30,
                snapshots: 1,
                sentence: "eve@other.example has 2 of 5 machines".into(),
            }],
        }),
    ]
}
