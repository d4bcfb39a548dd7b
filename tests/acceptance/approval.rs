//! Two people with clients that nobody here wrote, one of whom agrees to what the other asks for: slixmpp, driven
//! by tests/clients/approve.py.

use crate::slixmpp::drive;

#[tokio::test]
async fn a_reaction_agrees_and_a_reply_refuses_on_prosody_as_a_component() {
    drive("approve.py", "prosody", "component").await;
}

#[tokio::test]
async fn a_reaction_agrees_and_a_reply_refuses_on_ejabberd_with_an_account() {
    drive("approve.py", "ejabberd", "single").await;
}
