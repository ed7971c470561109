//! Will Messages and deliveries: where what a Will hook emits enters, and that deliveries go backwards at any pace.

use plugin_api::{Deliver, DeliverFlow, Will, WillFlow, async_trait};

use super::*;
use crate::chain::OnFault;

/// Emits, edits, and goes on as told.
struct Emits(Result<WillFlow, Fault>);

#[async_trait]
impl Will for Emits {
    async fn will(&self, _: &Cx<'_>, edit: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        edit.emit(message("emitted"));
        edit.set_payload("edited");
        self.0.clone()
    }
}

fn emits(flow: Result<WillFlow, Fault>) -> Capabilities {
    Capabilities {
        will: Some(Arc::new(Emits(flow))),
        ..Capabilities::default()
    }
}

async fn will(chain: Chain) -> Willed {
    compile(&chain).will(&client(), message("a")).await
}

fn payloads(messages: impl IntoIterator<Item = Message>) -> Vec<String> {
    let texts = messages
        .into_iter()
        .map(|message| String::from_utf8(message.payload.to_vec()).unwrap());
    texts.collect()
}

#[tokio::test]
async fn what_a_will_hook_emits_enters_behind_it() {
    let chain = Chain::new()
        .plugin(used("1", stamped("1", &[])))
        .plugin(used("will", emits(Ok(WillFlow::Stop))))
        .plugin(used("2", stamped("2", &[])))
        .plugin(used("not asked", emits(Err(backend_down()))));
    let willed = will(chain).await;
    assert_eq!(payloads(willed.message), ["edited"]);
    assert_eq!(payloads(willed.emitted), ["p2"]);
}

#[tokio::test]
async fn what_a_will_hook_emits_goes_without_the_will_but_not_after_a_fault() {
    let emitting = |flow| Chain::new().plugin(used("1", emits(flow)));
    let dropped = will(emitting(Ok(WillFlow::Drop))).await;
    assert_eq!((dropped.message, dropped.emitted.len()), (None, 1));
    for (action, sent, emitted) in [
        (OnFault::Deny, false, 0),
        (OnFault::Disconnect, false, 0),
        (OnFault::Drop, false, 1),
        (OnFault::Skip, true, 1),
    ] {
        let failing = used("2", emits(Err(backend_down()))).on_error(action);
        let willed = will(emitting(Ok(WillFlow::Continue)).plugin(failing)).await;
        assert_eq!(
            (willed.message.is_some(), willed.emitted.len()),
            (sent, emitted),
            "{action:?}"
        );
    }
}

#[tokio::test]
async fn a_will_hook_is_kept_to_its_topics_and_to_where_it_may_publish() {
    let link = || used("will", emits(Ok(WillFlow::Continue)));
    let elsewhere = will(Chain::new().plugin(link().topics("b"))).await;
    assert_eq!(
        (elsewhere.message, elsewhere.emitted.len()),
        (Some(message("a")), 0)
    );
    let forbidden = will(Chain::new().plugin(link().allow_publish("b"))).await;
    assert_eq!((forbidden.message, forbidden.emitted.len()), (None, 0));
}

/// Writes its name into the payload, at once or later.
struct Writes {
    name: &'static str,
    later: bool,
}

impl Deliver for Writes {
    fn deliver(&self, _: u32, edit: &mut MessageEdit<'_>) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        let payload = [edit.payload(), self.name.as_bytes()].concat();
        edit.set_payload(payload.clone());
        if !self.later {
            return Answer::now(DeliverFlow::Continue);
        }
        edit.set_payload("scribble");
        Answer::later(async move {
            tokio::task::yield_now().await;
            let patch = Patch {
                payload: Some(payload.into()),
                ..Patch::default()
            };
            Ok((DeliverFlow::Continue, patch))
        })
    }
}

#[tokio::test]
async fn deliveries_go_backwards_at_any_pace() {
    for paces in 0..16u32 {
        let chain = ["1", "2", "3", "4"]
            .into_iter()
            .zip(0..)
            .fold(Chain::new(), |chain, (name, at)| {
                let later = paces & 1 << at != 0;
                let hook: Arc<dyn Deliver> = Arc::new(Writes { name, later });
                let capabilities = Capabilities {
                    deliver: everywhere(hook),
                    ..Capabilities::default()
                };
                chain.plugin(used(name, capabilities))
            });
        let (outcome, out) = deliver(&compile(&chain), 0, &message("a")).await;
        assert_eq!(
            (outcome, &out.payload[..]),
            (DeliverOutcome::Send, &b"p4321"[..]),
            "{paces:04b}"
        );
    }
}
