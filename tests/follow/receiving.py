"""A receiver of hooks over real HTTP, and how patient hooks are in tests."""

import json
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from semysync.follow.retries import Patience

QUICK = Patience(first_s=0.01, longest_s=0.02, lasts=timedelta(0))  # dead at the first failure
PATIENT = Patience(first_s=0.005, longest_s=0.01)


class Receiver:
    """An HTTP server that keeps what it is sent; `status` is what it answers, `hang` holds it."""

    def __init__(self):
        self.calls = []  # (headers, body)
        self.status, self.headers, self.body = 200, {}, b"thanks"
        self.hang = Event()
        self.hang.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.calls.append((dict(self.headers), body))
                receiver.hang.wait(20)
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(receiver.body)))
                self.end_headers()
                self.wfile.write(receiver.body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self._server.server_port}/sms"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def seqs(self):
        return [json.loads(body)["seq"] for _, body in self.calls]

    def close(self):
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
