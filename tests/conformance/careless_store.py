"""`python -m tests.conformance.careless_store PORT UPSTREAM`: a store that ignores conditional put, as old ones do."""

import http.client
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_UPSTREAM = urlsplit(sys.argv[2]).netloc
_CONDITIONS = ("if-none-match", "if-match")
_OURS = ("transfer-encoding", "connection", "content-length", "server", "date")


class Forward(BaseHTTPRequestHandler):
    """Passes every request on without its conditions."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            setattr(self, f"do_{method}", self._forward)
        super().handle_one_request()

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _CONDITIONS}
        upstream = http.client.HTTPConnection(_UPSTREAM, timeout=30)
        try:
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OURS:
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Forward).serve_forever()
