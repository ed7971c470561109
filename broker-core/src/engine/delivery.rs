//! From a message to the outputs of its receivers. Nothing here awaits a subscriber: what can't go at once waits in the
//! subscriber's own queue.
//!
//! A receiver whose listener has hooks on delivery (or a mount) is *looked at*: its hooks are asked right here while they
//! answer at once. When one doesn't, or others wait already, the message queues and the receiver's own connection goes on
//! (`connection/held.rs`), so that one slow hook stalls nobody else and the order stays.

use std::rc::Rc;
use std::sync::Arc;

use broker_proto::{
    Delivered, Delivery, DropReason, MessageRef, Outgoing, OutgoingScratch, PacketType, Pumped,
    SHARED_BODY_MIN, Stored,
};
use broker_types::{Message, QoS, ReasonCode, Source, SubscriptionId, Timestamp, TopicName, TopicRef};
use plugin_api::{
    AclItem, AclRequest, Action, ClientView, EventKind, MessageEdit, MessageParts, ShareMember,
};
use smallvec::SmallVec;

use super::core::tell;
use super::session::{Kick, Link, Session, State};
use super::shard::Shard;
use crate::connection::describe;
use crate::hooks::{AclCache, ChainSet, Decision, DeliverOutcome, EventSink, HookMask, Outcome, Step};
use crate::routing::{Group, Matches, Published, Subscriber as _, Subscription};

/// Who published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher<'a> {
    /// The Client Identifier; empty for the broker itself.
    pub(crate) client_id: &'a str,
    /// The Session; 0 for the broker itself.
    pub(crate) session: u64,
}

impl Publisher<'_> {
    /// The broker itself, a plugin or the embedder.
    pub(crate) const BROKER: Self = Self {
        client_id: "",
        session: 0,
    };
}

/// What became of a message that was looked at.
enum Look {
    /// It goes as it is, or as this copy; with at most this QoS.
    Send(Option<Arc<Stored>>, QoS),
    /// It doesn't go.
    Refused,
    /// Somebody has to be waited for.
    Later,
}

/// The copies that deliver hooks made of one message, by chain, class and mount: made once, whatever the number of receivers.
#[derive(Default)]
struct Copies {
    made: SmallVec<[Copy; 2]>,
    scratch: OutgoingScratch,
    /// The generation of the routes in which the receivers were found.
    generation: u64,
}

impl Copies {
    /// Returns none yet, for receivers that were found in this generation of the routes.
    fn of(generation: u64) -> Self {
        Self {
            generation,
            ..Self::default()
        }
    }
}

struct Copy {
    /// Held, not only pointed at: a reload may let go of it meanwhile, and another may come to stand where it stood.
    chain: Arc<ChainSet>,
    mount: Arc<str>,
    class: u32,
    /// `None`: the class gets nothing.
    copy: Option<Made>,
}

#[derive(Clone)]
enum Made {
    Original,
    Edited(Arc<Stored>),
}

impl Shard {
    /// Brings `message` to everybody who is subscribed, and returns how many that were.
    pub(crate) fn route(
        &self,
        message: MessageRef<'_>,
        received_at: Timestamp,
        by: Publisher<'_>,
        events: &EventSink,
    ) -> usize {
        let (matches, generation) = self.matches(message.topic);
        let bridges = self.core.bridges.get();
        let carried = { bridges.as_ref() }.map_or(0, |bridges| bridges.wanting(message.topic));
        let mut receivers = 0;
        if !matches.is_empty() || carried != 0 {
            let mut scratch = self.scratch();
            let mut outgoing = Outgoing::new(message, received_at, &mut scratch);
            let mut copies = Copies::of(generation);
            for subscriptions in matches.by_subscriber() {
                receivers += usize::from(self.to_subscriber(subscriptions, &mut outgoing, &mut copies, by));
            }
            for group in matches.groups() {
                receivers += usize::from(self.to_group(group, &mut outgoing, &mut copies, by, None));
            }
            receivers += bridges.map_or(0, |bridges| bridges.carry(carried, &mut outgoing, by));
        }
        tell(events, EventKind::Published, |event| {
            event.topic = Some(message.topic.as_str().into());
            event.client_id = (!by.client_id.is_empty()).then(|| by.client_id.into());
            event.count = receivers;
        });
        receivers
    }

    /// Returns who wants `topic`, and the generation of the routes that this is of.
    fn matches(&self, topic: TopicRef<'_>) -> (Rc<Matches<Arc<Session>>>, u64) {
        let mut topics = self.topics();
        let matches = topics.get(&self.core.routes, topic);
        (matches, topics.generation())
    }

    /// Delivers once for all matching subscriptions of one Session: with the highest QoS and all Subscription Identifiers
    /// `[MQTT-3.3.4-2]` `[MQTT-3.3.4-3]`.
    fn to_subscriber(
        &self,
        subscriptions: &[Subscription<Arc<Session>>],
        message: &mut Outgoing<'_>,
        copies: &mut Copies,
        by: Publisher<'_>,
    ) -> bool {
        let published_retain = message.message().retain;
        let who = &subscriptions[0].who;
        let own = who.id == by.session;
        if let [only] = subscriptions {
            let options = &only.options;
            if own && options.no_local {
                return false;
            }
            let how = Delivery {
                qos: options.qos,
                retain: published_retain && options.retain_as_published,
                ids: options.id.as_slice(),
                shared: false,
            };
            return self.deliver(who, message, &how, options.class, copies);
        }
        // [MQTT-3.8.3-3]: No Local keeps away only what comes by the subscription that has it.
        let mut ids = SmallVec::<[SubscriptionId; 4]>::new();
        let mut best = None;
        let mut retain = false;
        for Subscription { options, .. } in subscriptions.iter().filter(|s| !(own && s.options.no_local)) {
            ids.extend(options.id);
            retain |= published_retain && options.retain_as_published;
            if best.is_none_or(|(qos, _)| options.qos > qos) {
                best = Some((options.qos, options.class));
            }
        }
        let Some((qos, class)) = best else { return false };
        self.deliver(
            who,
            message,
            &Delivery {
                qos,
                retain,
                ids: &ids,
                shared: false,
            },
            class,
            copies,
        )
    }

    /// Delivers to one member of a shared group; if that one can't take it, to another.
    fn to_group(
        &self,
        group: &Arc<Group<Arc<Session>>>,
        message: &mut Outgoing<'_>,
        copies: &mut Copies,
        by: Publisher<'_>,
        without: Option<u64>,
    ) -> bool {
        let published = Published {
            topic: message.topic(),
            publisher: by.client_id,
        };
        let mut without = without;
        for _ in 0..2 {
            let picked = self
                .pick_by_plugin(group, message)
                .filter(|picked| without != Some(picked.who.id))
                .or_else(|| group.pick(published, without));
            let Some(Subscription { who, options }) = picked else {
                return false;
            };
            let how = Delivery {
                qos: options.qos,
                retain: message.message().retain && options.retain_as_published,
                ids: options.id.as_slice(),
                shared: true,
            };
            if self.deliver(&who, message, &how, options.class, copies) {
                return true;
            }
            without = Some(who.id);
        }
        false
    }

    fn pick_by_plugin(
        &self,
        group: &Arc<Group<Arc<Session>>>,
        message: &Outgoing<'_>,
    ) -> Option<Subscription<Arc<Session>>> {
        let chain = self.core.share_pick()?;
        group.pick_by(|members| {
            let members: Vec<_> = members
                .iter()
                .map(|member| ShareMember {
                    client_id: member.who.client_id.clone(),
                    connected: member.who.available(),
                    inflight: member.who.inflight(),
                })
                .collect();
            let message = message.message().to_message();
            chain.share_pick(
                group.share().as_str(),
                group.filter().as_str(),
                &members,
                &message,
            )
        })
    }

    /// Gives a message of a Session that ended to another member of its group.
    pub(crate) fn redeliver(
        &self,
        stored: &Arc<Stored>,
        left: &Session,
        groups: &[Arc<Group<Arc<Session>>>],
    ) {
        let topic = stored.message().topic;
        let mut scratch = OutgoingScratch::new();
        let mut outgoing = Outgoing::from_stored(stored, &mut scratch);
        let mut copies = Copies::of(u64::MAX);
        for group in groups.iter().filter(|group| group.filter().matches(topic)) {
            if self.to_group(
                group,
                &mut outgoing,
                &mut copies,
                Publisher::BROKER,
                Some(left.id),
            ) {
                return;
            }
        }
    }

    /// Delivers one message that is kept to one Session: a Retained Message for a new subscription.
    pub(crate) fn deliver_stored(
        &self,
        session: &Arc<Session>,
        stored: &Arc<Stored>,
        how: &Delivery<'_>,
        class: u32,
    ) -> bool {
        let mut scratch = self.scratch();
        let mut outgoing = Outgoing::from_stored(stored, &mut scratch);
        self.deliver(session, &mut outgoing, how, class, &mut Copies::of(u64::MAX))
    }

    /// Delivers to one Session. False: it didn't get the message and never will.
    #[inline]
    fn deliver(
        &self,
        session: &Arc<Session>,
        message: &mut Outgoing<'_>,
        how: &Delivery<'_>,
        class: u32,
        copies: &mut Copies,
    ) -> bool {
        let mut state = session.lock();
        if state.ended || state.gave_up(message.topic(), copies.generation) {
            return false;
        }
        let delivered = match &state.link {
            Some(link) if link.looked_at => {
                drop(state);
                let Some(delivered) = self.look_and_deliver(session, message, how, class, copies) else {
                    self.metrics.dropped_refused.one();
                    return false;
                };
                state = session.lock();
                delivered
            }
            _ => state.deliver(self, session, message, how),
        };
        let mut at_once = None;
        let link = &mut state.link;
        if let Some(link) = link.as_deref_mut() {
            if link.out.len() < SHARED_BODY_MIN {
                self.appended(session, link);
            } else if link.begin_flush() {
                at_once = Some(link.handle());
            }
            if delivered == Delivered::Overflow {
                link.kick(Kick::because(ReasonCode::QuotaExceeded));
            }
        }
        let told = link.as_ref().is_some_and(|link| {
            let events = link.chain.events();
            events.wants(EventKind::Delivered) || events.wants(EventKind::Dropped)
        });
        self.count_held(session, &mut state);
        drop(state);
        // A large one leaves while its copy is in the processor's cache.
        if let Some(handle) = at_once {
            self.flush_or_end(session, handle);
        }
        if told {
            tell_delivered(session, message.topic(), delivered);
        }
        self.count_delivered(delivered, message.message().payload.as_bytes().len())
    }

    /// Delivers to a Session whose messages are looked at. Hooks run without its lock, so that they may ask about the
    /// client. `None`: they refused.
    fn look_and_deliver(
        &self,
        session: &Arc<Session>,
        message: &mut Outgoing<'_>,
        how: &Delivery<'_>,
        class: u32,
        copies: &mut Copies,
    ) -> Option<Delivered> {
        let taken = {
            let mut state = session.lock();
            let waiting = state.outbound.is_waiting();
            state
                .link
                .as_deref_mut()
                .filter(|link| !link.held && !waiting)
                .map(|link| {
                    (
                        link.chain.clone(),
                        link.client.clone(),
                        std::mem::take(&mut link.receive_cache),
                    )
                })
        };
        let look = match taken {
            None => Look::Later,
            Some((chain, client, mut cache)) => {
                let look = self.look(
                    &chain,
                    &client,
                    &mut cache,
                    session.invalidations(),
                    message,
                    how,
                    class,
                    copies,
                );
                if let Some(link) = session.lock().link_of(client.handle) {
                    link.receive_cache = cache;
                }
                look
            }
        };
        let mut state = session.lock();
        let State { outbound, link, .. } = &mut *state;
        let may_leave = |qos: QoS, link: &Link| {
            !link.held && !outbound.is_waiting() && outbound.may_leave(qos.min(message.qos()), &link.out)
        };
        Some(match (look, link.as_deref_mut()) {
            (Look::Refused, _) => return None,
            // A copy that has no room would wait and then be looked at again, as if it were the original.
            (Look::Send(copy, qos), Some(link)) if may_leave(qos, link) => {
                let how = Delivery { qos, ..*how };
                match copy {
                    None => state.deliver(self, session, message, &how),
                    Some(stored) => {
                        let mut copy = Outgoing::from_stored(&stored, &mut copies.scratch);
                        state.deliver(self, session, &mut copy, &how)
                    }
                }
            }
            // Somebody was quicker, or a hook doesn't answer at once: behind those who wait, for the owner to go on with.
            (_, Some(link)) => {
                link.held = true;
                link.wake();
                state.enqueue(self, session, message, how)
            }
            (_, None) => state.deliver(self, session, message, how),
        })
    }

    /// Has an output written that was appended to.
    #[inline]
    pub(crate) fn appended(&self, session: &Arc<Session>, link: &mut Link) {
        if link.begin_flush() {
            self.flush_later(session, link.handle());
        }
    }

    /// Has the output written, if anything was appended to it, and counts what the Session holds now.
    pub(crate) fn output_added(&self, session: &Arc<Session>, state: &mut State) {
        if let Some(link) = state.link.as_deref_mut() {
            self.appended(session, link);
        }
        self.count_held(session, state);
    }

    /// Asks the hooks on delivery, as far as they answer at once.
    #[allow(
        clippy::too_many_arguments,
        reason = "the message, its receiver, and what is remembered of both"
    )]
    fn look(
        &self,
        chain: &Arc<ChainSet>,
        client: &Arc<ClientView>,
        cache: &mut AclCache,
        invalidations: u64,
        message: &Outgoing<'_>,
        how: &Delivery<'_>,
        class: u32,
        copies: &mut Copies,
    ) -> Look {
        let Some(topic) = unmounted(message.topic(), &client.mount) else {
            return Look::Refused;
        };
        let copy = match self.copy_for(chain, client, message, topic, class, copies) {
            None => return Look::Later,
            Some(None) => return Look::Refused,
            Some(Some(Made::Original)) => None,
            Some(Some(Made::Edited(stored))) => Some(stored),
        };
        if !chain.mask().has(HookMask::RECEIVE) {
            return Look::Send(copy, how.qos);
        }
        // Asked about what the client will see, as it is asked at PUBLISH about what the client sent.
        let topic = copy.as_ref().map_or(topic, |copy| copy.message().topic);
        let item = receive_item(topic, how.qos.min(message.qos()), how.retain);
        let stamp = chain.stamp(invalidations);
        let known = cache.get(stamp, self.now(), Action::Receive, &item).cloned();
        let outcome = match known {
            Some(outcome) => outcome,
            None => {
                let request = AclRequest {
                    action: Action::Receive,
                    items: &[item],
                };
                let mut decisions = [Decision::default()];
                match chain.authorize(client, &request, &mut decisions) {
                    Step::Later(_) => return Look::Later,
                    Step::Now(()) => {}
                }
                let [decision] = decisions;
                cache.put(stamp, self.now(), Action::Receive, &item, &decision);
                decision.outcome
            }
        };
        match outcome {
            Outcome::Allow { max_qos } => Look::Send(copy, how.qos.min(max_qos)),
            Outcome::Deny(_) | Outcome::Fault(_) => Look::Refused,
        }
    }

    /// Returns the copy for a class, made once. `None`: a hook doesn't answer at once. `Some(None)`: the class gets nothing.
    fn copy_for(
        &self,
        chain: &Arc<ChainSet>,
        client: &ClientView,
        message: &Outgoing<'_>,
        topic: TopicRef<'_>,
        class: u32,
        copies: &mut Copies,
    ) -> Option<Option<Made>> {
        let hooked = chain.mask().has(HookMask::DELIVER);
        if !hooked && client.mount.is_empty() {
            return Some(Some(Made::Original));
        }
        let made = copies.made.iter().find(|made| {
            Arc::ptr_eq(&made.chain, chain) && Arc::ptr_eq(&made.mount, &client.mount) && made.class == class
        });
        if let Some(made) = made {
            return Some(made.copy.clone());
        }
        let copy = self.make_copy(chain, message, topic, class, hooked)?;
        copies.made.push(Copy {
            chain: chain.clone(),
            mount: client.mount.clone(),
            class,
            copy: copy.clone(),
        });
        Some(copy)
    }

    /// Makes the copy for a class. `None`: a hook doesn't answer at once. `Some(None)`: the class gets nothing.
    fn make_copy(
        &self,
        chain: &Arc<ChainSet>,
        message: &Outgoing<'_>,
        topic: TopicRef<'_>,
        class: u32,
        hooked: bool,
    ) -> Option<Option<Made>> {
        let original = message.message();
        let parts = MessageParts {
            topic,
            payload: original.payload.as_bytes(),
            shared_payload: None,
            properties: original.properties,
            shared_properties: None,
            qos: original.qos,
            retain: original.retain,
            dup: false,
            expiry: original.expiry,
            source: Source::Client,
        };
        let mut edit = MessageEdit::new(parts);
        if hooked {
            match chain.deliver(class, chain.interest(topic).deliver, &mut edit) {
                Step::Later(_) => return None,
                Step::Now(DeliverOutcome::Drop) => return Some(None),
                Step::Now(DeliverOutcome::Send) => {}
            }
        }
        if edit.kept().is_none() && topic == original.topic {
            return Some(Some(Made::Original));
        }
        let edited: Message = edit.to_message();
        let (received_at, ledger) = (message.received_at(), self.ledger());
        let copy = Stored::counted(&(&edited).into(), received_at, ledger);
        Some(Some(Made::Edited(Arc::new(copy))))
    }

    /// Counts what became of a delivery. False: the message is lost for this Session.
    pub(crate) fn count_delivered(&self, delivered: Delivered, payload_bytes: usize) -> bool {
        let metrics = &self.metrics;
        match delivered {
            Delivered::Sent { .. } => {
                metrics.sent.one(PacketType::Publish);
                metrics.publish_bytes_sent.add(payload_bytes as u64);
            }
            Delivered::Queued { dropped, .. } | Delivered::Behind { dropped, .. } => {
                if dropped > 0 {
                    metrics.dropped_full.add(dropped as u64);
                }
            }
            Delivered::Dropped(reason) => {
                match reason {
                    DropReason::Offline => metrics.dropped_offline.one(),
                    DropReason::Expired => metrics.dropped_expired.one(),
                    DropReason::TooLarge => metrics.dropped_too_large.one(),
                    _ => metrics.dropped_full.one(),
                }
                return false;
            }
            _ => {
                metrics.dropped_full.one();
                return false;
            }
        }
        true
    }

    /// Counts what left a queue.
    pub(crate) fn count_pumped(&self, pumped: Pumped) {
        if pumped != Pumped::default() {
            let metrics = &self.metrics;
            metrics.sent.add(PacketType::Publish, pumped.sent as u64);
            metrics.sent.add(PacketType::PubRel, pumped.released as u64);
            metrics.publish_bytes_sent.add(pumped.payload_bytes as u64);
            metrics.dropped_expired.add(pumped.expired as u64);
            metrics.dropped_too_large.add(pumped.too_large as u64);
        }
    }
}

#[cold]
fn tell_delivered(session: &Session, topic: TopicRef<'_>, delivered: Delivered) {
    let (kind, why) = match delivered {
        Delivered::Sent { .. } => (EventKind::Delivered, None),
        Delivered::Dropped(reason) => (EventKind::Dropped, Some(format!("{reason:?}"))),
        Delivered::Overflow => (EventKind::Dropped, Some("QueueFull".to_owned())),
        Delivered::Queued { dropped, .. } | Delivered::Behind { dropped, .. } if dropped > 0 => {
            (EventKind::Dropped, Some("QueueFull".to_owned()))
        }
        _ => return,
    };
    let state = session.lock();
    let Some(link) = &state.link else { return };
    tell(link.chain.events(), kind, |event| {
        describe(event, &link.client);
        event.topic = Some(topic.as_str().into());
        event.text = why.map(Into::into);
    });
}

/// What is asked about a message before it goes to a client.
pub(crate) fn receive_item(topic: TopicRef<'_>, qos: QoS, retain: bool) -> AclItem<'_> {
    AclItem {
        topic: topic.as_str(),
        qos,
        retain,
        share: None,
    }
}

/// Takes the mount off a topic; `None`: the topic isn't below it.
pub(crate) fn unmounted<'t>(topic: TopicRef<'t>, mount: &str) -> Option<TopicRef<'t>> {
    if mount.is_empty() {
        return Some(topic);
    }
    TopicRef::new(topic.as_str().strip_prefix(mount)?).ok()
}

/// Puts the mount before a topic.
pub(crate) fn mounted(topic: TopicRef<'_>, mount: &str) -> Option<TopicName> {
    TopicName::new(format!("{mount}{topic}")).ok()
}

impl Shard {
    /// Publishes a message of the broker's own: a plugin's, the embedder's. No chain is asked.
    pub(crate) fn publish_own(self: &Rc<Self>, message: &Message) -> usize {
        let events = self.core.events();
        self.publish_as(message, Publisher::BROKER, None, &events)
    }

    /// Publishes a message that has passed its chain, or passes none. `chain` is asked whether it is retained.
    pub(crate) fn publish_as(
        &self,
        message: &Message,
        by: Publisher<'_>,
        chain: Option<&Arc<ChainSet>>,
        events: &EventSink,
    ) -> usize {
        let now = self.read_clock();
        let publish = || {
            if message.retain {
                // A limit that is reached is counted; there is nobody to tell.
                let _ = self.keep_retained(chain, &message.into(), now);
            }
            self.route(message.into(), now, by, events)
        };
        self.transact(publish, |_| None).0
    }

    /// Sends a message to one client alone, whatever it is subscribed to: the answer to a control request.
    pub(crate) fn send_to(&self, session: &Arc<Session>, message: &Message) {
        let stored = Arc::new(Stored::new(&message.into(), self.now()));
        let how = Delivery {
            qos: message.qos,
            retain: false,
            ids: &[],
            shared: false,
        };
        self.deliver_stored(session, &stored, &how, 0);
    }
}
