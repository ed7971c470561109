//! The way through a chain of a message that no client's packet brings: a Will Message, what a bridge brought in. Authorize
//! and publish are asked as for a PUBLISH of the client that stands for it.

use std::sync::Arc;

use broker_types::{Message, Source};
use plugin_api::{AclItem, AclRequest, Action, ClientView, MessageEdit, MessageParts};

use super::delivery::mounted;
use crate::hooks::{ChainSet, Decision, HookMask, Outcome, Step, Verdict};

/// Asks the hooks, and puts everything that goes out because of `message` into `out`: itself, as it was changed, and what
/// plugins emitted. `message` has a topic without the client's mount; those in `out` are absolute.
pub(crate) async fn pass(
    message: Message,
    source: Source,
    client: &Arc<ClientView>,
    chain: &Arc<ChainSet>,
    out: &mut Vec<Message>,
) {
    if chain.mask().has(HookMask::AUTHORIZE) && !is_allowed(&message, client, chain).await {
        return;
    }
    if !chain.mask().has(HookMask::PUBLISH) {
        out.extend(absolute(message, &client.mount));
        return;
    }
    let slots = chain.interest(message.topic.as_ref()).publish;
    let mut edit = MessageEdit::new(MessageParts::of(&message, source));
    let step = match chain.publish(client, slots, &mut edit) {
        Step::Now(published) => Step::Now((published, edit.take_kept().map(|patch| *patch))),
        Step::Later(pending) => Step::Later(pending),
    };
    let (published, patch) = match step {
        Step::Now(done) => done,
        Step::Later(pending) => {
            let (published, patch) = pending.await;
            (published, Some(patch))
        }
    };
    out.extend(published.emitted);
    if published.verdict == Verdict::Pass {
        let patch = patch.unwrap_or_default();
        let edited = MessageEdit::with_patch(MessageParts::of(&message, source), patch).to_message();
        out.extend(absolute(edited, &client.mount));
    }
}

/// Asks whether the client may publish its Will Message, now that it fires.
async fn is_allowed(message: &Message, client: &Arc<ClientView>, chain: &Arc<ChainSet>) -> bool {
    let topic = message.topic.as_str();
    let item = AclItem {
        topic,
        qos: message.qos,
        retain: message.retain,
        share: None,
    };
    let request = AclRequest {
        action: Action::Publish,
        items: &[item],
    };
    let mut decisions = vec![Decision::default()];
    if let Step::Later(pending) = chain.authorize(client, &request, &mut decisions) {
        decisions = pending.await;
    }
    let outcome = decisions.first().map(|decision| &decision.outcome);
    matches!(outcome, Some(Outcome::Allow { max_qos }) if message.qos <= *max_qos)
}

/// Puts the mount before a message's topic.
fn absolute(mut message: Message, mount: &str) -> Option<Message> {
    if !mount.is_empty() {
        message.topic = mounted(message.topic.as_ref(), mount)?;
    }
    Some(message)
}
