"""A text encoder through every job: a training run, the stream, parity, an engine.

With the stand-in for its network, and with PyTorch's where that is (`make transformers`); the
second is skipped, with the reason, where it is not.
"""

import contextlib
import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
from backfill_world import CONFIG, make_events, tree_bytes
from encoder_world import minilm, standing_in, write_files
from engines import HANG_UP, running_prism
from stream_world import NIGHT, after_night, backfilled, logged, publish, request

from configs.loader import loads
from pipelines.backfill import BackfillRequest, backfill
from pipelines.layout import Days
from pipelines.nightly import NightlyRequest, nightly
from pipelines.parity import check_ideal, check_served
from pipelines.streaming.run import stream
from scoring.bundle import load_bundle
from transforms.catalog import CATALOG
from transforms.encoder import ENCODER
from transforms.encoder_model import FILES

__all__ = ["minilm"]

FIRST, LAST = dt.date(2026, 3, 1), dt.date(2026, 3, 10)


def worded(events):
    """With texts of several shapes, long ones so rarely that many a batch has none; some empty."""
    posts = [event for event in events if event["kind"] == "post"]
    for number, event in enumerate(posts):
        times = 40 if number % 90 == 0 else number % 4
        event["text"] = f"{event['text']} " + f"from {number % 60} people " * times
        if number % 31 == 0:
            event["text"] = None if number % 2 else " "
    return events


@pytest.fixture(scope="module", params=["stand-in", "minilm"])
def encoder_house(request, tmp_path_factory):
    """As `stream_house`: ten days of events, a promoted night, all days backfilled and scored."""
    folder = tmp_path_factory.mktemp("encoder")
    with contextlib.ExitStack() as stack:
        if request.param == "minilm":
            encoder = request.getfixturevalue("minilm")
        else:
            stack.enter_context(standing_in())
            encoder = write_files(folder / "model")
        inputs = f"text: {{column: clean, encoder: {encoder}, encoder_tokens: 100}}"
        config = CONFIG.replace("text: {column: clean, buckets: 256}", inputs)
        events = worded(sorted(make_events(1200, days=10), key=lambda e: (e["at"], e["id"])))
        source = folder / "input"
        source.mkdir()
        (source / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
        spec, night = loads(config, "tiny.yaml", CATALOG), NIGHT + dt.timedelta(days=1)
        made = nightly(
            NightlyRequest(spec, config, str(source), folder / "house", night, since=FIRST)
        )
        whole = backfill_request(spec, source, folder / "whole", made.folder)
        backfill(whole)
        yield folder, events, whole


def backfill_request(spec, source, out, bundle, flags=()):
    return BackfillRequest(spec, str(source), out, Days(FIRST, LAST), bundle=bundle, flags=flags)


def test_a_training_run_puts_the_encoder_into_its_bundle(encoder_house):
    folder, _, whole = encoder_house
    bundle = load_bundle(whole.bundle, CATALOG)
    assert bundle.models.text is not None and np.abs(bundle.models.text.weights).max() > 0
    copied = {path.name for path in (whole.bundle / "transform_graph" / ENCODER).iterdir()}
    assert set(FILES) < copied
    scores = {inputs[-1] for inputs in model_inputs(folder).values()}
    assert len(scores) > 50, "otherwise the equality of scores would show nothing"


def model_inputs(folder):
    """What the booster saw of each event of the backfill; last is the text model's score."""
    frame = pl.read_parquet(str(folder / "whole" / "features" / "**" / "*.parquet"))
    return dict(zip(frame["event_id"].to_list(), frame["model_inputs"].to_list(), strict=True))


def test_the_stream_scores_as_the_backfill_and_parity_is_clean(encoder_house, server, tmp_path):
    folder, events, whole = encoder_house
    live = after_night(events)
    publish(server, live, disorder=1, duplicates=0.1)
    stream(request(folder, server, tmp_path / "state"))
    expected = backfilled(folder, whole.spec)
    found = logged(tmp_path / "state", whole.spec)
    assert len(found) == sum(event["kind"] == "post" for event in live) > 50
    assert [event for event, (*bits, _) in found.items() if expected[event] != tuple(bits)] == []
    inputs = model_inputs(folder)
    for event, (_, _, row) in found.items():
        made, wanted = (np.array(one, np.float32) for one in (row["inputs"], inputs[event]))
        assert made.tobytes() == wanted.tobytes()
    for report in (
        check_served(tmp_path / "state", folder / "house" / "bundles", None),
        check_ideal(tmp_path / "state", folder / "house" / "bundles", None, None),
    ):
        assert report.events == sum(report.compared) == len(found)
        assert report.differing == 0
        report.require()


@pytest.mark.slow
@pytest.mark.filterwarnings(HANG_UP)
def test_score_on_an_engine_gives_the_same_bytes(encoder_house, tmp_path):
    folder, _, whole = encoder_house
    with running_prism(tmp_path / "prism.log") as flags:
        backfill(
            backfill_request(
                whole.spec, folder / "input", tmp_path / "out", whole.bundle, tuple(flags)
            )
        )
    made, expected = tree_bytes(tmp_path / "out"), tree_bytes(folder / "whole")
    assert sorted(made) == sorted(expected)
    assert [name for name in expected if made[name] != expected[name]] == []
