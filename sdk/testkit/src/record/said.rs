//! What a hook said, as JSON: the verdict, and only what differs from saying nothing else. Two plugins that say the same
//! have the same JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use plugin_api::{
    AcceptVerdict, AclDecision, AclVerdict, AuthVerdict, ConnectFlow, DeliverFlow, Denial, ExchangeVerdict,
    Fault, Flow, Grant, Patch, RetainVerdict, SubscribeFlow, WillFlow,
};
use serde_json::Value;

use super::SECRET;
use super::write::{Object, pairs_json, put, put_bytes, put_connect, put_message, put_some};
use crate::Verdict;

/// Returns what was said as JSON. Challenges and Authentication Data only if `secrets` is set.
#[must_use]
pub fn said_json(said: &Result<Verdict, Fault>, secrets: bool) -> Value {
    let mut object = Object::new();
    match said {
        Ok(verdict) => write(&mut object, verdict, secrets),
        Err(fault) => {
            put(&mut object, "fault", fault.kind.as_str());
            put(&mut object, "text", &*fault.text);
        }
    }
    Value::Object(object)
}

fn write(object: &mut Object, verdict: &Verdict, secrets: bool) {
    match verdict {
        Verdict::PassedBy => say(object, "passed-by"),
        Verdict::Noted => say(object, "noted"),
        Verdict::Accept(AcceptVerdict::Continue) => say(object, "continue"),
        Verdict::Accept(AcceptVerdict::Drop) => say(object, "drop"),
        Verdict::Accept(AcceptVerdict::Delay(time)) => {
            say(object, "delay");
            put_millis(object, *time);
        }
        Verdict::Connect(flow, edit) => {
            match flow {
                ConnectFlow::Continue => say(object, "continue"),
                ConnectFlow::Stop => say(object, "stop"),
                ConnectFlow::Reject(denial) => deny(object, "reject", denial),
            }
            put_connect(object, edit);
        }
        Verdict::Authenticate(AuthVerdict::Skip) => say(object, "skip"),
        Verdict::Authenticate(AuthVerdict::Allow(grant)) => {
            say(object, "allow");
            put_grant(object, grant);
        }
        Verdict::Authenticate(AuthVerdict::Deny(denial)) => deny(object, "deny", denial),
        Verdict::Exchange(verdict) => exchange(object, verdict, secrets),
        Verdict::Authorize(decisions) => {
            object.insert("decisions".to_owned(), decisions.iter().map(decision).collect());
        }
        Verdict::Subscribe(flow, edit) => {
            match flow {
                SubscribeFlow::Continue => say(object, "continue"),
                SubscribeFlow::Stop => say(object, "stop"),
                SubscribeFlow::Reject(denial) => deny(object, "reject", denial),
            }
            put(object, "filter", edit.filter.to_string());
            put(object, "qos", edit.max_qos.bits());
            put(object, "class", edit.class);
        }
        Verdict::Unsubscribe(edit) => {
            say(object, "continue");
            put(object, "filter", edit.filter.to_string());
        }
        Verdict::Publish(flow, patch) => {
            match flow {
                Flow::Continue => say(object, "continue"),
                Flow::Stop => say(object, "stop"),
                Flow::Drop => say(object, "drop"),
                Flow::Reject(denial) => deny(object, "reject", denial),
                Flow::Disconnect(denial) => deny(object, "disconnect", denial),
                Flow::Throttle(time) => {
                    say(object, "throttle");
                    put_millis(object, *time);
                }
            }
            put_patch(object, patch);
        }
        Verdict::Retain(RetainVerdict::Store) => say(object, "store"),
        Verdict::Retain(RetainVerdict::Pass) => say(object, "pass"),
        Verdict::Retain(RetainVerdict::StoreFor(time)) => {
            say(object, "store-for");
            put(object, "seconds", time.as_secs());
        }
        Verdict::Deliver(flow, patch) => {
            say(
                object,
                match flow {
                    DeliverFlow::Continue => "continue",
                    DeliverFlow::Stop => "stop",
                    DeliverFlow::Drop => "drop",
                },
            );
            put_patch(object, patch);
        }
        Verdict::Will(flow, patch) => {
            say(
                object,
                match flow {
                    WillFlow::Continue => "continue",
                    WillFlow::Stop => "stop",
                    WillFlow::Drop => "drop",
                },
            );
            put_patch(object, patch);
        }
        Verdict::Control(Ok(reply)) => {
            say(object, "reply");
            put_bytes(object, "payload", reply);
        }
        Verdict::Control(Err(reason)) => {
            say(object, "reject");
            put(object, "reason", reason.byte());
        }
        Verdict::SharePick(index) => {
            say(object, "pick");
            put_some(object, "index", *index);
        }
    }
}

fn say(object: &mut Object, verdict: &str) {
    put(object, "verdict", verdict);
}

fn deny(object: &mut Object, verdict: &str, denial: &Denial) {
    say(object, verdict);
    put(object, "reason", denial.reason.byte());
    put_some(object, "text", denial.text.as_deref());
}

fn put_millis(object: &mut Object, time: std::time::Duration) {
    put(object, "ms", u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
}

fn put_grant(object: &mut Object, grant: &Grant) {
    put_some(object, "username", grant.username.as_deref());
    put_some(object, "client_id", grant.client_id.as_deref());
    put_some(object, "mount", grant.mount.as_deref());
    if !grant.attributes.is_empty() {
        put(object, "attributes", pairs_json(&grant.attributes));
    }
    put_some(
        object,
        "session_expiry_cap",
        grant.session_expiry_cap.map(|cap| cap.as_secs()),
    );
    put_some(object, "expires_in", grant.expires_in.map(|time| time.as_secs()));
}

fn exchange(object: &mut Object, verdict: &ExchangeVerdict, secrets: bool) {
    let data = |object: &mut Object, data: &[u8]| match secrets {
        true => put_bytes(object, "data", data),
        false => put(object, "data", SECRET),
    };
    match verdict {
        ExchangeVerdict::Challenge(challenge) => {
            say(object, "challenge");
            data(object, challenge);
        }
        ExchangeVerdict::Success { grant, data: last } => {
            say(object, "success");
            put_grant(object, grant);
            if let Some(last) = last {
                data(object, last);
            }
        }
        ExchangeVerdict::Deny(denial) => deny(object, "deny", denial),
    }
}

fn decision(decision: &AclDecision) -> Value {
    let mut object = Object::new();
    match &decision.verdict {
        AclVerdict::Skip => say(&mut object, "skip"),
        AclVerdict::Allow => say(&mut object, "allow"),
        AclVerdict::AllowMaxQos(qos) => {
            say(&mut object, "allow");
            put(&mut object, "max_qos", qos.bits());
        }
        AclVerdict::Deny(denial) => deny(&mut object, "deny", denial),
    }
    match decision.cache_for {
        Some(AclDecision::FOREVER) => put(&mut object, "cache", "forever"),
        Some(time) => put(
            &mut object,
            "cache_ms",
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        ),
        None => {}
    }
    Value::Object(object)
}

fn put_patch(object: &mut Object, patch: &Patch) {
    put_some(object, "topic", patch.topic.as_ref().map(|topic| topic.as_str()));
    if let Some(payload) = &patch.payload {
        put_bytes(object, "payload", payload);
    }
    put_some(object, "qos", patch.qos.map(|qos| qos.bits()));
    put_some(object, "retain", patch.retain);
    if let Some(properties) = &patch.properties {
        put(
            object,
            "properties_base64",
            BASE64_STANDARD.encode(properties.as_bytes()),
        );
    }
    if let Some(expiry) = patch.expiry {
        put(object, "expiry", expiry.map_or(Value::Null, Value::from));
    }
    if !patch.emitted.is_empty() {
        let emitted = patch.emitted.iter().map(|message| {
            let mut one = Object::new();
            put_message(&mut one, message);
            Value::Object(one)
        });
        object.insert("emitted".to_owned(), emitted.collect());
    }
}
