"""State that was made for another spec: refused by name, or dropped and not taken up again."""

from types import SimpleNamespace

import pytest
from backfill_world import CONFIG
from stream_world import NIGHT

from configs.errors import StateError
from configs.loader import loads
from pipelines.streaming.journal import Journal, save_snapshot
from pipelines.streaming.restore import from_night, read_snapshot, restore, snapshot_files
from scoring.engine import Engine, Resident
from scoring.fits import check_fits
from transforms.catalog import CATALOG

PEOPLE = "      people: {op: distinct, of: post, column: who}\n"
MORE = CONFIG.replace(
    PEOPLE, PEOPLE + "      money: {op: sum, of: post, column: amount, decimals: 2}\n"
)

ONE_MORE = CONFIG.replace(
    "inputs:\n", "  other:\n    key: {post: [text]}\n    windows: [1h]\n"
    "    aggregates:\n      n: {op: count, of: post}\ninputs:\n", 1
)  # fmt: skip


def test_a_bundle_that_needs_other_state_is_refused(tiny_spec):
    other = loads(MORE, "tiny.yaml", CATALOG)
    with pytest.raises(StateError, match=r"entity 'place'.*--from-night"):
        check_fits(tiny_spec, other)
    with pytest.raises(StateError, match=r"entity 'other'.*--from-night"):
        check_fits(tiny_spec, loads(ONE_MORE, "tiny.yaml", CATALOG))
    check_fits(tiny_spec, loads(CONFIG.replace("rounds: 20", "rounds: 7"), "tiny.yaml", CATALOG))


def test_a_scorers_own_state_of_another_spec_is_refused(tiny_spec, tmp_path):
    save_snapshot(tmp_path, -1, snapshot_files(tiny_spec, Resident.empty(tiny_spec), -1))
    Journal(tmp_path)
    with pytest.raises(StateError, match=r"entity 'place'.*aggregates or windows changed"):
        restore(loads(MORE, "tiny.yaml", CATALOG), Journal(tmp_path))


def test_a_nights_state_of_another_spec_is_refused(stream_house):
    folder = stream_house[0]
    with pytest.raises(StateError, match=r"entity 'place'.*aggregates or windows changed"):
        from_night(loads(MORE, "tiny.yaml", CATALOG), folder / "house", NIGHT)


def test_state_of_an_entity_that_a_bundle_does_without_is_dropped_and_not_taken_up_again(
    tiny_spec, tmp_path
):
    before = loads(ONE_MORE, "tiny.yaml", CATALOG)
    engine = Engine(before, Resident.empty(before), None)
    engine.swap(SimpleNamespace(bundle=SimpleNamespace(spec=tiny_spec)))
    assert "other" in before.entities
    assert engine.resident.states.keys() == set(tiny_spec.entities)
    files = snapshot_files(tiny_spec, Resident.empty(before), -1)  # one that began before the swap
    assert "other.arrow" not in files
    save_snapshot(tmp_path, -1, files)
    wanted = r"no state of entity 'other'.*--from-night.*promote a bundle without 'other'"
    with pytest.raises(StateError, match=wanted):
        restore(before, Journal(tmp_path))


def test_state_that_an_earlier_build_left_in_a_snapshot_is_not_taken_up(tiny_spec, tmp_path):
    before = loads(ONE_MORE, "tiny.yaml", CATALOG)
    stale = snapshot_files(before, Resident.empty(before), -1)["other.arrow"]
    files = snapshot_files(tiny_spec, Resident.empty(tiny_spec), -1) | {"other.arrow": stale}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(StateError, match="no state of entity 'other'"):
        read_snapshot(before, tmp_path)
