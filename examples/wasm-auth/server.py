#!/usr/bin/env python3
"""A server for logins: anna may in, bert may not any more, and it knows nobody else."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASSWORDS = {"anna": "secret", "bert": "hidden"}
BLOCKED = {"bert"}


def decide(asked):
    known = PASSWORDS.get(asked["username"])
    if known is None:
        return 404, ""
    if known != asked["password"]:
        return 401, "wrong password"
    if asked["username"] in BLOCKED:
        return 403, "blocked since Tuesday"
    return 200, ""


class Logins(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        status, text = decide(asked)
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 18836), Logins).serve_forever()
