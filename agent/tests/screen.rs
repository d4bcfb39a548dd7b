//! What is said of a screen on which nothing is to be seen.
#![allow(clippy::unwrap_used, clippy::panic)]

mod stage;

use skerry_agent::asked::Answer;
use stage::*;

async fn looked(stage: &Stage, line: &str) -> serde_json::Value {
    match stage.ask(VERA, line).await {
        Answer::Done { json, .. } => json,
        other => panic!("{line}: {other:?}"),
    }
}

#[tokio::test]
async fn a_blank_screen_is_shown_and_said_to_be_blank() {
    let stage = stage().await;
    stage.done(ANN, "create web1 linux --start").await;
    let shown = looked(&stage, "web1: screenshot").await;
    assert!(shown.get("blank").is_none() && shown["cid"].is_string(), "{shown}");
    // As a terminal does it: what was there is cleared.
    assert!(stage.faults().write(stage.id("web1"), b"\x0c"));
    for line in ["web1: screenshot", "web1: watch", "web1: screenshot --inline"] {
        let blank = looked(&stage, line).await;
        assert_eq!((&blank["blank"], &blank["url"]), (&true.into(), &serde_json::Value::Null), "{line}");
        assert!(blank["cid"].is_string(), "its picture is there all the same: {blank}");
        let said = stage.done(VERA, line).await;
        assert!(said.starts_with("The screen of web1, 160 × 100, is blank: nothing was drawn"), "{said}");
    }
    assert!(stage.faults().write(stage.id("web1"), b"login:"));
    assert!(looked(&stage, "web1: watch").await.get("blank").is_none());
}
