#!/usr/bin/env python3
"""A server that keeps records: `server.py FILE`. Batches are appended to the file and synced before they are answered; at start
the file is read again. A batch that wasn't written to its end counts as never sent."""

import os
import sys
import threading
from bisect import bisect_right
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BATCH_BYTES_MAX = 48 << 20  # a byte is two digits

records = {}
lock = threading.Lock()
log = open(sys.argv[1], "a+b")


def apply(lines):
    for line in lines:
        words = line.split(" ")
        if words[0] == "put":
            records[words[1]] = words[2]
        elif words[0] == "delete":
            records.pop(words[1], None)


def recover():
    log.seek(0)
    batch, good = [], 0
    for line in log:
        if line == b"commit\n":
            apply(batch)
            batch, good = [], log.tell()
        else:
            batch.append(line.decode().rstrip("\n"))
    log.truncate(good)


def holds(line):
    words = line.split(" ")
    if words[0] == "expect":
        return records.get(words[1]) == words[2]
    return words[0] != "absent" or words[1] not in records


def commit(text):
    lines = text.splitlines()
    with lock:
        if not all(map(holds, lines)):
            return 409
        log.write(text.encode() + b"commit\n")
        log.flush()
        os.fsync(log.fileno())
        apply(lines)
    return 200


def scan(most, prefix, after):
    with lock:
        keys = sorted(records)
        keys = keys[bisect_right(keys, after) if after else 0 :]
        found = [key for key in keys if key.startswith(prefix)][: int(most)]
        return "".join(f"{key} {records[key]}\n" for key in found)


class Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text=""):
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self):
        length = int(self.headers["content-length"])
        text = self.rfile.read(length).decode()
        self.answer(commit(text) if length <= BATCH_BYTES_MAX else 413)

    def do_GET(self):
        verb, *words = self.path.split("/")[1:]
        if verb == "scan":
            self.answer(200, scan(*words))
        elif words[0] in records:
            self.answer(200, records[words[0]])
        else:
            self.answer(404)

    def log_message(self, *_):
        pass


recover()
ThreadingHTTPServer(("127.0.0.1", 18840), Store).serve_forever()
