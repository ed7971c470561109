//! Random lives of a Session, seen by a Client that remembers everything.

use super::*;

/// What a real Client remembers: which messages it got, and how far its answers are.
#[derive(Default)]
struct Client {
    /// Messages with QoS 1 and 2 in the order of their first arrival.
    arrived: Vec<u32>,
    /// QoS 2 identifiers between PUBLISH and PUBREL.
    held: Vec<PacketId>,
    /// Answers that are not sent yet.
    answers: VecDeque<(AckKind, PacketId)>,
    /// PUBLISH packets that this connection brought and that are not answered to the end.
    under_way: usize,
}

impl Client {
    fn read(&mut self, bytes: &[u8], receive_maximum: u16) {
        let decoder = Decoder::client(V5, u32::MAX);
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = decoder.frame_len(rest).unwrap().unwrap();
            match decoder.decode(&rest[..len]).unwrap() {
                Packet::Publish(publish) => {
                    let number = u32::from_be_bytes(publish.payload[..4].try_into().unwrap());
                    let Some(id) = publish.packet_id else {
                        rest = &rest[len..];
                        continue;
                    };
                    self.under_way += 1;
                    assert!(self.under_way <= usize::from(receive_maximum), "[MQTT-3.3.4-9]");
                    if publish.qos == QOS2 {
                        self.answers.push_back((AckKind::PubRec, id));
                        if !self.held.contains(&id) {
                            assert!(!self.arrived.contains(&number), "{number} with QoS 2 came twice");
                            self.held.push(id);
                            self.arrived.push(number);
                        }
                    } else {
                        self.answers.push_back((AckKind::PubAck, id));
                        if !self.arrived.contains(&number) {
                            self.arrived.push(number);
                        } else {
                            assert!(publish.dup, "{number} came again without DUP");
                        }
                    }
                }
                Packet::PubRel(ack) => {
                    self.held.retain(|id| *id != ack.packet_id);
                    self.answers.push_back((AckKind::PubComp, ack.packet_id));
                }
                other => panic!("{other:?}"),
            }
            rest = &rest[len..];
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Publish { qos: u8, len: usize },
    Read,
    Answer,
    Pump,
    Drop,
    Connect { receive_maximum: u16, outbox: usize },
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..3, 0usize..40).prop_map(|(qos, len)| Op::Publish { qos, len }),
        3 => Just(Op::Read),
        6 => Just(Op::Answer),
        2 => Just(Op::Pump),
        1 => Just(Op::Drop),
        2 => (1u16..6, 20usize..200)
            .prop_map(|(receive_maximum, outbox)| Op::Connect { receive_maximum, outbox }),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happens: QoS 1 arrives at least once, QoS 2 exactly once, both in order, all bounds are kept.
    #[test]
    fn nothing_is_lost_doubled_or_reordered(ops in prop::collection::vec(op(), 1..150)) {
        let mut rig = Rig::offline(LIMITS);
        let mut client = Client::default();
        let (mut sent, mut connected, mut maximum, mut overflow) = (Vec::new(), false, 0, Vec::new());
        let finale = [Op::Connect { receive_maximum: 3, outbox: 1 << 20 }]
            .into_iter()
            .chain((0..200).flat_map(|_| [Op::Pump, Op::Read, Op::Answer]));
        for (number, op) in ops.into_iter().chain(finale).enumerate() {
            match op {
                Op::Publish { qos, len } => {
                    let mut payload = (number as u32).to_be_bytes().to_vec();
                    payload.resize(4 + len, 0);
                    let qos = QoS::from_bits(qos).unwrap();
                    let delivered = rig.deliver(Given {
                        payload: Payload::Borrowed(&payload),
                        ..given(qos, "")
                    });
                    match delivered {
                        Delivered::Sent { .. } => {}
                        Delivered::Queued { dropped, .. } => {
                            // The oldest that wait are the oldest of QoS 1 and 2 that nobody has seen, QoS 0 among them.
                            overflow.push(dropped);
                        }
                        Delivered::Dropped(_) => {
                            prop_assert_eq!(qos, QOS0);
                        }
                        other => panic!("{other:?}"),
                    }
                    if qos != QOS0 {
                        sent.push(number as u32);
                    }
                }
                Op::Read if connected => client.read(&written(&mut rig.out), maximum),
                Op::Answer if connected => {
                    if let Some((kind, id)) = client.answers.pop_front() {
                        match kind {
                            AckKind::PubAck => rig.outbound.handle_puback(id).unwrap(),
                            AckKind::PubRec => rig.pubrec(id.get(), ReasonCode::Success).unwrap(),
                            _ => rig.outbound.handle_pubcomp(id).unwrap(),
                        };
                        if kind != AckKind::PubRec {
                            client.under_way = client.under_way.saturating_sub(1);
                        }
                    }
                }
                Op::Pump if connected => _ = rig.pump(),
                Op::Drop => {
                    rig.outbound.disconnect();
                    connected = false;
                }
                Op::Connect { receive_maximum, outbox } => {
                    rig.outbound.disconnect();
                    client.answers.clear();
                    client.under_way = 0;
                    (connected, maximum) = (true, receive_maximum);
                    rig.connect(&Peer { receive_maximum, outbox_bytes_max: outbox, ..peer(V5) });
                }
                Op::Restart => {
                    let snapshot = rig.outbound.snapshot();
                    rig.outbound = Outbound::restore(LIMITS, snapshot);
                    connected = false;
                }
                Op::Read | Op::Answer | Op::Pump => {}
            }
            prop_assert!(rig.outbound.queued_messages() <= LIMITS.queued_messages_max);
            prop_assert!(rig.outbound.queued_bytes() <= LIMITS.queued_bytes_max);
            prop_assert!(rig.outbound.inflight() <= usize::from(LIMITS.inflight_max));
        }
        prop_assert!(client.arrived.is_sorted(), "{:?}", client.arrived);
        prop_assert_eq!((rig.outbound.queued_messages(), rig.outbound.inflight()), (0, 0));
        let lost = sent.iter().filter(|number| !client.arrived.contains(number)).count();
        prop_assert!(lost <= overflow.iter().sum::<usize>(), "{lost} of {sent:?} are lost");
        prop_assert!(client.arrived.iter().all(|number| sent.contains(number)));
    }
}
