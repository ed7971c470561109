// A plugin in Wasm, in JavaScript: an HTTP server says who may connect. Options: { "url": "http://…" }. An exception is a fault
// of the call: the use's on_error decides.

import { send } from "jackfield:plugin/http@1.0.0";

const BAD_USER_NAME_OR_PASSWORD = 0x86;
const NOT_AUTHORIZED = 0x87;

const schema = {
  type: "object",
  additionalProperties: false,
  required: ["url"],
  properties: {
    url: { type: "string", description: "Where to ask: gets client_id, username and password as JSON." },
  },
};

let url;

function read(options) {
  const { url } = JSON.parse(options);
  if (!url?.startsWith("http")) {
    throw { key: "url", why: "must begin with http:// or https://" };
  }
  return url;
}

export const describe = {
  get: () => ({
    id: "auth-js",
    version: "1.0.0",
    configSchema: JSON.stringify(schema),
    needs: {},
    traits: {},
    publishFilters: [],
    deliverFilters: [],
    authMethods: [],
    controlPrefixes: [],
    eventKinds: [],
  }),
};

export const lifecycle = {
  validate(options) {
    read(options);
  },
  init(options) {
    url = read(options);
  },
  tick() {},
};

export const authenticate = {
  onAuthenticate(who, { username, password }) {
    if (username === undefined || password === undefined) {
      return { tag: "skip" };
    }
    const asked = { client_id: who.id(), username, password: new TextDecoder().decode(password) };
    const { status, body } = send({
      method: "POST",
      url,
      headers: [["content-type", "application/json"]],
      body: new TextEncoder().encode(JSON.stringify(asked)),
      timeoutMs: 2000,
    });
    // Any status is an answer: 2xx lets in, 401 and 403 keep out, 404 says that somebody else may know.
    if (status >= 200 && status < 300) {
      return { tag: "allow", val: { attributes: [] } };
    }
    if (status === 401 || status === 403) {
      const text = new TextDecoder().decode(body) || undefined;
      return { tag: "deny", val: { reason: status === 401 ? BAD_USER_NAME_OR_PASSWORD : NOT_AUTHORIZED, text } };
    }
    if (status === 404) {
      return { tag: "skip" };
    }
    throw new Error(`the server for logins answers ${status}`);
  },
};
