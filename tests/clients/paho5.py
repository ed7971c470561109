"""A paho client that speaks MQTT 5.0: properties, a will with a delay, a shared subscription, a session that is resumed.
Ends with an AssertionError where the broker doesn't do what the standard says."""
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
PATIENCE = 10


class Client:
    def __init__(self, client_id, clean=True, expiry=0, will=None, will_delay=None):
        self.messages, self.connacks, self.subacks, self.gone = (queue.Queue() for _ in range(4))
        self.c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self.c.on_message = lambda c, u, m: self.messages.put(m)
        self.c.on_connect = lambda c, u, flags, reason, props: self.connacks.put((flags, reason, props))
        self.c.on_subscribe = lambda c, u, mid, reasons, props: self.subacks.put(reasons)
        self.c.on_disconnect = lambda c, u, flags, reason, props: self.gone.put(reason)
        properties = Properties(PacketTypes.CONNECT)
        if expiry:
            properties.SessionExpiryInterval = expiry
        if will:
            will_properties = Properties(PacketTypes.WILLMESSAGE)
            if will_delay:
                will_properties.WillDelayInterval = will_delay
            self.c.will_set(*will, properties=will_properties)
        self.c.connect("127.0.0.1", PORT, clean_start=clean, properties=properties)
        self.c.loop_start()
        self.flags, reason, self.properties = self.connacks.get(timeout=PATIENCE)
        assert reason == 0, reason

    def subscribe(self, topic, **options):
        self.c.subscribe(topic, options=SubscribeOptions(**options))
        return self.subacks.get(timeout=PATIENCE)

    def next(self):
        return self.messages.get(timeout=PATIENCE)

    def publish(self, topic, payload, qos=0, retain=False, **properties):
        p = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(p, name, value)
        self.c.publish(topic, payload, qos, retain, p).wait_for_publish(PATIENCE)

    def leave(self, reason=None):
        self.c.disconnect(reason) if reason else self.c.disconnect()
        self.gone.get(timeout=PATIENCE)
        self.c.loop_stop()

    def vanish(self):
        """Ends the connection without a DISCONNECT."""
        self.c.loop_stop()
        self.c.socket().close()


def properties_travel():
    a, b = Client("a"), Client("b")
    assert [r.value for r in b.subscribe("p/#", qos=2)] == [2]
    a.publish("p/x", b"1", qos=2, ResponseTopic="re/ply", CorrelationData=b"\0\1", ContentType="text/plain",
              PayloadFormatIndicator=1, MessageExpiryInterval=60,
              UserProperty=[("k", "1"), ("l", "2"), ("k", "3")])
    m = b.next()
    assert (m.topic, m.payload, m.qos, m.retain) == ("p/x", b"1", 2, False), m
    p = m.properties
    assert p.ResponseTopic == "re/ply" and p.CorrelationData == b"\0\1" and p.ContentType == "text/plain"
    assert p.PayloadFormatIndicator == 1 and 59 <= p.MessageExpiryInterval <= 60
    assert p.UserProperty == [("k", "1"), ("l", "2"), ("k", "3")]
    a.leave()
    b.leave()


def a_will_waits_for_its_delay():
    watcher = Client("watcher")
    watcher.subscribe("will/#", qos=1)
    # Resumed within the delay: never sent.
    c = Client("c", expiry=100, will=("will/c", b"gone", 1), will_delay=60)
    c.vanish()
    c = Client("c", clean=False, expiry=100, will=("will/c", b"late", 1), will_delay=1)
    assert c.flags.session_present
    c.vanish()
    m = watcher.next()
    assert (m.topic, m.payload) == ("will/c", b"late"), m.payload
    watcher.leave()


def a_group_shares():
    members = [Client(f"member{i}") for i in range(3)]
    for member in members:
        member.subscribe("$share/g/job/#", qos=1)
    publisher = Client("publisher")
    for i in range(30):
        publisher.publish(f"job/{i}", str(i), qos=1)
    # The last message to each member comes behind its share.
    for i, member in enumerate(members):
        member.subscribe(f"end/{i}", qos=1)
        publisher.publish(f"end/{i}", b"", qos=1)
    shares = []
    for member in members:
        share = []
        while (m := member.next()).topic[:3] == "job":
            share.append(int(m.payload))
        shares.append(share)
    assert sorted(sum(shares, [])) == list(range(30)), shares
    assert all(share == sorted(share) and share for share in shares), shares
    for client in [*members, publisher]:
        client.leave()


def a_session_is_resumed():
    s = Client("s", expiry=1000)
    assert not s.flags.session_present
    s.subscribe("q/#", qos=2)
    s.leave()
    p = Client("p")
    for i in range(20):
        p.publish(f"q/{1 + i % 2}", str(i), qos=1 + i % 2)
    s = Client("s", clean=False, expiry=1000)
    assert s.flags.session_present
    got = [s.next() for _ in range(20)]
    # In order for each QoS: this client hands a QoS 2 message on only when it is released.
    for qos in [1, 2]:
        assert [int(m.payload) for m in got if m.qos == qos] == list(range(qos - 1, 20, 2)), got
    s.leave()
    s = Client("s", clean=True)
    assert not s.flags.session_present
    s.leave()
    p.leave()


def retained_messages_come_as_asked():
    p = Client("p")
    p.publish("r/1", b"kept", qos=1, retain=True)
    s = Client("s")
    s.subscribe("r/+", qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
    m = s.next()
    assert m.retain and m.payload == b"kept"
    s.subscribe("r/+", qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    s.subscribe("r/1", qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    p.publish("r/1", b"", retain=True)
    m = s.next()
    assert not m.retain and m.payload == b"", m
    p.leave()
    s.leave()


for test in [properties_travel, a_will_waits_for_its_delay, a_group_shares, a_session_is_resumed,
             retained_messages_come_as_asked]:
    test()
    print("ok", test.__name__)
