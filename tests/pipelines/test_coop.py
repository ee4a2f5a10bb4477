"""Coop's callbacks: from signed bytes over HTTP or a file to labels that training sees."""

import base64
import concurrent.futures
import datetime as dt
import gzip
import json
import signal
import socket
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, START, make_events
from coop_world import Coop, action, appeal, post, receiving
from nightly_world import write_events
from ruamel.yaml import YAML

from configs.changed import change_config
from configs.errors import BusyError, InputError
from configs.loader import loads, shipped
from pipelines.backfill import BackfillRequest, backfill
from pipelines.coop import (
    Ledger,
    Refused,
    Rules,
    Signatures,
    import_callbacks,
    read_callback,
)
from pipelines.coop.ledger import encode_line
from pipelines.dataset import load_labels
from pipelines.label_history import label_history
from pipelines.layout import Days, Layout, day_us
from transforms.catalog import CATALOG

RULES = Rules(
    abuse=frozenset({"ban"}),
    clear=frozenset({"restore"}),
    ignored=frozenset({"note"}),
    account_types=frozenset({"user"}),
)
NOW_US = 1_800_000_000_000_000
COOP_CONFIG = (
    CONFIG.replace(
        "kind: kind, dedup",
        "kind: kind, aliases: {event_id: id, event_time: at, subject_id: subject, is_abuse: bad}, "
        "dedup",
    )
    .replace("bad: {type: boolean}", "bad: {type: boolean}\n  source: {type: string}")
    .replace("maturity: 1d}", "maturity: 1d, source: source}")
)


@pytest.fixture(scope="module")
def coop(tmp_path_factory):
    return Coop(tmp_path_factory.mktemp("coop"))


@pytest.fixture
def spec():
    return loads(COOP_CONFIG, "coop.yaml", CATALOG)


def lines(folder):
    return [
        json.loads(line)
        for path in sorted(folder.glob("day=*/coop.jsonl"))
        for line in path.read_text().splitlines()
    ]


def read(said):
    return read_callback(json.dumps(said).encode(), RULES)


def test_the_docs_show_how_chat_reads_them():
    text = (Path(__file__).parents[2] / "docs" / "labels.md").read_text()
    changes = YAML(typ="safe").load(text.split("```yaml\n")[1].split("```")[0])
    spec = loads(change_config(shipped("chat").read_text(), changes), "chat.yaml", CATALOG)
    line = json.loads(encode_line(read(action("m1", creator={"id": "w1"})), 1))
    names = {spec.events.aliases.get(name, name) for name in line}
    assert names - {"item_type"} <= set(spec.input_names)
    needed = {"event_id", "sent_at", "kind", *spec.kinds["verdict"].required}
    assert needed <= names
    line = json.loads(encode_line(read(action("w1", creator={"id": "w1", "typeId": "message"})), 1))
    names = {spec.events.aliases.get(name, name) for name in line}
    assert {"kind", *spec.kinds[line["kind"]].required} <= names


def test_each_kind_of_callback_says_what_coop_documents():
    made = read(action("m1", creator={"id": "w1", "typeId": "user"}))
    assert (made.subject_id, made.account_id) == ("m1", "w1")
    assert (made.is_abuse, made.source, made.item_type) == (True, "moderator", "message")
    assert read(action("m1", actor=None)).source == "automatic"
    assert read(action("m1", "restore")).is_abuse is False
    assert read(action("m1", "note")) is None
    granted = read(appeal("m1"))
    assert (granted.is_abuse, granted.source, granted.account_id) == (False, "appeal", "w1")
    assert read(appeal("m1", "REJECT")).is_abuse is True
    ignored = read({"id": "m1", "typeId": "message", "data": {"text": "hello"}})
    assert (ignored.subject_id, ignored.is_abuse, ignored.source) == ("m1", False, "moderator")
    account = read(action("w1", type_id="user"))
    assert (account.subject_id, account.account_id) == (None, "w1")
    itself = read(action("w2", type_id="member", creator={"id": "w2", "typeId": "member"}))
    assert (itself.subject_id, itself.account_id) == (None, "w2")
    other = read(action("7", creator={"id": "7", "typeId": "member"}))  # one number, two types
    assert (other.subject_id, other.account_id) == ("7", "7")


def test_callbacks_of_one_second_stay_in_the_order_of_the_file(coop, tmp_path):
    second, file = "2026-03-01T10:00:00Z", tmp_path / "kept.jsonl"
    said = [action("m1", what, actor=f"{number}@b") for number, what in
            enumerate(["ban", "restore", "ban", "restore", "ban", "restore"])]  # fmt: skip
    file.write_text("\n".join(coop.kept(one, second) for one in said))
    with Ledger(tmp_path / "to", lambda: NOW_US) as ledger:
        import_callbacks(file, ledger, Signatures([coop.key]), RULES, NOW_US)
    made = sorted(lines(tmp_path / "to"), key=lambda one: one["event_time"])
    assert [one["is_abuse"] for one in made] == [True, False] * 3
    assert len({one["event_time"] for one in made}) == 6


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"item": ', 400),
        (b'{"a": "\xff"}', 400),
        (b"{}", 422),
        (b'{"item": {"id": 5, "typeId": "message"}, "action": {"id": "ban"}}', 422),
        (b'{"item": {"id": "", "typeId": "message"}, "action": {"id": "ban"}}', 422),
        (b'{"item": {"id": "m1", "typeId": "message"}, "action": {"id": "secret"}}', 422),
        (b'{"item": {"id": "secret", "typeId": "t"}, "appealDecision": "MAYBE"}', 422),
    ],
)
def test_what_is_no_callback_is_refused_without_its_content(body, status):
    with pytest.raises(Refused) as refused:
        read_callback(body, RULES)
    assert refused.value.refusal.value == status
    assert "secret" not in str(refused.value)


def test_a_signature_is_of_these_bytes_and_by_one_of_the_keys(coop, tmp_path):
    other = Coop(tmp_path)
    body = json.dumps(action("m1")).encode()
    Signatures([coop.key]).verify(body, coop.sign(body))
    Signatures([other.key, coop.key]).verify(body, coop.sign(body))
    changed = body.replace(b"m1", b"m2")
    for bad in (None, "", "t=1,v1=5f", base64.b64encode(b"x" * 256).decode(), other.sign(body)):
        with pytest.raises(Refused, match="Coop-Signature"):
            Signatures([coop.key]).verify(body, bad)
    with pytest.raises(Refused, match="no --key"):
        Signatures([coop.key]).verify(changed, coop.sign(body))


def test_a_key_that_is_none_is_named(tmp_path):
    (tmp_path / "no.pem").write_text("-----BEGIN PUBLIC KEY-----\nMTIz\n-----END PUBLIC KEY-----\n")
    for name in ("no.pem", "missing.pem"):
        with pytest.raises(InputError, match=name):
            Signatures([tmp_path / name])


def test_the_same_callback_counts_once_and_an_old_one_undoes_nothing(tmp_path):
    clock = iter([1_000, 2_000, 3_000, 4_000])
    ban, granted = read(action("m1")), read(appeal("m1"))
    with Ledger(tmp_path, lambda: next(clock)) as ledger:
        assert ledger.add(ban) and ledger.add(granted)
        assert not ledger.add(ban)
    with Ledger(tmp_path, lambda: 9_000) as ledger:  # after a restart, too
        assert not ledger.add(ban) and not ledger.add(granted)
        assert ledger.verdicts == 2
    assert [one["is_abuse"] for one in lines(tmp_path)] == [True, False]


def test_a_clock_that_is_set_back_does_not_turn_the_order_around(tmp_path):
    with Ledger(tmp_path, lambda: 5_000_000) as ledger:
        ledger.add(read(action("m1")))
    with Ledger(tmp_path, lambda: 1_000_000) as ledger:
        assert ledger.ahead_us == 4_000_000
        ledger.add(read(appeal("m1")))
    assert [one["event_time"][17:] for one in lines(tmp_path)] == ["05.000000Z", "05.000001Z"]


def test_what_a_killed_receiver_left_half_written_is_cut_off(tmp_path):
    with Ledger(tmp_path, lambda: 1) as ledger:
        ledger.add(read(action("m1")))
    [path] = tmp_path.glob("day=*/coop.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-1])
    with Ledger(tmp_path, lambda: 2) as ledger:
        assert ledger.verdicts == 1
    assert path.read_bytes() == whole
    path.write_bytes(b'{"event_id": "other"}\n' + whole)
    with pytest.raises(InputError, match="line 1"), Ledger(tmp_path, lambda: 2):
        pass


def test_a_write_that_fails_leaves_nothing_and_may_be_tried_again(tmp_path, monkeypatch):
    import pipelines.coop.ledger as module

    def full(handle, data):
        real(handle, data[:7])
        raise OSError(28, "No space left on device")

    real = module.os.write
    with Ledger(tmp_path, lambda: 1) as ledger:
        ledger.add(read(action("m1")))
        with monkeypatch.context() as patched:
            patched.setattr(module.os, "write", full)
            with pytest.raises(OSError, match="No space"):
                ledger.add(read(action("m2")))
        assert [one["subject_id"] for one in lines(tmp_path)] == ["m1"]
        assert ledger.add(read(action("m2")))
    assert [one["subject_id"] for one in lines(tmp_path)] == ["m1", "m2"]


def test_two_receivers_do_not_write_one_folder(tmp_path):
    with (
        Ledger(tmp_path, lambda: 1),
        pytest.raises(BusyError, match="--to"),
        Ledger(tmp_path, lambda: 1),
    ):
        pass


def test_a_file_of_callbacks_is_taken_whole_or_not_at_all(coop, tmp_path):
    source, to = tmp_path / "kept.jsonl", tmp_path / "to"
    good = [
        coop.kept(action("m1"), "2026-03-02T10:00:00Z"),
        coop.kept(appeal("m1"), "2026-03-03T10:00:00Z"),
        coop.kept(action("m1", "note"), "2026-03-03T10:00:00Z"),
    ]
    now = day_us(dt.date(2026, 4, 1))
    signatures = Signatures([coop.key])
    bad = [
        good[0].replace("m1", "m2"),  # not what was signed
        coop.kept(action("m1"), "2026-05-01T10:00:00Z"),  # of the future
        coop.kept(action("m1"), "2026-03-01T10:00:00"),  # of no zone
        coop.kept(action("m1"), "0001-01-01T00:00:00Z"),  # of a time that was never set
        "{}",
    ]
    with Ledger(to, lambda: now) as ledger:
        for line in bad:
            source.write_text("\n".join([*good, line]))
            with pytest.raises(InputError, match="line 4") as refused:
                import_callbacks(source, ledger, signatures, RULES, now)
            assert "m1" not in str(refused.value) and ledger.verdicts == 0
        source.write_text("\n".join(good) + "\n")
        made = import_callbacks(source, ledger, signatures, RULES, now)
        assert (made.added, made.known, made.ignored) == (2, 0, 1)
        made = import_callbacks(source, ledger, signatures, RULES, now)
        assert (made.added, made.known, made.ignored) == (0, 2, 1)
    assert [one["event_time"] for one in lines(to)] == [
        "2026-03-02T10:00:00.000000Z",
        "2026-03-03T10:00:00.000000Z",
    ]


def test_training_sees_verdicts_and_reversals_of_a_file_as_of_each_day(coop, tmp_path, spec):
    events = [one for one in make_events(200, days=2) if one["kind"] == "post"]
    source = tmp_path / "input"
    write_events(source, events)
    one, other = events[0]["id"], events[1]["id"]
    third = START + dt.timedelta(days=2)
    kept = tmp_path / "kept.jsonl"
    kept.write_text("\n".join([
        coop.kept(action(one), f"{third:%Y-%m-%d}T10:00:00Z"),
        coop.kept(action(other, actor=None), f"{third:%Y-%m-%d}T11:00:00Z"),
        coop.kept(appeal(one), f"{third:%Y-%m-%d}T23:00:00Z"),
    ]))  # fmt: skip
    with Ledger(source / "coop", lambda: day_us(dt.date(2026, 4, 1))) as ledger:
        import_callbacks(kept, ledger, Signatures([coop.key]), RULES, day_us(dt.date(2026, 4, 1)))
    out = tmp_path / "out"
    backfill(BackfillRequest(spec, str(source), out, Days(START.date(), dt.date(2026, 3, 3))))
    layout = Layout(out)
    times = {row["id"]: row["at"] for row in events}
    made, label = label_history(spec, layout, one, _us(times[one]))
    assert [(said.positive, said.source) for said in made] == [
        (True, "moderator"),
        (False, "appeal"),
    ]
    assert label == 0

    def known(hour):
        moment = day_us(third.date()) + hour * 3_600_000_000
        ids = pa.chunked_array([[one, other]])
        found = load_labels(
            spec, layout, ids, np.array([_us(times[one]), _us(times[other])]), moment
        )
        return found.labels.tolist()

    assert known(12) == [1, 1]
    assert known(24) == [0, 1]


def _us(moment):
    at = dt.datetime.fromisoformat(moment)
    return round(at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp() * 1e6)


def test_the_receiver_takes_keeps_and_refuses_over_http(coop, tmp_path, spec):
    source = tmp_path / "input"
    now = dt.datetime.now(dt.UTC)
    at = (now - dt.timedelta(hours=1)).isoformat()
    write_events(source, [{"id": "m1", "at": at, "kind": "post", "who": "w1", "text": "hello"}])
    to = source / "coop"
    ban, granted = (json.dumps(one).encode() for one in (action("m1"), appeal("m1")))
    with receiving(to, coop.key) as (process, port):
        for path in ("livez", "readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as answer:
                assert answer.status == 200
        assert post(port, ban, coop.sign(ban)) == (200, {"status": "stored"})
        assert post(port, granted, coop.sign(granted)) == (200, {"status": "stored"})
        assert post(port, ban, coop.sign(ban)) == (200, {"status": "known"})
        assert post(port, ban, None)[0] == 401
        assert post(port, granted, coop.sign(ban))[0] == 401
        unknown = json.dumps(action("m1", "confetti")).encode()
        assert post(port, unknown, coop.sign(unknown))[0] == 422
        large = json.dumps(action("m1", custom={"text": "x" * (1 << 20)})).encode()
        assert post(port, large, coop.sign(large))[0] == 413
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
        assert process.wait(30) == 0
    assert "known 1, refused (not_a_callback) 1, refused (too large) 1" in told
    assert "confetti" not in told and "m1" not in told
    written = lines(to)
    assert [one["is_abuse"] for one in written] == [True, False]
    last = dt.date.fromisoformat(written[-1]["event_time"][:10])
    out = tmp_path / "out"
    first = (now - dt.timedelta(hours=1)).date()
    backfill(BackfillRequest(spec, str(source), out, Days(first, last)))
    made, label = label_history(spec, Layout(out), "m1", _us(at))
    assert [(said.positive, said.source) for said in made] == [
        (True, "moderator"),
        (False, "appeal"),
    ]
    assert label == 0


def send_bytes(port, *pieces):
    """The first line of the answer; pieces are sent apart."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        for piece in pieces:
            line.sendall(piece)
            time.sleep(0.05)
        return line.makefile("rb").readline().decode().strip()


def test_what_is_no_http_is_refused_and_nothing_of_it_is_logged(coop, tmp_path):
    said = json.dumps(action("secret-message", creator={"id": "secret-account"})).encode()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nCoop-Signature: {coop.sign(said)}\r\n".encode()
    whole = head + b"Content-Length: %d\r\n" % len(said)
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    with receiving(tmp_path, coop.key) as (process, port):
        for pieces, status in (
            ((b"POST / HTTP/1.0\r\nHost: x\r\n\r\n" + said,), 400),
            ((head + b"secret account\r\n\r\n",), 400),
            ((whole + b"secret-account: \0\r\n\r\n" + said,), 400),
            ((chunked + b"secret\r\n" + said,), 400),
            ((whole + b"Content-Encoding: br\r\n\r\n" + said,), 200),
            ((whole + b"Content-Encoding: gzip\r\n\r\n" + said,), 200),
        ):
            assert f" {status} " in send_bytes(port, *pieces), pieces
        packed = gzip.compress(said)
        headers = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        assert " 401 " in send_bytes(port, head + headers + packed)  # signed are other bytes
        for cut in (whole + b"\r\n" + said[:-1], chunked + b"%x\r\n" % len(said) + said):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(cut)
        assert " 200 " in send_bytes(port, whole + b"\r\n" + said)
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
        assert process.wait(30) == 0
    assert "secret" not in told and "Traceback" not in told
    assert "known 2, refused (broken) 2, refused (no http) 4, refused (unsigned) 1" in told
    assert "refused with 400, 1 until now: bytes that are no HTTP request" in told
    assert [one["account_id"] for one in lines(tmp_path)] == ["secret-account"]


@pytest.mark.slow
def test_what_was_answered_before_a_kill_is_there_and_nothing_else_twice(coop, tmp_path):
    bodies = [json.dumps(action(f"m{number}")).encode() for number in range(400)]
    signed = [(body, coop.sign(body)) for body in bodies]
    answered = []

    def send(one):
        try:
            status, _ = post(port, *one)
        except OSError:
            return
        if status == 200:
            answered.append(json.loads(one[0])["item"]["id"])
        if len(answered) == 100:
            process.kill()

    with (
        receiving(tmp_path, coop.key) as (process, port),
        concurrent.futures.ThreadPoolExecutor(8) as threads,
    ):
        list(threads.map(send, signed))
    assert len(answered) >= 100
    with receiving(tmp_path, coop.key) as (process, port):
        assert all(post(port, *one)[0] == 200 for one in signed)
    subjects = [one["subject_id"] for one in lines(tmp_path)]
    assert len(subjects) == len(set(subjects)) == 400
    assert set(answered) <= set(subjects)
