//! Who may do what.

use alloc::vec::Vec;

use super::{denial, millis};
use crate::wasm::bindings::authorize::exports::jackfield::plugin::authorize;
use crate::wasm::bindings::base::jackfield::plugin::types::Client;
use crate::wasm::instance::{Export, Exported, plugin, said};
use crate::wasm::message::{from_qos, to_qos};
use crate::{AclItem, AclVerdict, Action, Authorize, Cx};

impl<P: Exported + Authorize> authorize::Guest for Export<P> {
    fn on_authorize(
        who: &Client,
        action: authorize::Action,
        requests: Vec<authorize::Request>,
    ) -> Vec<authorize::Decision> {
        let cx = Cx::new(who);
        let action = match action {
            authorize::Action::Publish => Action::Publish,
            authorize::Action::Subscribe => Action::Subscribe,
            authorize::Action::Receive => Action::Receive,
        };
        requests
            .iter()
            .map(|request| {
                let item = AclItem {
                    action,
                    topic: &request.topic,
                    qos: from_qos(request.qos),
                    retain: request.retain,
                };
                let decision = said(plugin::<P>().authorize(&cx, &item));
                authorize::Decision {
                    verdict: match decision.verdict {
                        AclVerdict::Skip => authorize::Verdict::Skip,
                        AclVerdict::Allow => authorize::Verdict::Allow,
                        AclVerdict::AllowMaxQos(qos) => authorize::Verdict::AllowMaxQos(to_qos(qos)),
                        AclVerdict::Deny(refusal) => authorize::Verdict::Deny(denial(refusal)),
                    },
                    cache_ms: decision.cache_for.map(millis),
                }
            })
            .collect()
    }
}
