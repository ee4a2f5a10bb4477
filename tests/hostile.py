"""Records as an attacker, a bug or a bad disk would send them, each with the reason it must get.

`hostile_records(count, seed)` draws for `configs/chat.yaml`. The reason is None where the record
looks odd and is fine: those must come through. The stream's tests publish the same records.
"""

import datetime as dt
import json
import random

from transforms.dead_letter import Reason

NOW_US = 1_767_225_600_000_000  # 2026-01-01


def fine_event(number, step_us=1):
    """A message as the config wants it."""
    return {
        "event_id": f"m{number:08d}",
        "sent_at": NOW_US + number * step_us,
        "kind": "message",
        "author_id": f"u{number % 97}",
        "channel_id": f"c{number % 7}",
        "text": "see you at https://site.example/a?b=1",
        "client": "ios",
        "recipients": number % 1000,
        "account_age": 12.5,
    }


def _with(**changes):
    def make(rng, event):
        del rng
        return json.dumps(event | changes).encode()

    return make


def _without(name):
    def make(rng, event):
        del rng
        return json.dumps({key: value for key, value in event.items() if key != name}).encode()

    return make


def _raw(name, literal):
    """The event with a member written literally."""

    def make(rng, event):
        del rng
        rest = json.dumps({key: value for key, value in event.items() if key != name})
        return b'{"%s": %s, %s' % (name.encode(), literal, rest.encode()[1:])

    return make


def _just(record):
    return lambda rng, event: record


def _truncated(rng, event):
    record = json.dumps(event).encode()
    return record[: rng.randrange(len(record))]


def _garbled(rng, event):
    record = json.dumps(event).encode()
    at = record.index(b"see you") + rng.randrange(7)
    return record[:at] + rng.choice([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8"]) + record[at:]


def _nested(rng, event):
    depth = rng.choice([40, 500, 2000])
    return json.dumps(event).encode()[:-1] + b', "more": ' + b"[" * depth + b"]" * depth + b"}"


def _noise(rng, event):
    del event
    return b"\xfe" + rng.randbytes(rng.randrange(60))


def _elsewhere(rng, event):
    """The same moment in another zone, with more digits than are kept."""
    del rng
    zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
    moment = dt.datetime.fromtimestamp(0, zone) + dt.timedelta(microseconds=event["sent_at"])
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f789+05:30")
    return json.dumps(event | {"sent_at": text}).encode()


_SURROGATES = (rb"\ud800", rb"\udc00", rb"\udbff\ud800", rb"a\ud83d", rb"\ude00\ud83d")
_R = Reason
HOSTILE = (
    (_R.NOT_JSON, _truncated),
    (_R.NOT_JSON, _just(b"{'single': 'quotes'}")),
    (_R.NOT_JSON, lambda rng, event: json.dumps(event).encode() * 2),
    (_R.NOT_JSON, lambda rng, event: json.dumps(event).encode()[:-1] + b",}"),
    (_R.NOT_JSON, _raw("account_age", b"NaN")),
    (_R.NOT_JSON, _raw("account_age", b"-Infinity")),
    (_R.NOT_JSON, _raw("recipients", b"007")),
    (_R.NOT_JSON, _raw("text", b'"raw \x00 control"')),
    (_R.NOT_UTF8, _garbled),
    (_R.NOT_UTF8, _noise),
    (_R.NOT_UTF8, lambda rng, event: json.dumps(event).encode("utf-16")),
    (_R.LONE_SURROGATE, lambda r, e: _raw("text", b'"%s"' % r.choice(_SURROGATES))(r, e)),
    (_R.TOO_DEEP, _nested),
    (_R.TOO_DEEP, _just(b"[" * 20_000)),
    (_R.TOO_DEEP, _just(b'{"a":' * 3000 + b"1" + b"}" * 3000)),
    (_R.NOT_AN_OBJECT, _just(b"[]")),
    (_R.NOT_AN_OBJECT, _just(b"null")),
    (_R.NOT_AN_OBJECT, _just(b'"text"')),
    (_R.NOT_AN_OBJECT, _just(b"12345678901234567890123")),
    (_R.DUPLICATE_KEY, _raw("author_id", b'"first", "author_id": "second"')),
    (_R.DUPLICATE_KEY, _raw("kind", b'"message", "\\u006bind": "report"')),
    (_R.DUPLICATE_KEY, _raw("extra", b'{"x": 1, "x": 1}')),
    (_R.TOO_LARGE, _with(text="x" * 8001)),
    (_R.TOO_LARGE, _with(text="\u20ac" * 2667)),
    (_R.TOO_LARGE, _with(event_id="i" * 1025)),
    (_R.WRONG_TYPE, _with(text=["a", "list"])),
    (_R.WRONG_TYPE, _with(text={"an": "object"})),
    (_R.WRONG_TYPE, _with(text=True)),
    (_R.WRONG_TYPE, _with(text=1.5)),
    (_R.WRONG_TYPE, _with(event_id=2.5)),
    (_R.WRONG_TYPE, _with(recipients="many")),
    (_R.WRONG_TYPE, _with(recipients=1.5)),
    (_R.WRONG_TYPE, _with(recipients=True)),
    (_R.WRONG_TYPE, _with(recipients="")),
    (_R.WRONG_TYPE, _with(account_age=[])),
    (_R.WRONG_TYPE, _with(account_age="0x10")),
    (_R.WRONG_TYPE, _with(is_abuse="perhaps")),
    (_R.WRONG_TYPE, _with(is_abuse=2)),
    (_R.OUT_OF_RANGE, _with(recipients=-1)),
    (_R.OUT_OF_RANGE, _with(recipients=1_000_001)),
    (_R.OUT_OF_RANGE, _with(recipients=2**63)),
    (_R.OUT_OF_RANGE, _with(recipients=-(10**40))),
    (_R.OUT_OF_RANGE, _with(recipients=1e30)),
    (_R.OUT_OF_RANGE, _with(recipients="9" * 500)),
    (_R.OUT_OF_RANGE, _with(account_age=1e300)),
    (_R.NOT_FINITE, _raw("account_age", b"1e999")),
    (_R.NOT_FINITE, _raw("account_age", b"9" * 5000)),
    (None, _raw("extra", b"[1e999, -" + b"9" * 5000 + b"]")),
    (_R.NOT_FINITE, _with(account_age="nan")),
    (_R.NOT_FINITE, _with(account_age="-Infinity")),
    (_R.NOT_FINITE, _with(account_age="1e999")),
    (_R.BAD_TIME, _with(sent_at=0)),
    (_R.BAD_TIME, _with(sent_at=-1)),
    (_R.BAD_TIME, _with(sent_at=10**18)),
    (_R.BAD_TIME, _with(sent_at=2**70)),
    (_R.BAD_TIME, _with(sent_at=1e300)),
    (_R.BAD_TIME, _with(sent_at="0001-01-01T00:00:00Z")),
    (_R.BAD_TIME, _with(sent_at="9999-12-31T23:59:59-23:59")),
    (_R.BAD_TIME, _with(sent_at="2026-02-30")),
    (_R.BAD_TIME, _with(sent_at="2026-01-01T25:00:00Z")),
    (_R.BAD_TIME, _with(sent_at="yesterday")),
    (_R.BAD_TIME, _with(sent_at="")),
    (_R.BAD_TIME, _with(sent_at=False)),
    (_R.BAD_TIME, _with(sent_at=[])),
    (_R.MISSING_COLUMN, _without("event_id")),
    (_R.MISSING_COLUMN, _without("sent_at")),
    (_R.MISSING_COLUMN, _without("kind")),
    (_R.MISSING_COLUMN, _without("text")),
    (_R.MISSING_COLUMN, _with(author_id=None)),
    (_R.MISSING_COLUMN, _with(event_id="")),
    (_R.MISSING_COLUMN, _with(kind="verdict")),
    (_R.MISSING_COLUMN, _just(b"{}")),
    (_R.UNKNOWN_KIND, _with(kind="Message")),
    (_R.UNKNOWN_KIND, _with(kind="messag\u0435")),
    (None, _with()),
    (None, _with(more={"deep": [[[[1]]]], "text": 'he said "text": x'})),
    (None, _with(text='{"author_id": "injected", "author_id": 2}')),
    (None, _with(text="[[[[" * 200)),
    (None, _with(text="\u0000\u202e\ufeff\U0001f600 e\u0301" * 20)),
    (None, _with(text="\u20ac" * 2666)),
    (None, _with(text="")),
    (None, _with(recipients="17", account_age="1e3")),
    (None, _with(recipients=17.0)),
    (None, _with(account_age=7)),
    (None, _with(event_id=-5)),
    (None, _elsewhere),
    (None, lambda rng, event: json.dumps(event | {"sent_at": str(event["sent_at"])}).encode()),
    (None, lambda rng, event: b" \r\n" + json.dumps(event, indent=2).encode() + b"\t\n"),
)


def hostile_records(count, seed=0, step_us=1):
    """(reason or None, record) pairs; half of the records are as they should be.

    Events are `step_us` apart.
    """
    rng = random.Random(seed)
    for number in range(count):
        event = fine_event(number, step_us)
        if rng.random() < 0.5:
            yield None, json.dumps(event).encode()
            continue
        reason, make = rng.choice(HOSTILE)
        yield reason, make(rng, event)
