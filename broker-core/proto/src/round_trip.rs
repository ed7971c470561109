//! For all packets and versions: what is encoded is decoded again, and no bytes at all make the decoder panic.

use std::borrow::Cow;

use broker_types::{
    PacketId, Properties, PropertiesBuilder, ProtocolVersion, QoS, ReasonCode, SubscriptionId, TopicName,
};
use proptest::option;
use proptest::prelude::*;

use crate::*;

const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

fn decoder(side: Side, version: ProtocolVersion) -> Decoder {
    match side {
        Side::Client => Decoder::client(version, u32::MAX),
        Side::Server => {
            let mut decoder = Decoder::server(u32::MAX, u32::MAX);
            decoder.set_version(version);
            decoder
        }
    }
}

/// Encodes `packet`, decodes it with `decoder` and expects `expected`: `packet` without what the version can't say.
fn check(decoder: &Decoder, version: ProtocolVersion, packet: &Packet<'_>, expected: &Packet<'_>) {
    let mut frame = vec![0xEE];
    packet.encode(version, &mut frame).unwrap();
    let frame = &frame[1..];
    assert_eq!(decoder.frame_len(frame), Ok(Some(frame.len())));
    assert_eq!(decoder.decode(frame).as_ref(), Ok(expected));
    for short in 0..frame.len().min(16) {
        let len = decoder.frame_len(&frame[..short]).unwrap();
        assert!(len.is_none_or(|len| len == frame.len()), "cut to {short}");
        assert!(decoder.decode(&frame[..short]).is_err(), "cut to {short}");
    }
    let mut longer = frame.to_vec();
    longer.push(0);
    assert!(decoder.decode(&longer).is_err());
    if let Packet::Publish(publish) = packet {
        assert_eq!(publish.encoded_len(version), frame.len());
    }
}

fn check_both(version: ProtocolVersion, packet: &Packet<'_>, expected: &Packet<'_>) {
    for side in [Side::Server, Side::Client] {
        check(&decoder(side, version), version, packet, expected);
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[^\0]{0,12}", 1 => Just("\u{FEFF}x".to_owned()), 1 => Just("y".repeat(300))]
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

fn version() -> impl Strategy<Value = ProtocolVersion> {
    prop::sample::select(&VERSIONS[..])
}

fn topic() -> impl Strategy<Value = TopicName> {
    "[^\0+#]{1,20}".prop_map(|topic| TopicName::new(topic).unwrap())
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    (1..=SubscriptionId::MAX).prop_map(|id| SubscriptionId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn user() -> impl Strategy<Value = Properties> {
    prop::collection::vec((text(), text()), 0..4).prop_map(|pairs| {
        let builder = PropertiesBuilder::new();
        let builder = pairs
            .iter()
            .fold(builder, |builder, (name, value)| builder.user(name, value));
        builder.build().unwrap()
    })
}

fn properties() -> impl Strategy<Value = Properties> {
    let optional = (
        any::<bool>(),
        option::of(text()),
        option::of(topic()),
        option::of(data()),
    );
    (optional, user()).prop_map(|((utf8, content_type, response, correlation), user)| {
        let mut builder = user.to_builder().payload_is_utf8(utf8);
        if let Some(content_type) = &content_type {
            builder = builder.content_type(content_type);
        }
        if let Some(response) = &response {
            builder = builder.response_topic(response.as_str());
        }
        if let Some(correlation) = &correlation {
            builder = builder.correlation_data(correlation);
        }
        builder.build().unwrap()
    })
}

fn options() -> impl Strategy<Value = SubscribeOptions> {
    let handling = prop::sample::select(vec![
        RetainHandling::SendAlways,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscribeOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

fn said<'a>(reason_string: &'a Option<String>, user: &'a Properties) -> AckProperties<'a> {
    AckProperties {
        reason_string: reason_string.as_deref(),
        user: user.into(),
    }
}

proptest! {
    #[test]
    fn publish(
        version in version(),
        topic in topic(),
        (qos, dup, retain, id) in (qos(), any::<bool>(), any::<bool>(), packet_id()),
        (alias, expiry) in (option::of(1..=u16::MAX), option::of(any::<u32>())),
        topic_by_alias in any::<bool>(),
        ids in prop::collection::vec(subscription_id(), 0..4),
        properties in properties(),
        payload in data(),
    ) {
        let packet_id = (qos != QoS::AtMostOnce).then_some(id);
        prop_assert_eq!(PropertyBlock::from(&properties).payload_is_utf8(), properties.payload_is_utf8());
        let plain = Publish { dup: dup && packet_id.is_some(), qos, retain, packet_id, ..Publish::new(topic.as_ref(), &payload) };
        let full = Publish {
            topic: (!(alias.is_some() && topic_by_alias)).then_some(topic.as_ref()),
            topic_alias: alias,
            expiry,
            properties: (&properties).into(),
            ..plain.clone()
        };
        let from_server = Publish { subscription_ids: Cow::Borrowed(&ids), ..full.clone() };
        match version {
            ProtocolVersion::V5 => {
                check_both(version, &Packet::Publish(full.clone()), &Packet::Publish(full));
                let packet = Packet::Publish(from_server);
                check(&decoder(Side::Client, version), version, &packet, &packet);
            }
            _ => {
                let packet = Packet::Publish(Publish { topic: plain.topic, ..from_server });
                check_both(version, &packet, &Packet::Publish(plain));
            }
        }
    }

    #[test]
    fn acknowledgements(
        version in version(),
        id in packet_id(),
        (failed, reason_string, user) in (any::<bool>(), option::of(text()), user()),
    ) {
        let ack = |failure| Ack {
            packet_id: id,
            reason: if failed { failure } else { ReasonCode::Success },
            properties: said(&reason_string, &user),
        };
        for (kind, failure) in [
            (Packet::PubAck as fn(_) -> _, ReasonCode::NotAuthorized),
            (Packet::PubRec, ReasonCode::QuotaExceeded),
            (Packet::PubRel, ReasonCode::PacketIdentifierNotFound),
            (Packet::PubComp, ReasonCode::PacketIdentifierNotFound),
        ] {
            let expected = if version.is_v5() { ack(failure) } else { Ack::new(id, ReasonCode::Success) };
            check_both(version, &kind(ack(failure)), &kind(expected));
        }
    }

    #[test]
    fn connect(
        version in version(),
        (clean_start, keep_alive, client_id) in (any::<bool>(), any::<u16>(), text()),
        (username, password) in (option::of(text()), option::of(data())),
        will in option::of((topic(), data(), qos(), any::<bool>(), any::<u32>(), option::of(any::<u32>()), properties())),
        (session_expiry, receive_maximum, packet_size_max) in (any::<u32>(), 1..=u16::MAX, option::of(1..=u32::MAX)),
        (topic_alias_maximum, response, problem) in (any::<u16>(), any::<bool>(), any::<bool>()),
        (method, data, user) in (option::of(text()), option::of(data()), user()),
    ) {
        let password = password.filter(|_| version.is_v5() || username.is_some());
        let plain = Connect {
            clean_start,
            keep_alive,
            will: will.as_ref().map(|(topic, payload, qos, retain, ..)| Will {
                topic: topic.as_ref(),
                payload,
                qos: *qos,
                retain: *retain,
                delay: 0,
                expiry: None,
                properties: PropertyBlock::EMPTY,
            }),
            username: username.as_deref(),
            password: password.as_deref(),
            session_expiry: if clean_start { 0 } else { u32::MAX },
            ..Connect::new(version, &client_id)
        };
        let full = Connect {
            will: will.as_ref().zip(plain.will.clone()).map(|((.., delay, expiry, properties), plain)| Will {
                delay: *delay,
                expiry: *expiry,
                properties: properties.into(),
                ..plain
            }),
            session_expiry,
            receive_maximum,
            packet_size_max,
            topic_alias_maximum,
            request_response_information: response,
            request_problem_information: problem,
            user: (&user).into(),
            auth_method: method.as_deref(),
            auth_data: data.as_deref().filter(|_| method.is_some()),
            ..plain.clone()
        };
        let expected = if version.is_v5() { full.clone() } else { plain };
        let server = Decoder::server(u32::MAX, u32::MAX);
        check(&server, version, &Packet::Connect(full.into()), &Packet::Connect(expected.into()));
    }

    #[test]
    fn connack(
        version in version(),
        (session_present, session_expiry, receive_maximum) in (any::<bool>(), option::of(any::<u32>()), 1..=u16::MAX),
        (maximum_qos, packet_size_max, assigned) in (qos(), option::of(1..=u32::MAX), option::of(text())),
        (topic_alias_maximum, server_keep_alive) in (any::<u16>(), option::of(any::<u16>())),
        available in any::<[bool; 4]>(),
        texts in prop::array::uniform3(option::of(text())),
        (data, reason_string, user) in (option::of(data()), option::of(text()), user()),
    ) {
        let plain = ConnAck {
            session_present: session_present && version != ProtocolVersion::V31,
            ..ConnAck::new(ReasonCode::Success)
        };
        let full = ConnAck {
            session_present,
            session_expiry,
            receive_maximum,
            maximum_qos,
            retain_available: available[0],
            packet_size_max,
            assigned_client_id: assigned.as_deref(),
            topic_alias_maximum,
            wildcard_available: available[1],
            subscription_ids_available: available[2],
            shared_available: available[3],
            server_keep_alive,
            response_information: texts[0].as_deref(),
            server_reference: texts[1].as_deref(),
            auth_method: texts[2].as_deref(),
            auth_data: data.as_deref(),
            properties: said(&reason_string, &user),
            ..plain.clone()
        };
        let expected = if version.is_v5() { full.clone() } else { plain };
        let client = decoder(Side::Client, version);
        check(&client, version, &Packet::ConnAck(full.into()), &Packet::ConnAck(expected.into()));
    }

    #[test]
    fn subscribe(
        version in version(),
        packet_id in packet_id(),
        subscription_id in option::of(subscription_id()),
        user in user(),
        filters in prop::collection::vec((text(), options()), 1..20),
    ) {
        let list = |full: bool| {
            SubscribeFilters::collect(filters.iter().map(|(filter, options)| {
                let plain = SubscribeOptions { qos: options.qos, ..SubscribeOptions::default() };
                (filter.as_str(), if full { *options } else { plain })
            })).unwrap()
        };
        let full = Subscribe { packet_id, subscription_id, user: (&user).into(), filters: list(true) };
        let expected = match version {
            ProtocolVersion::V5 => full.clone(),
            _ => Subscribe { packet_id, subscription_id: None, user: UserBlock::EMPTY, filters: list(false) },
        };
        prop_assert_eq!(full.filters.len(), filters.len());
        prop_assert!(full.filters.iter().eq(filters.iter().map(|(filter, options)| (filter.as_str(), *options))));
        check(&decoder(Side::Server, version), version, &Packet::Subscribe(full), &Packet::Subscribe(expected));
    }

    #[test]
    fn unsubscribe(
        version in version(),
        packet_id in packet_id(),
        user in user(),
        texts in prop::collection::vec(text(), 1..20),
    ) {
        let filters = UnsubscribeFilters::collect(texts.iter().map(String::as_str)).unwrap();
        prop_assert_eq!(filters.len(), texts.len());
        prop_assert!(filters.iter().eq(texts.iter().map(String::as_str)));
        let full = Unsubscribe { packet_id, user: (&user).into(), filters };
        let expected = match version {
            ProtocolVersion::V5 => full.clone(),
            _ => Unsubscribe { user: UserBlock::EMPTY, ..full.clone() },
        };
        check(&decoder(Side::Server, version), version, &Packet::Unsubscribe(full), &Packet::Unsubscribe(expected));
    }

    #[test]
    fn suback_and_unsuback(
        version in version(),
        packet_id in packet_id(),
        (reason_string, user) in (option::of(text()), user()),
        failed in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        use ReasonCode as R;
        let reasons = |good, bad| -> Vec<R> { failed.iter().map(|&failed| if failed { bad } else { good }).collect() };
        let properties = said(&reason_string, &user);
        let answered = |reasons: Vec<R>, properties| SubAck { packet_id, reasons: reasons.into(), properties };
        let suback = answered(reasons(R::GrantedQoS2, R::NotAuthorized), properties);
        let expected = match version {
            ProtocolVersion::V5 => suback.clone(),
            ProtocolVersion::V311 => answered(reasons(R::GrantedQoS2, R::UnspecifiedError), AckProperties::EMPTY),
            ProtocolVersion::V31 => answered(reasons(R::GrantedQoS2, R::Success), AckProperties::EMPTY),
        };
        let client = decoder(Side::Client, version);
        check(&client, version, &Packet::SubAck(suback), &Packet::SubAck(expected));

        let unsuback = UnsubAck { packet_id, reasons: reasons(R::Success, R::NoSubscriptionExisted).into(), properties };
        let expected = match version {
            ProtocolVersion::V5 => unsuback.clone(),
            _ => UnsubAck { packet_id, reasons: Cow::Borrowed(&[]), properties: AckProperties::EMPTY },
        };
        check(&client, version, &Packet::UnsubAck(unsuback), &Packet::UnsubAck(expected));
    }

    #[test]
    fn disconnect_and_auth(
        (expiry, server) in (option::of(any::<u32>()), option::of(text())),
        (reason_string, user) in (option::of(text()), user()),
        (method, data) in (text(), option::of(data())),
    ) {
        let version = ProtocolVersion::V5;
        let properties = said(&reason_string, &user);
        let by_client = Disconnect {
            session_expiry: expiry,
            properties,
            ..Disconnect::new(ReasonCode::DisconnectWithWill)
        };
        let packet = Packet::Disconnect(by_client);
        check(&decoder(Side::Server, version), version, &packet, &packet);
        let by_server = Disconnect {
            server_reference: server.as_deref(),
            properties,
            ..Disconnect::new(ReasonCode::UseAnotherServer)
        };
        let packet = Packet::Disconnect(by_server);
        check(&decoder(Side::Client, version), version, &packet, &packet);

        let packet = Packet::Auth(Auth {
            reason: ReasonCode::ContinueAuthentication,
            method: Some(&method),
            data: data.as_deref(),
            properties,
        });
        check_both(version, &packet, &packet);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        version in option::of(version()),
        client in any::<bool>(),
        mut bytes in prop::collection::vec(any::<u8>(), 2..300),
    ) {
        let decoder = match (client, version) {
            (true, version) => decoder(Side::Client, version.unwrap_or(ProtocolVersion::V5)),
            (false, Some(version)) => decoder(Side::Server, version),
            (false, None) => Decoder::server(u32::MAX, u32::MAX),
        };
        let _ = Connect::answer_version(&bytes);
        let _ = decoder.frame_len(&bytes);
        let _ = decoder.decode(&bytes);
        // Random bytes hardly ever have the right length; these do.
        let len = (bytes.len() - 2).min(127);
        bytes[1] = len as u8;
        if let Ok(packet) = decoder.decode(&bytes[..len + 2]) {
            let _ = format!("{packet:?}");
        }
    }

    /// A valid packet with one byte changed reaches deeper than random bytes.
    #[test]
    fn a_changed_byte_is_refused_or_decoded(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        properties in properties(),
        topic in topic(),
    ) {
        let version = ProtocolVersion::V5;
        let mut frame = Vec::new();
        let publish = Publish {
            topic_alias: Some(7),
            expiry: Some(1),
            properties: (&properties).into(),
            ..Publish::new(topic.as_ref(), b"payload")
        };
        publish.encode(version, &mut frame).unwrap();
        let at = at.index(frame.len());
        frame[at] = byte;
        let decoder = decoder(Side::Server, version);
        if let Ok(Packet::Publish(publish)) = decoder.decode(&frame) {
            let kept = publish.properties.to_properties();
            prop_assert_eq!(Properties::parse(kept.block().clone()), Ok(kept));
        }
    }
}

#[test]
fn packets_without_a_body() {
    for version in VERSIONS {
        check(
            &decoder(Side::Server, version),
            version,
            &Packet::PingReq,
            &Packet::PingReq,
        );
        check(
            &decoder(Side::Client, version),
            version,
            &Packet::PingResp,
            &Packet::PingResp,
        );
        let disconnect = Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
        check(&decoder(Side::Server, version), version, &disconnect, &disconnect);
    }
}
