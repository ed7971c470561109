//! Whole exchanges that a well-behaved client carries out. Packets that come in between are kept for later.

use super::{
    Client, Kind, Packet, Publish, Received, Suback, Subscribe, disconnect, pingreq, puback, pubcomp,
    publish, pubrec, pubrel, subscribe, unsubscribe,
};

impl Client {
    /// Makes sure that the server has handled all that was sent; packets that come meanwhile are kept for later.
    #[track_caller]
    pub fn sync(&mut self) -> &mut Self {
        self.send(pingreq());
        self.wait_for(|packet| matches!(packet, Packet::Pingresp).then_some(()));
        self
    }

    /// Publishes and completes the QoS exchange; when it returns, the message has been routed.
    #[track_caller]
    pub fn publish(&mut self, topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, qos: u8) -> &mut Self {
        self.publish_packet(publish(topic, payload), qos)
    }

    /// Publishes with RETAIN set.
    #[track_caller]
    pub fn retain(&mut self, topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, qos: u8) -> &mut Self {
        self.publish_packet(publish(topic, payload).retain(), qos)
    }

    /// Publishes a prepared packet at some QoS, under a fresh Packet Identifier, and completes the exchange.
    #[track_caller]
    pub fn publish_packet(&mut self, packet: Publish, qos: u8) -> &mut Self {
        if qos == 0 {
            return self.send(packet).sync();
        }
        let id = self.id();
        self.send(packet.qos(qos, id));
        if qos == 1 {
            self.wait_ack(Kind::Puback, id, 0);
        } else {
            self.wait_ack(Kind::Pubrec, id, 0);
            self.send(pubrel(id));
            self.wait_ack(Kind::Pubcomp, id, 0);
        }
        self
    }

    /// Expects PUBACK or PUBREC or … with this identifier, success; other packets that come before are kept.
    #[track_caller]
    fn wait_ack(&mut self, kind: Kind, id: u16, code: u8) {
        let acked = self.wait_for(|packet| match packet {
            Packet::Ack(acked) if acked.kind == kind && acked.id == id => Some(acked.clone()),
            Packet::Disconnect(reasoned) => panic!("waiting for {kind:?} {id}, got {reasoned:?}"),
            _ => None,
        });
        // 0x10 says that nobody was subscribed, which most tests don't care about.
        assert!(acked.code == code || acked.code == 0x10, "{acked:?}");
    }

    /// Expects a PUBLISH of this topic and payload and completes its QoS exchange.
    #[track_caller]
    pub fn take(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Received {
        let received = self.expect_publish(topic, payload);
        self.acknowledge(&received);
        received
    }

    /// Completes the QoS exchange of a PUBLISH that was received.
    #[track_caller]
    pub fn acknowledge(&mut self, received: &Received) {
        match received.qos {
            0 => {}
            1 => {
                self.send(puback(received.id));
            }
            _ => {
                self.send(pubrec(received.id));
                self.wait_ack(Kind::Pubrel, received.id, 0);
                self.send(pubcomp(received.id));
            }
        }
    }

    /// Subscribes to one filter and expects it to be granted as asked. Messages that come before the SUBACK are kept.
    #[track_caller]
    pub fn subscribe(&mut self, filter: impl AsRef<[u8]>, options: u8) -> &mut Self {
        let id = self.id();
        let suback = self.suback(subscribe(id).filter(filter, options));
        assert_eq!(suback.codes, [options & 3], "granted");
        self
    }

    /// Sends a SUBSCRIBE and returns its SUBACK. Messages that come before it are kept.
    #[track_caller]
    pub fn suback(&mut self, packet: Subscribe) -> Suback {
        self.send(packet);
        self.wait_suback(false)
    }

    /// Unsubscribes from one filter and expects success. Messages that come before the UNSUBACK are kept.
    #[track_caller]
    pub fn unsubscribe(&mut self, filter: impl AsRef<[u8]>) -> &mut Self {
        let id = self.id();
        self.send(unsubscribe(id).filter(filter));
        let unsuback = self.wait_suback(true);
        assert!(
            unsuback.id == id && unsuback.codes.iter().all(|code| *code == 0),
            "{unsuback:?}"
        );
        self
    }

    /// Unsubscribes from a filter that is not held and expects to be told so.
    #[track_caller]
    pub fn unsubscribe_missing(&mut self, filter: impl AsRef<[u8]>) -> &mut Self {
        let id = self.id();
        self.send(unsubscribe(id).filter(filter));
        let unsuback = self.wait_suback(true);
        assert!(
            unsuback.id == id && unsuback.codes.iter().all(|code| *code == 0x11),
            "{unsuback:?}"
        );
        self
    }

    #[track_caller]
    fn wait_suback(&mut self, un: bool) -> Suback {
        self.wait_for(|packet| match packet {
            Packet::Suback(suback) if suback.un == un => Some(suback.clone()),
            Packet::Disconnect(reasoned) => panic!("waiting for a SUBACK, got {reasoned:?}"),
            _ => None,
        })
    }

    /// Takes the messages that came while a helper waited, acknowledged at QoS 1, and returns their payloads as text.
    #[track_caller]
    pub fn pending(&mut self) -> Vec<String> {
        let mut payloads = Vec::new();
        while let Some(packet) = self.early.pop_front() {
            let Packet::Publish(received) = packet else {
                panic!("expected a PUBLISH, got {packet:?}")
            };
            if received.qos == 1 {
                self.send(puback(received.id));
            }
            payloads.push(String::from_utf8_lossy(&received.payload).into_owned());
        }
        payloads
    }

    /// Disconnects in good order and waits until the server has closed.
    #[track_caller]
    pub fn disconnect(&mut self) {
        self.send(disconnect());
        self.expect_closed();
    }
}
