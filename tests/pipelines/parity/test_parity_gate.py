"""A nightly whose gate asks for parity promotes only past a clean log of the scorer."""

import datetime as dt
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, tree_bytes
from nightly_world import request as night_request
from stream_world import NIGHT

from configs.errors import ConfigError, GateError
from configs.loader import loads
from pipelines.layout import DAY_US, Layout
from pipelines.nightly import nightly
from pipelines.parity.gate import check_parity, last_parity
from pipelines.streaming.journal import list_segments, read_segment
from scoring.engine import NUMERIC, SCORE
from scoring.store import Store
from training.report import NightlyReport
from transforms.catalog import CATALOG

ASKING = CONFIG.replace("min_positives: 1}", "min_positives: 1, parity: 6h}").replace(
    "rounds: 20", "rounds: 9"
)


LATER = NIGHT + dt.timedelta(days=2)
"""A night after the one that serves: on one more day both can be compared."""


def ask(folder, house, scorer, config=ASKING, **changes):
    source = str(folder / "input")
    return nightly(night_request(source, house, config, LATER, scorer=scorer, **changes))


@pytest.fixture
def house(stream_house, tmp_path):
    """A copy of the house whose first bundle serves."""
    shutil.copytree(stream_house[0] / "house", tmp_path / "house")
    return tmp_path / "house"


def with_another_bit(state, copy):
    """The log with the lowest bit of one served feature turned."""
    shutil.copytree(state, copy)
    *_, (_, path), (_, _) = list_segments(copy)
    batches = list(read_segment(path))
    last = batches[-1]
    lists = last.column(NUMERIC)
    values = lists.flatten().to_numpy().copy()
    place = int(np.flatnonzero(~np.isnan(values))[-1])
    values.view(np.uint32)[place] ^= 1
    changed = pa.ListArray.from_arrays(
        lists.offsets,
        pa.array(values),
        mask=pa.array(~last.column(SCORE).is_valid().to_numpy(False)),
    )
    batches[-1] = last.set_column(last.schema.get_field_index(NUMERIC), NUMERIC, changed)
    batches = [pa.RecordBatch.from_arrays(one.columns, names=one.schema.names) for one in batches]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, batches[0].schema) as out:
        for one in batches:
            out.write_batch(one)
    return copy


def test_a_clean_log_lets_the_new_bundle_serve(scored, stream_house, house):
    state, _ = scored("orderly", duplicates=0.1)
    made = ask(stream_house[0], house, state)
    assert Store(house / "bundles").serving() == made.bundle != stream_house[2].bundle
    report = json.loads((Path(made.page).parent / "report.json").read_text())
    rule = report["gate"]["rules"][-1]
    assert (rule["name"], rule["passed"]) == ("parity", True)
    assert "the newest 6h of the scorer's log" in rule["words"]
    found = json.loads((Path(made.page).parent / "parity.json").read_text())
    assert [one["mode"] for one in found] == ["as served", "ideal"]
    assert all(one["clean"] and 0 < one["events"] < 300 for one in found)
    assert "Not clean" not in (Path(made.page).parent / "parity.html").read_text()
    shown = made.report.parity
    assert [(one.mode, one.events, one.clean) for one in shown] == [
        (one["mode"], one["events"], True) for one in found
    ]
    layout = Layout(house)
    assert last_parity(layout, LATER + dt.timedelta(9)) == shown
    assert last_parity(layout, LATER - dt.timedelta(1)) == ()
    broken = Path(layout.report(LATER + dt.timedelta(1)))
    broken.mkdir()
    (broken / "parity.json").write_text('[{"mode": 7}]')
    assert last_parity(layout, LATER + dt.timedelta(9)) == shown, "the newest that can be read"


def test_one_turned_bit_keeps_the_new_bundle_from_serving(scored, stream_house, house, tmp_path):
    state = with_another_bit(scored("orderly", duplicates=0.1)[0], tmp_path / "state")
    store = Store(house / "bundles")
    known = {info.fingerprint for info in store.list()}
    before = {part: tree_bytes(house / part) for part in ("features", "state", "days")}
    with pytest.raises(GateError, match="kept and not promoted") as refusal:
        ask(stream_house[0], house, state)
    assert refusal.value.exit_code == 8
    assert "as served: 1 of" in str(refusal.value)
    assert store.serving() == stream_house[2].bundle
    kept = {info.fingerprint for info in store.list()} - known
    assert len(kept) == 1, "the new bundle is there, and can be promoted by hand"
    store.verify(kept.pop())
    for part, files in before.items():
        after = tree_bytes(house / part)
        assert {path: after[path] for path in files} == files
    folder = house / "reports" / str(LATER)
    assert "refused" in (folder / "report.html").read_text()
    assert "Not clean" in (folder / "parity.html").read_text()
    told = NightlyReport.from_json((folder / "report.json").read_bytes()).parity
    assert next((one.mode, one.clean, one.differing) for one in told) == ("as served", False, 1)


def test_a_night_that_does_not_promote_is_not_asked(stream_house, house):
    made = ask(stream_house[0], house, None, promote=False)
    assert Store(house / "bundles").serving() == stream_house[2].bundle
    assert made.report.gate.passed


def test_without_evidence_there_is_no_parity(scored, stream_house, tmp_path):
    state, bundles = scored("orderly", duplicates=0.1)
    archive, report = str(stream_house[0] / "input"), tmp_path / "report"
    for unknown, words in ((None, "give --scorer"), (tmp_path / "none", "holds no decision")):
        rule = check_parity(DAY_US, unknown, bundles, archive, report)
        assert not rule.passed
        assert words in rule.words
    assert check_parity(DAY_US, None, tmp_path / "no bundles", archive, report).passed
    assert check_parity(DAY_US, state, bundles, archive, report).passed


def test_the_setting_is_a_length_of_time():
    assert loads(ASKING, "tiny.yaml", CATALOG).gate.parity_us == DAY_US // 4
    assert loads(CONFIG, "tiny.yaml", CATALOG).gate.parity_us == 0
    with pytest.raises(ConfigError, match="parity: expected a number and a unit"):
        loads(ASKING.replace("parity: 6h", "parity: required"), "tiny.yaml", CATALOG)
