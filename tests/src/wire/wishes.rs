//! What a client asked for in its CONNECT, and whether each packet of the server keeps to it. Checked in every test.

use super::{Packet, Property};

/// The limits a client has set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    packet_size_max: usize,
    topic_alias_max: u16,
    problem_information: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            packet_size_max: usize::MAX,
            topic_alias_max: 0,
            problem_information: true,
        }
    }
}

impl Wishes {
    pub(super) fn new(props: &[Property]) -> Self {
        props.iter().fold(Self::default(), |wishes, prop| match prop {
            // 0 is an error, which limits nothing
            Property::MaximumPacketSize(size @ 1..) => Self {
                packet_size_max: *size as usize,
                ..wishes
            },
            Property::TopicAliasMaximum(max) => Self {
                topic_alias_max: *max,
                ..wishes
            },
            Property::RequestProblem(wanted) => Self {
                problem_information: *wanted != 0,
                ..wishes
            },
            _ => wishes,
        })
    }

    #[track_caller]
    pub(super) fn check(self, packet: &Packet, length: usize) {
        assert!(
            length <= self.packet_size_max,
            "{length} bytes [MQTT-3.1.2-24]: {packet:?}"
        );
        match packet {
            Packet::Publish(publish) => assert!(
                publish.props.iter().all(
                    |prop| !matches!(prop, Property::TopicAlias(alias) if *alias > self.topic_alias_max)
                ),
                "Topic Alias over {} [MQTT-3.1.2-26]: {packet:?}",
                self.topic_alias_max
            ),
            Packet::Ack(acked) => self.check_problem_information(packet, &acked.props),
            Packet::Suback(suback) => self.check_problem_information(packet, &suback.props),
            Packet::Auth(reasoned) => self.check_problem_information(packet, &reasoned.props),
            Packet::Connack(_) | Packet::Disconnect(_) | Packet::Pingresp => {}
        }
    }

    #[track_caller]
    fn check_problem_information(self, packet: &Packet, props: &[Property]) {
        let told = props
            .iter()
            .any(|prop| matches!(prop, Property::ReasonString(_) | Property::User(_)));
        assert!(
            self.problem_information || !told,
            "nobody asked [MQTT-3.1.2-29]: {packet:?}"
        );
    }
}
