"""A receiver of webhooks on loopback, with a certificate that an authority of its own signed."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.secure import sign


@dataclass
class Receiver:
    """What came, and how it is answered."""

    port: int
    authority: Path
    status: int = 204
    location: str | None = None
    # Held back until then, if set.
    release: threading.Event | None = None
    requests: list[tuple[str, Message, bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/hook?a=b c".replace(" ", "%20")


@contextlib.contextmanager
def receiving(directory: Path) -> Iterator[Receiver]:
    """Listens until the block ends."""
    directory.mkdir(exist_ok=True)
    server_file, authority = directory / "server.pem", directory / "authority.pem"
    sign(server_file, authority)
    receiver = Receiver(0, authority)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append((self.path, self.headers, body))
            if receiver.release is not None:
                receiver.release.wait(20)
            with contextlib.suppress(OSError):  # the other side may have left
                self.send_response(receiver.status)
                if receiver.location is not None:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that leaves early is no error of a test."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        if receiver.release is not None:
            receiver.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
