#!/usr/bin/env python3
"""An office that speaks no MQTT: prints the alarms it is posted, and answers each with an order that waits to be fetched."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

orders = []


class Office(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body=b""):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        for alarm in json.loads(self.rfile.read(int(self.headers["content-length"]))):
            print(f"office got {alarm['topic']}: {alarm['payload']}", flush=True)
            orders.append({"topic": "orders/" + alarm["topic"].split("/")[1], "payload": "stop", "qos": 1})
        self.answer()

    def do_GET(self):
        waiting = [orders.pop(0) for _ in range(len(orders))]
        self.answer(json.dumps(waiting).encode() if waiting else b"")

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", 18838), Office).serve_forever()
