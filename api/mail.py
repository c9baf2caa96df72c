"""Mails to people: through the configured server, or into the log where there is none."""

import logging
import smtplib
import ssl
from email.message import EmailMessage
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

logger = logging.getLogger(__name__)

# A server that takes longer is away; the mail is lost then, and asked for again by who misses it.
_TIMEOUT_SECONDS: Final = 15


class Mailer:
    """Sends plain texts. Blocks for seconds; any thread may call."""

    def __init__(self, server: SecretStr | None, sender: str) -> None:
        """Raises ValueError where the address of the server is none."""
        self._sender = sender
        self._server = None if server is None else urlsplit(server.get_secret_value())
        if self._server is not None:
            # Not the address itself: it may hold a password.
            if self._server.scheme not in ("smtp", "smtps") or not self._server.hostname:
                raise ValueError("STREAMGAUGE_SMTP_URL is no mail server; write smtp://user:password@host:587")
            self._server.port  # raises ValueError where it is no number  # noqa: B018

    def send(self, to: str, subject: str, text: str) -> None:
        """Deliver a mail to the server, or print it to the log; what fails is logged and not raised."""
        if self._server is None:
            logger.info("no mail server is configured; the mail to %s: %s\n%s", to, subject, text)
            return
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, to, subject
        message.set_content(text)
        try:
            self._deliver(message)
        except (OSError, smtplib.SMTPException):
            logger.exception("a mail could not be sent")

    def _deliver(self, message: EmailMessage) -> None:
        server = self._server
        assert server is not None
        assert server.hostname is not None
        context = ssl.create_default_context()
        connection: smtplib.SMTP
        if server.scheme == "smtps":
            connection = smtplib.SMTP_SSL(
                server.hostname, server.port or 465, timeout=_TIMEOUT_SECONDS, context=context
            )
        else:
            connection = smtplib.SMTP(server.hostname, server.port or 587, timeout=_TIMEOUT_SECONDS)
        with connection:
            connection.ehlo()
            is_private = server.scheme == "smtps"
            if not is_private and connection.has_extn("starttls"):
                connection.starttls(context=context)
                connection.ehlo()
                is_private = True
            if server.username:
                if not is_private:
                    raise smtplib.SMTPNotSupportedError("the server has no TLS: its password is not sent in clear")
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(message)
