"""Mails, against a server that speaks SMTP."""

import logging
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy

import pytest
from pydantic import SecretStr

from api.mail import Mailer


class Post(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it takes; without TLS, so it should be told no password."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.mails: list[bytes] = []
        self.commands: list[str] = []
        self.refuses = False

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class Session(socketserver.StreamRequestHandler):
    """One client."""

    server: Post

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            self.server.commands.append(line)
            word = line.split()[0].upper()
            if word == "DATA" and not self.server.refuses:
                self._say("354 go on")
                lines = []
                while (part := self.rfile.readline()) != b".\r\n":
                    lines.append(part)
                self.server.mails.append(b"".join(lines))
            if word == "EHLO":
                self._say("250-post\r\n250 AUTH PLAIN LOGIN")
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("554 no" if word == "DATA" and self.server.refuses else "250 ok")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_mail_reaches_its_reader(post: Post) -> None:
    Mailer(SecretStr(post.url), "gauge@example.org").send(
        "ada@example.org", "Grüße", "Zeile eins\n\nhttps://x/?token=a"
    )

    [mail] = post.mails
    message = message_from_bytes(mail, policy=policy.default)
    assert (message["From"], message["To"], message["Subject"]) == ("gauge@example.org", "ada@example.org", "Grüße")
    body = message.get_body()
    assert body is not None
    assert body.get_content().split() == ["Zeile", "eins", "https://x/?token=a"]


def test_without_a_server_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Mailer(None, "gauge@example.org").send("ada@example.org", "Hello", "https://x/?token=a")
    assert "the mail to ada@example.org: Hello\nhttps://x/?token=a" in caplog.text


def test_password_is_never_sent_in_clear(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    url = post.url.replace("smtp://", "smtp://user:pass-word@")
    Mailer(SecretStr(url), "gauge@example.org").send("ada@example.org", "Hello", "text")
    assert post.mails == []
    assert not [line for line in post.commands if line.upper().startswith("AUTH")]
    assert "a mail could not be sent" in caplog.text
    assert "pass-word" not in caplog.text


def test_server_that_refuses_or_is_away_ends_nothing(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    post.refuses = True
    Mailer(SecretStr(post.url), "gauge@example.org").send("ada@example.org", "Hello", "text")
    Mailer(SecretStr("smtp://127.0.0.1:9"), "gauge@example.org").send("ada@example.org", "Hello", "text")
    assert [record.getMessage() for record in caplog.records] == ["a mail could not be sent"] * 2


@pytest.mark.parametrize("subject", ["Hello\r\nBcc: eve@example.org"])
def test_no_header_is_smuggled_in(post: Post, subject: str) -> None:
    with pytest.raises(ValueError, match="linefeed"):
        Mailer(SecretStr(post.url), "gauge@example.org").send("ada@example.org", subject, "text")
    assert post.mails == []


@pytest.mark.parametrize("url", ["mail.example", "http://mail.example", "smtp://", "smtp://user:pw@host:port"])
def test_impossible_server_is_told_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"mail server|Port"):
        Mailer(SecretStr(url), "gauge@example.org")
