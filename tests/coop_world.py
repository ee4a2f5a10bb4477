"""A Coop for tests: it signs callbacks as Coop does, and posts them to a receiver."""

import base64
import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

COMMAND = [sys.executable, "-c", "from pipelines.commands import main; main()"]


class Coop:
    """An organisation of Coop with a signing key."""

    def __init__(self, folder, name="coop.pem"):
        self._private = generate_private_key(65537, 2048)
        self.key = folder / name
        self.key.write_bytes(
            self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def sign(self, body):
        return base64.b64encode(self._private.sign(body, PKCS1v15(), SHA256())).decode()

    def kept(self, said, received=None):
        """A line of a file of callbacks."""
        body = json.dumps(said)
        line = {"body": body, "signature": self.sign(body.encode())}
        return json.dumps(line | ({"received": received} if received else {}))


def action(item, action="ban", actor="moderator@example.com", type_id="message", **more):
    """As docs/api/actions.md of roostorg/coop shows it."""
    return {
        "item": {"id": item, "typeId": type_id, "typeName": "Message"},
        "policies": [{"id": "p1", "name": "Spam", "penalty": "MEDIUM"}],
        "rules": [],
        "action": {"id": action},
        "custom": {},
        **({"actorEmail": actor} if actor else {}),
        **more,
    }


def appeal(item, decision="ACCEPT", number="a1", type_id="message"):
    return {
        "appealId": number,
        "appealedBy": {"id": "w1", "typeId": "user"},
        "appealDecision": decision,
        "item": {"id": item, "typeId": type_id},
        "custom": {},
    }


def post(port, body, signature, path="/"):
    """Status and answer."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    headers |= {"coop-signature": signature} if signature is not None else {}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@contextlib.contextmanager
def receiving(to, key, *more):
    """A receiver in a process of its own: it, and its port."""
    asked = ["labels", "receive", "--to", str(to), "--key", str(key), "--abuse", "ban"]
    process = subprocess.Popen(
        [*COMMAND, *asked, "--clear", "restore", "--port", "0", *more],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        while "receiving on" not in line:
            assert line, process.wait()
            line = process.stderr.readline()
        yield process, int(line.split("127.0.0.1:")[1].split(";")[0])
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
