"""A paho client that speaks MQTT 3.1.1: every QoS both ways, a will, a session that is resumed, large payloads."""
import queue
import sys

import paho.mqtt.client as mqtt

PORT = int(sys.argv[1])
PATIENCE = 10


class Client:
    def __init__(self, client_id, clean=True, will=None):
        self.messages, self.connacks, self.subacks, self.gone = (queue.Queue() for _ in range(4))
        self.c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean)
        self.c.on_message = lambda c, u, m: self.messages.put(m)
        self.c.on_connect = lambda c, u, flags, reason, props: self.connacks.put((flags, reason))
        self.c.on_subscribe = lambda c, u, mid, reasons, props: self.subacks.put(reasons)
        self.c.on_disconnect = lambda c, u, flags, reason, props: self.gone.put(reason)
        if will:
            self.c.will_set(*will)
        self.c.connect("127.0.0.1", PORT)
        self.c.loop_start()
        self.flags, reason = self.connacks.get(timeout=PATIENCE)
        assert reason == 0, reason

    def subscribe(self, topic, qos):
        self.c.subscribe(topic, qos)
        return [r.value for r in self.subacks.get(timeout=PATIENCE)]

    def next(self):
        return self.messages.get(timeout=PATIENCE)

    def publish(self, *args, **kwargs):
        self.c.publish(*args, **kwargs).wait_for_publish(PATIENCE)

    def leave(self):
        self.c.disconnect()
        self.gone.get(timeout=PATIENCE)
        self.c.loop_stop()


a, b = Client("a"), Client("b", will=("gone/b", b"bye", 1))
assert a.subscribe("t/#", 2) == [2] and a.subscribe("gone/#", 1) == [1]
for qos in range(3):
    for size in [0, 1, 127, 128, 16_383, 16_384, 100_000, 900_000]:
        b.publish("t/x", bytes(size), qos)
        m = a.next()
        assert (m.qos, len(m.payload)) == (qos, size), (qos, size, m.qos, len(m.payload))
b.c.loop_stop()
b.c.socket().close()
assert a.next().payload == b"bye"

s = Client("s", clean=False)
s.subscribe("q", 1)
s.leave()
for i in range(100):
    a.publish("q", str(i), 1)
s = Client("s", clean=False)
assert s.flags.session_present
assert [int(s.next().payload) for _ in range(100)] == list(range(100))
s.leave()
a.leave()
print("ok")
