"""A plugin in Wasm, in Python: an HTTP server says who may connect. Options: {"url": "http://…"}. An exception is a fault of the
call: the use's on_error decides."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.authenticate import Verdict_Allow, Verdict_Deny, Verdict_Skip
from wit_world.exports.describe import Manifest, Needs, Traits
from wit_world.exports.lifecycle import Complaint
from wit_world.imports import http
from wit_world.imports.types import Denial, Grant

BAD_USER_NAME_OR_PASSWORD = 0x86
NOT_AUTHORIZED = 0x87

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {
        "url": {
            "type": "string",
            "description": "Where to ask: gets client_id, username and password as JSON.",
        }
    },
}

url = ""


def read(options: str) -> str:
    found = json.loads(options).get("url", "")
    if not found.startswith("http"):
        raise Err(Complaint("url", "must begin with http:// or https://"))
    return found


class Describe(exports.Describe):
    def get(self) -> Manifest:
        return Manifest(
            id="auth-python",
            version="1.0.0",
            config_schema=json.dumps(SCHEMA),
            needs=Needs(0),
            traits=Traits(0),
            max_payload=None,
            publish_filters=[],
            deliver_filters=[],
            auth_methods=[],
            control_prefixes=[],
            event_kinds=[],
            tick_ms=None,
        )


class Lifecycle(exports.Lifecycle):
    def validate(self, options: str) -> None:
        read(options)

    def init(self, options: str) -> None:
        global url
        url = read(options)

    def tick(self) -> None:
        pass


class Authenticate(exports.Authenticate):
    def on_authenticate(self, who, credentials):
        if credentials.username is None or credentials.password is None:
            return Verdict_Skip()
        asked = {
            "client_id": who.id(),
            "username": credentials.username,
            "password": credentials.password.decode(errors="replace"),
        }
        answer = http.send(
            http.Request("POST", url, [("content-type", "application/json")], json.dumps(asked).encode(), 2000)
        )
        # Any status is an answer: 2xx lets in, 401 and 403 keep out, 404 says that somebody else may know.
        if 200 <= answer.status < 300:
            return Verdict_Allow(Grant(None, None, [], None, None, None))
        if answer.status in (401, 403):
            reason = BAD_USER_NAME_OR_PASSWORD if answer.status == 401 else NOT_AUTHORIZED
            return Verdict_Deny(Denial(reason, answer.body.decode(errors="replace") or None))
        if answer.status == 404:
            return Verdict_Skip()
        raise RuntimeError(f"the server for logins answers {answer.status}")
