//! Verdicts, written the way the header wants them.

use std::time::Duration;

use plugin_abi::{self as abi, Out, values::*};

use super::host::call;
use super::lend;
use crate::{
    AcceptVerdict, AclDecision, AclVerdict, AuthVerdict, ConnectEdit, ConnectFlow, DeliverFlow, Denial,
    ExchangeVerdict, Flow, Grant, Host, RetainVerdict, SubscribeEdit, SubscribeFlow,
};

/// A verdict and where what is attached to it goes.
pub(crate) struct Verdict<'a> {
    pub(crate) host: Host,
    pub(crate) out: &'a mut Out,
}

impl Verdict<'_> {
    const fn say(&mut self, verdict: u32) {
        self.out.verdict = verdict;
    }

    fn refuse(&mut self, verdict: u32, denial: &Denial) {
        self.out.verdict = verdict;
        self.out.reason = denial.reason.byte();
        if let Some(text) = &denial.text {
            call!(self.host, out_text(self.out.sink, lend(text)) or 0);
        }
    }

    fn text(&mut self, field: u32, text: Option<&str>) {
        if let Some(text) = text {
            call!(self.host, out_str(self.out.sink, field, lend(text)) or 0);
        }
    }

    fn number(&mut self, field: u32, number: Option<u64>) {
        if let Some(number) = number {
            call!(self.host, out_num(self.out.sink, field, number) or 0);
        }
    }

    fn data(&mut self, data: &[u8]) {
        call!(self.host, out_data(self.out.sink, abi::Str::of(data)) or 0);
    }

    fn pairs(&mut self, pairs: &[(String, String)]) {
        for (key, value) in pairs {
            call!(self.host, out_attr(self.out.sink, lend(key), lend(value)) or 0);
        }
    }

    fn grant(&mut self, grant: &Grant) {
        self.text(JF_O_USERNAME, grant.username.as_deref());
        self.text(JF_O_CLIENT_ID, grant.client_id.as_deref());
        self.text(JF_O_MOUNT, grant.mount.as_deref());
        self.number(
            JF_O_SESSION_CAP,
            grant.session_expiry_cap.map(|cap| cap.as_secs()),
        );
        self.number(JF_O_EXPIRES_S, grant.expires_in.map(|time| time.as_secs()));
        self.pairs(&grant.attributes);
    }

    fn delay(&mut self, delay: Duration) {
        self.say(JF_V_CONTINUE);
        self.out.delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
    }

    pub(crate) fn accept(&mut self, said: AcceptVerdict) {
        match said {
            AcceptVerdict::Continue => self.say(JF_V_CONTINUE),
            AcceptVerdict::Drop => self.say(JF_V_DROP),
            AcceptVerdict::Delay(delay) => self.delay(delay),
        }
    }

    pub(crate) fn authenticate(&mut self, said: AuthVerdict) {
        match said {
            AuthVerdict::Skip => self.say(JF_V_SKIP),
            AuthVerdict::Allow(grant) => {
                self.say(JF_V_ALLOW);
                self.grant(&grant);
            }
            AuthVerdict::Deny(denial) => self.refuse(JF_V_DENY, &denial),
        }
    }

    /// Says a step of an exchange and returns what the next one must know.
    pub(crate) fn exchange(&mut self, said: ExchangeVerdict) -> Option<Vec<u8>> {
        match said {
            ExchangeVerdict::Challenge { data, state } => {
                self.say(JF_V_CHALLENGE);
                self.data(&data);
                return Some(state);
            }
            ExchangeVerdict::Success { grant, data } => {
                self.say(JF_V_ALLOW);
                self.grant(&grant);
                if let Some(data) = &data {
                    self.data(data);
                }
            }
            ExchangeVerdict::Deny(denial) => self.refuse(JF_V_DENY, &denial),
        }
        None
    }

    fn edit_connect(&mut self, how: u32, edit: &ConnectEdit) {
        self.say(how);
        self.text(JF_O_CLIENT_ID, edit.client_id.as_deref());
        self.text(JF_O_USERNAME, edit.username.as_deref());
        self.text(JF_O_MOUNT, edit.mount.as_deref());
        self.text(JF_O_SERVER_REF, edit.server_reference.as_deref());
        self.number(JF_O_KEEPALIVE_CAP, edit.keep_alive_cap.map(u64::from));
        self.number(JF_O_SESSION_CAP, edit.session_expiry_cap.map(|cap| cap.as_secs()));
        self.pairs(&edit.user_properties);
    }

    pub(crate) fn connect(&mut self, said: ConnectFlow) {
        match said {
            ConnectFlow::Continue(edit) => self.edit_connect(JF_V_CONTINUE, &edit),
            ConnectFlow::Stop(edit) => self.edit_connect(JF_V_STOP, &edit),
            ConnectFlow::Reject(denial) => self.refuse(JF_V_REJECT, &denial),
        }
    }

    pub(crate) fn authorize(&mut self, said: &AclDecision) {
        match &said.verdict {
            AclVerdict::Skip => self.say(JF_V_SKIP),
            AclVerdict::Allow => self.say(JF_V_ALLOW),
            AclVerdict::AllowMaxQos(qos) => {
                self.say(JF_V_ALLOW);
                self.number(JF_O_MAX_QOS, Some(qos.bits().into()));
            }
            AclVerdict::Deny(denial) => self.refuse(JF_V_DENY, denial),
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.number(JF_O_CACHE_MS, said.cache_for.map(millis));
    }

    fn edit_subscription(&mut self, how: u32, edit: &SubscribeEdit) {
        self.say(how);
        self.text(JF_O_FILTER, edit.filter.as_deref());
        self.number(JF_O_MAX_QOS, edit.max_qos.map(|qos| qos.bits().into()));
        self.number(JF_O_SUB_CLASS, edit.class.map(u64::from));
    }

    pub(crate) fn subscribe(&mut self, said: SubscribeFlow) {
        match said {
            SubscribeFlow::Continue(edit) => self.edit_subscription(JF_V_CONTINUE, &edit),
            SubscribeFlow::Stop(edit) => self.edit_subscription(JF_V_STOP, &edit),
            SubscribeFlow::Reject(denial) => self.refuse(JF_V_REJECT, &denial),
        }
    }

    pub(crate) fn unsubscribe(&mut self, said: Option<String>) {
        self.say(JF_V_CONTINUE);
        self.text(JF_O_FILTER, said.as_deref());
    }

    pub(crate) fn publish(&mut self, said: Flow) {
        match said {
            Flow::Continue => self.say(JF_V_CONTINUE),
            Flow::Stop => self.say(JF_V_STOP),
            Flow::Drop => self.say(JF_V_DROP),
            Flow::Reject(denial) => self.refuse(JF_V_REJECT, &denial),
            Flow::Disconnect(denial) => self.refuse(JF_V_DISCONNECT, &denial),
            Flow::Throttle(delay) => self.delay(delay),
        }
    }

    pub(crate) fn deliver(&mut self, said: DeliverFlow) {
        self.say(match said {
            DeliverFlow::Continue => JF_V_CONTINUE,
            DeliverFlow::Stop => JF_V_STOP,
            DeliverFlow::Drop => JF_V_DROP,
        });
    }

    pub(crate) fn retain(&mut self, said: RetainVerdict) {
        match said {
            RetainVerdict::Store => self.say(JF_V_CONTINUE),
            RetainVerdict::StoreFor(time) => {
                self.say(JF_V_CONTINUE);
                self.number(JF_O_RETAIN_S, Some(time.as_secs()));
            }
            RetainVerdict::Pass => self.say(JF_V_DROP),
        }
    }

    pub(crate) fn control(&mut self, said: Result<Vec<u8>, broker_types::ReasonCode>) {
        match said {
            Ok(reply) => {
                self.say(JF_V_CONTINUE);
                self.data(&reply);
            }
            Err(reason) => self.refuse(JF_V_REJECT, &Denial::new(reason)),
        }
    }
}
