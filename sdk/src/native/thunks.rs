//! A thunk for each hook: a module with the bit of the hook, the function, and how it is offered.

use std::ffi::c_void;
use std::time::Duration;

use broker_types::QoS;
use plugin_abi::{self as abi, Ctx, Out, values::*};

use super::instance::{Instance, Offer};
use super::{lend, read_bytes, read_text};
use crate::host::call;
use crate::{ClientHandle, Cx, Denial, Grant, Host, Message, Plugin};

/// What a verdict is written to.
struct Verdict<'a> {
    host: Host,
    out: &'a mut Out,
}

impl Verdict<'_> {
    fn say(&mut self, verdict: u32) {
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
        self.out.delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
    }
}

/// Borrows what a hook was called with.
///
/// # Safety
/// To be used with what the broker called a hook of an instance of `P` with: it lends all of it until the hook returns, and
/// nobody else has the verdict.
unsafe fn lent<'a, P, In>(
    this: *mut c_void,
    ctx: *const Ctx,
    asked: *const In,
    out: *mut Out,
) -> (&'a Instance<P>, &'a Ctx, &'a In, &'a mut Out) {
    // SAFETY: the caller's promise.
    unsafe { (Instance::<P>::at(this), &*ctx, &*asked, &mut *out) }
}

/// Defines a hook with one verdict.
macro_rules! hook {
    ($(#[$doc:meta])* $module:ident, $trait:ident, $bit:ident, $in:ident, |$plugin:ident, $cx:ident, $asked:ident, $verdict:ident| $body:expr) => {
        $(#[$doc])*
        pub mod $module {
            use super::*;

            /// The hook's bit.
            pub const BIT: u64 = bit($bit);

            /// Puts the hook into the table.
            pub fn offer<P: Plugin + crate::$trait>(offer: &mut Offer<P>) {
                offer.table.$module = Some(thunk::<P>);
                offer.hooks |= BIT;
            }

            unsafe extern "C" fn thunk<P: Plugin + crate::$trait>(
                this: *mut c_void,
                ctx: *const Ctx,
                asked: *const abi::$in,
                out: *mut Out,
            ) -> i32 {
                // SAFETY: called by the broker, as `lent` wants it.
                let (instance, ctx, $asked, out) = unsafe { lent::<P, abi::$in>(this, ctx, asked, out) };
                let $cx = &Cx::new(instance.host, ctx);
                instance.run(|$plugin| {
                    let $verdict = &mut Verdict { host: instance.host, out };
                    $body;
                    Ok(())
                })
            }
        }
    };
}

hook! {
    /// Before any byte of MQTT.
    accept, Accept, JF_HOOK_ACCEPT, AcceptIn, |plugin, _cx, asked, verdict| {
        let incoming = crate::Incoming {
            listener: read_text(asked.listener).unwrap_or_default(),
            address: read_text(asked.peer_ip),
            port: u16::try_from(asked.port).unwrap_or(0),
            sni: read_text(asked.sni),
        };
        match plugin.accept(&incoming)? {
            crate::AcceptVerdict::Continue => verdict.say(JF_V_CONTINUE),
            crate::AcceptVerdict::Drop => verdict.say(JF_V_DROP),
            crate::AcceptVerdict::Delay(delay) => {
                verdict.say(JF_V_CONTINUE);
                verdict.delay(delay);
            }
        }
    }
}

fn request(asked: &abi::AuthIn) -> crate::AuthRequest<'_> {
    crate::AuthRequest {
        client_id: read_text(asked.client_id).unwrap_or_default(),
        username: read_text(asked.username),
        password: read_bytes(asked.password),
        certificate: read_bytes(asked.cert_der),
        clean_start: asked.clean_start != 0,
    }
}

hook! {
    /// Who may connect.
    authenticate, Authenticate, JF_HOOK_AUTHENTICATE, AuthIn, |plugin, cx, asked, verdict| {
        match plugin.authenticate(cx, &request(asked))? {
            crate::AuthVerdict::Skip => verdict.say(JF_V_SKIP),
            crate::AuthVerdict::Allow(grant) => {
                verdict.say(JF_V_ALLOW);
                verdict.grant(&grant);
            }
            crate::AuthVerdict::Deny(denial) => verdict.refuse(JF_V_DENY, &denial),
        }
    }
}

fn edit_connect(verdict: &mut Verdict<'_>, how: u32, edit: &crate::ConnectEdit) {
    verdict.say(how);
    verdict.text(JF_O_CLIENT_ID, edit.client_id.as_deref());
    verdict.text(JF_O_USERNAME, edit.username.as_deref());
    verdict.text(JF_O_MOUNT, edit.mount.as_deref());
    verdict.text(JF_O_SERVER_REF, edit.server_reference.as_deref());
    verdict.number(JF_O_KEEPALIVE_CAP, edit.keep_alive_cap.map(u64::from));
    verdict.number(JF_O_SESSION_CAP, edit.session_expiry_cap.map(|cap| cap.as_secs()));
    verdict.pairs(&edit.user_properties);
}

hook! {
    /// Before authentication.
    connect, Connect, JF_HOOK_CONNECT, AuthIn, |plugin, cx, asked, verdict| {
        match plugin.connect(cx, &request(asked))? {
            crate::ConnectFlow::Continue(edit) => edit_connect(verdict, JF_V_CONTINUE, &edit),
            crate::ConnectFlow::Stop(edit) => edit_connect(verdict, JF_V_STOP, &edit),
            crate::ConnectFlow::Reject(denial) => verdict.refuse(JF_V_REJECT, &denial),
        }
    }
}

fn subscription(asked: &abi::SubIn) -> crate::Subscription<'_> {
    crate::Subscription {
        filter: read_text(asked.filter).unwrap_or_default(),
        share: read_text(asked.share),
        qos: QoS::from_bits((asked.options & 3) as u8).unwrap_or_default(),
        id: asked.sub_id,
    }
}

fn edit_subscription(verdict: &mut Verdict<'_>, how: u32, edit: &crate::SubscribeEdit) {
    verdict.say(how);
    verdict.text(JF_O_FILTER, edit.filter.as_deref());
    verdict.number(JF_O_MAX_QOS, edit.max_qos.map(|qos| qos.bits().into()));
    verdict.number(JF_O_SUB_CLASS, edit.class.map(u64::from));
}

hook! {
    /// Changing subscriptions.
    subscribe, Subscribe, JF_HOOK_SUBSCRIBE, SubIn, |plugin, cx, asked, verdict| {
        match plugin.subscribe(cx, &subscription(asked))? {
            crate::SubscribeFlow::Continue(edit) => edit_subscription(verdict, JF_V_CONTINUE, &edit),
            crate::SubscribeFlow::Stop(edit) => edit_subscription(verdict, JF_V_STOP, &edit),
            crate::SubscribeFlow::Reject(denial) => verdict.refuse(JF_V_REJECT, &denial),
        }
    }
}

hook! {
    /// Changing unsubscriptions.
    unsubscribe, Unsubscribe, JF_HOOK_UNSUBSCRIBE, SubIn, |plugin, cx, asked, verdict| {
        let filter = plugin.unsubscribe(cx, &subscription(asked))?;
        verdict.say(JF_V_CONTINUE);
        verdict.text(JF_O_FILTER, filter.as_deref());
    }
}

hook! {
    /// Messages that come in.
    publish, Publish, JF_HOOK_PUBLISH, PubIn, |plugin, cx, asked, verdict| {
        let mut message = Message::new(verdict.host, asked, verdict.out.sink);
        match plugin.publish(cx, &mut message)? {
            crate::Flow::Continue => verdict.say(JF_V_CONTINUE),
            crate::Flow::Stop => verdict.say(JF_V_STOP),
            crate::Flow::Drop => verdict.say(JF_V_DROP),
            crate::Flow::Reject(denial) => verdict.refuse(JF_V_REJECT, &denial),
            crate::Flow::Disconnect(denial) => verdict.refuse(JF_V_DISCONNECT, &denial),
            crate::Flow::Throttle(delay) => {
                verdict.say(JF_V_CONTINUE);
                verdict.delay(delay);
            }
        }
    }
}

const fn deliver_verdict(flow: crate::DeliverFlow) -> u32 {
    match flow {
        crate::DeliverFlow::Continue => JF_V_CONTINUE,
        crate::DeliverFlow::Stop => JF_V_STOP,
        crate::DeliverFlow::Drop => JF_V_DROP,
    }
}

hook! {
    /// Messages that go out.
    deliver, Deliver, JF_HOOK_DELIVER, DeliverIn, |plugin, _cx, asked, verdict| {
        let mut message = Message::new(verdict.host, &asked.pub_, verdict.out.sink);
        verdict.say(deliver_verdict(plugin.deliver(asked.subscriber_class, &mut message)?));
    }
}

hook! {
    /// Will Messages that fire.
    will, Will, JF_HOOK_WILL, PubIn, |plugin, cx, asked, verdict| {
        let mut message = Message::new(verdict.host, asked, verdict.out.sink);
        verdict.say(deliver_verdict(plugin.will(cx, &mut message)?));
    }
}

hook! {
    /// Whether a message is retained.
    retain, Retain, JF_HOOK_RETAIN, PubIn, |plugin, _cx, asked, verdict| {
        let message = Message::new(verdict.host, asked, verdict.out.sink);
        match plugin.retain(&message)? {
            crate::RetainVerdict::Store => verdict.say(JF_V_CONTINUE),
            crate::RetainVerdict::StoreFor(time) => {
                verdict.say(JF_V_CONTINUE);
                verdict.number(JF_O_RETAIN_S, Some(time.as_secs()));
            }
            crate::RetainVerdict::Pass => verdict.say(JF_V_DROP),
        }
    }
}

hook! {
    /// Requests under `$CONTROL/`.
    control, Control, JF_HOOK_CONTROL, ControlIn, |plugin, cx, asked, verdict| {
        let (topic, payload) = (read_text(asked.topic), read_bytes(asked.payload));
        match plugin.control(cx, topic.unwrap_or_default(), payload.unwrap_or_default())? {
            Ok(reply) => {
                verdict.say(JF_V_CONTINUE);
                call!(verdict.host, out_data(verdict.out.sink, abi::Str::of(&reply)) or 0);
            }
            Err(reason) => verdict.refuse(JF_V_REJECT, &Denial::new(reason)),
        }
    }
}

/// Who may publish, subscribe and receive.
pub mod authorize {
    use super::*;
    use crate::{AclItem, AclVerdict, Action};

    /// The hook's bit.
    pub const BIT: u64 = bit(JF_HOOK_AUTHORIZE);

    /// Puts the hook into the table.
    pub fn offer<P: Plugin + crate::Authorize>(offer: &mut Offer<P>) {
        offer.table.authorize = Some(thunk::<P>);
        offer.hooks |= BIT;
    }

    unsafe extern "C" fn thunk<P: Plugin + crate::Authorize>(
        this: *mut c_void,
        ctx: *const Ctx,
        asked: *const abi::AclIn,
        outs: *const *mut Out,
    ) -> i32 {
        // SAFETY: called by the broker with this instance; it lends the others until this returns.
        let (instance, ctx, asked) = unsafe { (Instance::<P>::at(this), &*ctx, &*asked) };
        let action = match asked.action {
            1 => Action::Publish,
            2 => Action::Subscribe,
            3 => Action::Receive,
            // An action of a newer broker: every topic keeps its preset, which is to skip.
            _ => return JF_OK,
        };
        let cx = Cx::new(instance.host, ctx);
        instance.run(|plugin| {
            for i in 0..asked.n {
                // SAFETY: the broker lends n topics, n QoS and n verdicts, each verdict to nobody else.
                let (topic, qos, out) =
                    unsafe { (*asked.topics.add(i), *asked.qos.add(i), &mut **outs.add(i)) };
                let decision = plugin.authorize(
                    &cx,
                    &AclItem {
                        action,
                        topic: read_text(topic).unwrap_or_default(),
                        qos: QoS::from_bits(qos).unwrap_or_default(),
                        retain: asked.retain != 0,
                    },
                )?;
                let mut verdict = Verdict {
                    host: instance.host,
                    out,
                };
                match &decision.verdict {
                    AclVerdict::Skip => verdict.say(JF_V_SKIP),
                    AclVerdict::Allow => verdict.say(JF_V_ALLOW),
                    AclVerdict::AllowMaxQos(qos) => {
                        verdict.say(JF_V_ALLOW);
                        verdict.number(JF_O_MAX_QOS, Some(qos.bits().into()));
                    }
                    AclVerdict::Deny(denial) => verdict.refuse(JF_V_DENY, denial),
                }
                let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                verdict.number(JF_O_CACHE_MS, decision.cache_for.map(millis));
            }
            Ok(())
        })
    }
}

/// What happens.
pub mod events {
    use super::*;
    use crate::Event;

    /// The hook's bit.
    pub const BIT: u64 = bit(JF_HOOK_EVENT);

    /// Puts the hook into the table.
    pub fn offer<P: Plugin + crate::Events>(offer: &mut Offer<P>) {
        offer.table.events = Some(thunk::<P>);
        offer.hooks |= BIT;
    }

    unsafe extern "C" fn thunk<P: Plugin + crate::Events>(
        this: *mut c_void,
        batch: *const *const abi::EventIn,
        n: usize,
    ) {
        // SAFETY: called by the broker with this instance.
        let instance = unsafe { Instance::<P>::at(this) };
        instance.run(|plugin| {
            let events: Vec<Event<'_>> = (0..n)
                .map(|i| {
                    // SAFETY: the broker lends n events until this returns.
                    let event = unsafe { &**batch.add(i) };
                    Event {
                        kind: event.kind,
                        at_ms: event.at_ms,
                        client: (event.client_id != 0).then_some(ClientHandle(event.client_id)),
                        client_id: read_text(event.client_name),
                        topic: read_text(event.topic),
                        reason: event.reason,
                        by_server: event.by_server != 0,
                    }
                })
                .collect();
            plugin.notify(&events);
            Ok(())
        });
    }
}
