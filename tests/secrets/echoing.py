"""
A service that repeats whatever it was given, in every place where an answer has room for words.

It stands in front of the stand-in, passes calls on, and spoils the answers of those methods that it
is told to, in one `MANNERS` after the other. It keeps the address of each request.
"""

import json
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl

import httpx


def _error(said):
    return 200, {}, json.dumps({"code": "7", "error": f"cannot do this: {said}"})


def _rows(said):
    odd = [{"id": -1, "msg": said}, {"id": 1, "phone": said, "spoke": said}, said]
    return 200, {}, json.dumps({"code": 0, "count": 3, "data": odd})


MANNERS = {
    "error": _error,
    "error in utf-8": lambda said: (
        200,
        {},
        json.dumps({"code": 7, "error": said}, ensure_ascii=False),
    ),
    "code": lambda said: (200, {}, json.dumps({"code": said})),
    "rows": _rows,
    "page": lambda said: (200, {}, f"<h1>Sorry</h1> {escape(said)}"),
    "page of trouble": lambda said: (500, {}, f"<h1>Sorry</h1> {said}"),
    "cut page": lambda said: (200, {}, "x" * 150 + said),
    "refusal": lambda said: (403, {}, json.dumps({"code": -1, "error": said})),
    "page of refusal": lambda said: (403, {}, f"<p>{said}"),
    "pause": lambda said: (429, {"Retry-After": said.replace("\n", " ")}, said),
    "elsewhere": lambda said: (302, {"Location": f"/{'x' * 180}{said}"}, said),
    "elsewhere by host": lambda said: (302, {"Location": f"https://{said}/"}, said),
    "date": lambda said: (200, {"Date": said}, "{}"),
    "status line": None,
    "half": None,
}


class Echo:
    """`manner` and `methods` say what is spoilt; `paths` are the addresses that were asked for."""

    def __init__(self, base_url):
        self.manner, self.methods, self.met = None, (), 0
        self.paths = []
        echo = self
        http = httpx.Client(base_url=base_url, trust_env=False)
        self._http = http

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                echo.paths.append(self.path)
                method = self.path.rpartition("/")[2].removesuffix(".php")
                if echo.manner and (not echo.methods or method in echo.methods):
                    self.spoil(echo.manner, body)
                    echo.met += 1
                    return
                kind = {"Content-Type": self.headers["Content-Type"]}
                answer = http.post(self.path.rpartition("/")[2], content=body, headers=kind)
                self.answer(answer.status_code, {}, answer.content)

            def spoil(self, manner, body):
                said = body.decode()
                if not said.startswith("{"):  # as it was sent, and as it was meant
                    plain = " ".join(value for _, value in parse_qsl(said))
                    said = f"{plain} {said}"
                if manner == "status line":
                    self.wfile.write(f"HTTP/1.1 {said}\r\n\r\n".encode())
                elif manner == "half":
                    self.wfile.write(
                        f"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{said}".encode()
                    )
                else:
                    status, headers, text = MANNERS[manner](said)
                    self.answer(status, headers, text.encode())
                    return
                self.close_connection = True

            def answer(self, status, headers, content):
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value.encode().decode("latin-1"))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/api/3/"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._http.close()
