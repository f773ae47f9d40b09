"""A mail server on loopback: aiosmtpd, with what a test asks of it.

Arguments: LINE (plain, starttls or tls), CERTIFICATE, KEY, FOLDER. It takes the user `mantle` with the
password `s3cret-mail` where the line is not plain. Each letter is a file in FOLDER, its envelope in the
headers X-MailFrom and X-RcptTo. The first line that it prints is its port.
"""

import asyncio
import ssl
import sys
from pathlib import Path

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

line, certificate, key, folder = sys.argv[1:]


class Letters(Mailbox):
    """Keeps letters with their envelope, as a maildir."""

    def prepare_message(self, session, envelope):
        message = super().prepare_message(session, envelope)
        message["X-Tls"] = "yes" if session.ssl or line == "tls" else "no"
        return message


def log_in(server, session, envelope, mechanism, data):
    right = LoginPassword(b"mantle", b"s3cret-mail")
    return AuthResult(success=data == right, handled=False)


def talk():
    if line == "plain":
        return SMTP(Letters(folder), hostname="mail.test")
    return SMTP(
        Letters(folder),
        hostname="mail.test",
        tls_context=None if line == "tls" else context,
        require_starttls=line == "starttls",
        auth_required=True,
        auth_require_tls=line == "starttls",
        authenticator=log_in,
    )


context = None
if line != "plain":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)


async def main():
    loop = asyncio.get_running_loop()
    outer = context if line == "tls" else None
    server = await loop.create_server(talk, "127.0.0.1", 0, ssl=outer)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


Path(folder).parent.mkdir(parents=True, exist_ok=True)
asyncio.run(main())
