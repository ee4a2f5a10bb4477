"""What a callback of Coop says: from its bytes and signature to a verdict, or a refusal.

Coop (roostorg/coop, docs/api/actions.md and docs/development/api-auth.md) posts JSON to addresses
of three kinds: an action's, the appeals' and the ignore callback's. Each body is signed: the header
`Coop-Signature` holds, in base64, RSASSA-PKCS1-v1_5 with SHA-256 of the bytes of the body, by the
key that its settings show. The signature covers neither a time nor a number, so the same bytes are
the same callback, whenever they come: a verdict's id is their SHA-256.

| callback | told by | becomes |
|---|---|---|
| action | `action` | abuse or not, as `Rules` says; of a moderator where one is named |
| appeal | `appealDecision` | `ACCEPT`: not abuse, `REJECT`: abuse; of `appeal` |
| ignore | `id` and `typeId` alone | not abuse; of a moderator |
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from configs.errors import InputError

SIGNATURE_HEADER = "Coop-Signature"
MODERATOR, AUTOMATIC, APPEAL = "moderator", "automatic", "appeal"
_FEWEST_BITS = 2048  # what Coop makes
_Read = TypeVar("_Read", bound=msgspec.Struct)


class Refusal(enum.Enum):
    """Why a callback is not taken, and the HTTP status that says so."""

    UNSIGNED = 401
    NOT_JSON = 400
    NOT_A_CALLBACK = 422


class Refused(Exception):
    """A callback that is not taken; its text names no id and nothing of the content."""

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


@dataclasses.dataclass(frozen=True)
class Rules:
    """What actions and item types mean; a platform chooses both in Coop.

    Attributes:
      abuse, clear: ids of actions that say abuse, and that say there is none.
      ignored: ids of actions that say nothing; their callbacks are answered and dropped.
      account_types: ids of item types that are accounts; an item whose creator, or who appeals, is
        the item itself is one without being named.
      subject_prefix: put before an item's id to make it the id of an event.
    """

    abuse: frozenset[str]
    clear: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    account_types: frozenset[str] = frozenset()
    subject_prefix: str = ""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A callback that judges.

    Attributes:
      id: `coop-` and 32 hex digits of the SHA-256 of its bytes.
      subject_id: the judged event; None where an account is judged.
      account_id: the judged account, or the author of what is judged, where Coop names one.
      is_abuse: what it says.
      source: `moderator`, `automatic` or `appeal`.
      item_type: Coop's id of the item's type.
    """

    id: str
    subject_id: str | None
    account_id: str | None
    is_abuse: bool
    source: str
    item_type: str


class Signatures:
    """Verifies signatures by one of some public keys (two while a key is rotated).

    Args:
      keys: files in PEM.

    Raises:
      InputError: a file cannot be read or holds no RSA public key of at least 2,048 bits.
    """

    def __init__(self, keys: Sequence[Path]) -> None:
        self._keys = [_read_key(path) for path in keys]

    def verify(self, body: bytes, signature: str | None) -> None:
        """Does nothing where a key made the signature of these bytes.

        Raises:
          Refused: there is no signature, it is no base64, or no key made it.
        """
        if not signature:
            raise Refused(Refusal.UNSIGNED, f"no {SIGNATURE_HEADER}; make a signing key in Coop")
        try:
            raw = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(Refusal.UNSIGNED, f"{SIGNATURE_HEADER} is no base64") from None
        for key in self._keys:
            try:
                key.verify(raw, body, PKCS1v15(), SHA256())
            except InvalidSignature:
                continue
            return
        raise Refused(
            Refusal.UNSIGNED,
            f"{SIGNATURE_HEADER} was made by no --key for these bytes; was Coop's key rotated, or "
            "the body changed on its way?",
        )


def read_callback(body: bytes, rules: Rules) -> Verdict | None:
    """The verdict that a callback is; None where its action says nothing.

    Args:
      body: its bytes, signed.
      rules: what actions and types mean.

    Raises:
      Refused: no JSON, not a callback of Coop, or an action that `rules` does not know.

    >>> body = b'{"item": {"id": "m1", "typeId": "message"}, "action": {"id": "ban"}}'
    >>> made = read_callback(body, Rules(abuse=frozenset({"ban"})))
    >>> made.subject_id, made.is_abuse, made.source
    ('m1', True, 'automatic')
    """
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(Refusal.NOT_JSON, "the body is no JSON object") from None
    if "appealDecision" in said:
        appeal = _convert(said, _Appeal)
        return _verdict(body, appeal.item, appeal.appealedBy, appeal.is_abuse, APPEAL, rules)
    if "action" in said:
        action = _convert(said, _ActionCallback)
        if action.action.id in rules.ignored:
            return None
        known = action.action.id in rules.abuse or action.action.id in rules.clear
        if not known:
            raise Refused(
                Refusal.NOT_A_CALLBACK,
                "an action that is in none of --abuse, --clear and --ignore; add its id to one",
            )
        source = MODERATOR if action.actorEmail else AUTOMATIC
        is_abuse = action.action.id in rules.abuse
        return _verdict(body, action.item, action.creator, is_abuse, source, rules)
    return _verdict(body, _convert(said, _Item), None, False, MODERATOR, rules)


class _Item(msgspec.Struct):
    id: str
    typeId: str


class _Named(msgspec.Struct):
    id: str


class _Account(msgspec.Struct):
    id: str | None = None
    typeId: str | None = None


class _ActionCallback(msgspec.Struct):
    item: _Item
    action: _Named
    actorEmail: str | None = None
    creator: _Account | None = None


class _Appeal(msgspec.Struct):
    appealId: str
    item: _Item
    appealDecision: str
    appealedBy: _Account | None = None

    @property
    def is_abuse(self) -> bool:
        if self.appealDecision not in ("ACCEPT", "REJECT"):
            raise Refused(Refusal.NOT_A_CALLBACK, "appealDecision is neither ACCEPT nor REJECT")
        return self.appealDecision == "REJECT"


def _convert(said: dict[str, Any], into: type[_Read]) -> _Read:
    try:
        return msgspec.convert(said, into)
    except msgspec.ValidationError as error:
        raise Refused(
            Refusal.NOT_A_CALLBACK,
            f"not an action, appeal or ignore callback of Coop: {error}",
        ) from None


def _verdict(
    body: bytes, item: _Item, author: _Account | None, is_abuse: bool, source: str, rules: Rules
) -> Verdict:
    if not item.id or not item.typeId:
        raise Refused(Refusal.NOT_A_CALLBACK, "the item has no id or no type")
    # Coop: the creator of an item that is a user is "the target itself".
    is_itself = author is not None and (author.id, author.typeId) == (item.id, item.typeId)
    of_account = is_itself or item.typeId in rules.account_types
    return Verdict(
        id=f"coop-{hashlib.sha256(body).hexdigest()[:32]}",
        subject_id=None if of_account else rules.subject_prefix + item.id,
        account_id=item.id if of_account else author.id if author is not None else None,
        is_abuse=is_abuse,
        source=source,
        item_type=item.typeId,
    )


def _read_key(path: Path) -> RSAPublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise InputError(f"--key {path}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < _FEWEST_BITS:
        raise InputError(
            f"--key {path} holds no RSA public key of at least {_FEWEST_BITS} bits in PEM; "
            "expected the webhook signature verification key of Coop's settings "
            "(-----BEGIN PUBLIC KEY-----)"
        )
    return key
