// mqtt.js in both versions: QoS 2 both ways, properties in 5.0, a topic alias, a retained message, a wildcard.
const [, , modulePath, port] = process.argv;
const mqtt = require(modulePath);
const assert = require("node:assert");

async function run(protocolVersion) {
  const options = { protocolVersion, reconnectPeriod: 0, connectTimeout: 10_000 };
  const connect = (clientId, more = {}) =>
    mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { ...options, clientId, ...more });
  const v5 = protocolVersion === 5;
  const a = await connect("js-a", v5 ? { properties: { topicAliasMaximum: 10, receiveMaximum: 5 } } : {});
  const b = await connect("js-b", v5 ? { autoAssignTopicAlias: true } : {});
  const got = [];
  let wake = () => {};
  a.on("message", (topic, payload, packet) => { got.push({ topic, payload, packet }); wake(); });
  const until = async (n) => { while (got.length < n) await new Promise((done) => (wake = done)); };

  const granted = await a.subscribeAsync(`js/${protocolVersion}/a/rather/long/topic/+`, { qos: 2 });
  assert.strictEqual(granted[0].qos, 2);
  for (let i = 0; i < 50; i++) {
    await b.publishAsync(`js/${protocolVersion}/a/rather/long/topic/${i % 3}`, String(i), {
      qos: i % 3,
      ...(v5 ? { properties: { userProperties: { n: String(i) } } } : {}),
    });
  }
  await until(50);
  // In order for each QoS: this client hands a QoS 2 message on only when it is released.
  for (const qos of [0, 1, 2]) {
    const mine = got.filter(({ packet }) => packet.qos === qos);
    mine.forEach(({ topic, payload, packet }, nth) => {
      assert.strictEqual(topic, `js/${protocolVersion}/a/rather/long/topic/${qos}`);
      assert.strictEqual(payload.toString(), String(nth * 3 + qos));
      if (v5) assert.strictEqual(packet.properties.userProperties.n, String(nth * 3 + qos));
    });
  }
  got.length = 0;
  await b.publishAsync(`js/${protocolVersion}/kept`, "kept", { qos: 1, retain: true });
  await a.subscribeAsync(`js/${protocolVersion}/kept`, { qos: 1 });
  await until(1);
  assert.ok(got[0].packet.retain);
  await a.unsubscribeAsync(`js/${protocolVersion}/kept`);
  await a.endAsync();
  await b.endAsync();
}

const watchdog = setTimeout(() => { console.error("timed out"); process.exit(1); }, 30_000);
run(4).then(() => run(5)).then(
  () => { clearTimeout(watchdog); console.log("ok"); },
  (error) => { console.error(error); process.exit(1); },
);
