#!/usr/bin/env python3
"""Hello, World! over HTTP: `./server.py [PORT]`, on port 8080 if none is given."""

import http
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

GREETING = b"Hello, World!\n"


class Hello(BaseHTTPRequestHandler):
    """Greets at `/`, and knows nothing else. The base class logs one line per request to standard error."""

    # A client that connects and says nothing does not keep its thread for ever.
    timeout = 30

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        if urlsplit(self.path).path != "/":
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(GREETING)))
        self.end_headers()
        if with_body:
            self.wfile.write(GREETING)


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    server = ThreadingHTTPServer(("", port), Hello)

    # The first process of a container gets no default action for SIGTERM: without a handler, every pod would be killed only after
    # its grace period of 30 seconds. shutdown() waits for the loop below, so it cannot be called from within it.
    def stop(*_):
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"Started http server on port {port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    print("Stopped", flush=True)


if __name__ == "__main__":
    main()
