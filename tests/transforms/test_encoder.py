"""Encoders around their network: shapes, batches, files, the graph's folder, bundles, a night."""

import json

import numpy as np
import pyarrow as pa
import pytest
from backfill_world import CONFIG, make_events
from bundle_world import make_parts
from encoder_world import SIZE, stand_in, without_torch, write_files
from graph_world import as_batch, make_rows
from hypothesis import given
from hypothesis import strategies as st
from nightly_world import request, write_events

from configs.errors import BundleError, ConfigError, InputError
from configs.fingerprint import dataset_fingerprint, fingerprint
from configs.loader import loads
from pipelines.analyze import analyze
from pipelines.nightly import nightly
from scoring.bundle import load_bundle, write_bundle
from scoring.files import sha256_of
from scoring.manifest import MANIFEST
from scoring.scorer import Scorer
from transforms import encoder_model
from transforms.catalog import CATALOG
from transforms.encoder import ENCODER, mean_of, padded_width
from transforms.encoder_model import FILES, copy_encoder, load_encoder, require_encoder
from transforms.executor import Executor
from transforms.inputs import describe_inputs, numeric_names
from transforms.steps.graph import apply_graph

__all__ = ["without_torch"]

NGRAMS = "text: {column: clean, buckets: 256}"
words = st.lists(
    st.sampled_from(["win", "money", "now", "\u00e9t\u00e9", "\u65e5\u672c"]), max_size=40
)
texts = st.one_of(st.none(), st.just("  "), words.map(" ".join))


def config(folder, more=""):
    return CONFIG.replace(NGRAMS, f"text: {{column: clean, encoder: {folder}{more}}}")


@pytest.fixture
def encoder(tmp_path):
    return stand_in(write_files(tmp_path / "model"), 32)


@given(st.lists(texts, max_size=12))
def test_a_vector_does_not_depend_on_the_batch(tmp_path_factory, some):
    encoder = stand_in(write_files(tmp_path_factory.mktemp("m") / "model"), 32)
    whole = encoder.encode(pa.array(some, pa.string()))
    assert whole.shape == (len(some), SIZE) and whole.dtype == np.float32
    for row, text in enumerate(some):
        alone = encoder.encode(pa.array([text], pa.string()))
        assert alone.toarray().tobytes() == whole[row].toarray().tobytes()
        length = np.linalg.norm(alone.toarray().astype(float))
        assert length == (pytest.approx(1) if (text or "").strip() else 0)


def test_a_text_of_which_no_token_is_left_is_as_an_empty_one(encoder):
    watched = type(encoder)(lambda _: [], encoder.forward, SIZE, 32, 0)
    made = watched.encode(pa.array(["\u200b", None]))
    assert made.shape == (2, SIZE) and not made.toarray().any()


def test_a_text_that_comes_often_is_encoded_once_and_alone(encoder):
    shapes = []

    def forward(ids, mask):
        shapes.append((ids.shape, int(mask.sum())))
        return encoder.forward(ids, mask)

    watched = type(encoder)(encoder.tokenize, forward, SIZE, 32, 0)
    watched.encode(pa.array(["a b", "a b", "c " * 20, "d " * 90, "", None, "a b"]))
    assert shapes == [((1, 16), 2), ((1, 32), 20), ((1, 32), 32)]


@given(st.integers(2, 512), st.integers(8, 512))
def test_a_shape_holds_its_text_and_there_are_few(count, most):
    count = min(count, most)
    assert count <= padded_width(count, most) <= most
    assert len({padded_width(one, most) for one in range(1, most + 1)}) <= 6


def test_padding_is_no_part_of_the_mean():
    hidden = np.array([[1, 0], [0, 1], [50, 70]], np.float32)
    assert mean_of(hidden, 2).tolist() == pytest.approx([0.5**0.5, 0.5**0.5])
    assert mean_of(np.zeros((4, 2), np.float32), 3).tolist() == [0, 0]


def test_settings_of_ngrams_and_of_an_encoder_exclude_each_other():
    for more, key in ((", buckets: 99", "buckets"), (", char_ngrams: [3, 5]", "char_ngrams")):
        with pytest.raises(ConfigError, match=f"text: {key} means nothing here"):
            loads(config("m", more), "c.yaml", CATALOG)
    with pytest.raises(ConfigError, match="text: encoder_tokens means nothing here"):
        loads(CONFIG.replace("buckets: 256", "encoder_tokens: 32"), "c.yaml", CATALOG)


def test_an_encoder_counts_only_where_there_is_one():
    plain, made = (loads(text, "c.yaml", CATALOG) for text in (CONFIG, config("m")))
    other = loads(config("m", ", encoder_tokens: 32"), "c.yaml", CATALOG)
    assert len({fingerprint(one) for one in (plain, made, other)}) == 3
    assert fingerprint(plain) == "c0afa80bc41969cb"  # of the release before there were any
    assert dataset_fingerprint(plain) == dataset_fingerprint(made)
    [about] = [one.about for one in describe_inputs(made, CATALOG) if one.role == "text"]
    assert "vector of its first 64 tokens" in about


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors; expected"),
        (lambda f: (f / "config.json").write_text("["), "config.json is no configuration"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json is no configuration"),
        (
            lambda f: (f / "config.json").write_text('{"max_position_embeddings": 32}'),
            "reads at most 32 tokens; encoder_tokens is 64",
        ),
        (
            lambda f: [
                (f / "1_Pooling").mkdir(),
                (f / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}'),
            ],
            "does not pool by the mean",
        ),
        (
            lambda f: [(f / "1_Pooling").mkdir(), (f / "1_Pooling/config.json").write_text("[3]")],
            "config.json is no configuration of a pooling",
        ),
    ],
)
@pytest.mark.usefixtures("without_torch")
def test_an_encoder_that_cannot_be_used_is_refused_first(tmp_path, spoil, said):
    folder = write_files(tmp_path / "model")
    spec = loads(config(folder), "c.yaml", CATALOG)
    require_encoder(spec)
    spoil(folder)
    with pytest.raises(InputError, match=said):
        require_encoder(spec)
    with pytest.raises(InputError, match=said):
        copy_encoder(spec.inputs.text, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_model.importlib.util, "find_spec", lambda name: None)
    spec = loads(config(write_files(tmp_path / "model")), "c.yaml", CATALOG)
    with pytest.raises(InputError, match=r"needs torch, .*pip install 'lockstep\[transformers\]'"):
        require_encoder(spec)
    copied = write_files(tmp_path / "copy")
    (copied / "probes.json").write_text('{"versions": {}, "sha256": ""}')
    encoder_model._loaded.cache_clear()
    with pytest.raises(BundleError, match="needs torch"):  # which a running scorer refuses
        load_encoder(copied, 64)
    with pytest.raises(InputError, match="is no folder of this machine"):
        require_encoder(loads(config("nowhere"), "c.yaml", CATALOG))


@pytest.mark.usefixtures("without_torch")
def test_the_graph_holds_the_encoder_and_gives_its_vectors(tmp_path):
    model = write_files(tmp_path / "model")
    spec = loads(config(model), "c.yaml", CATALOG)
    numeric, table = make_rows(spec, 60, seed=3)
    analyze(spec, numeric, table, tmp_path / "graph")
    assert {name: sha256_of(tmp_path / "graph" / ENCODER / name) for name in FILES} == {
        name: sha256_of(model / name) for name in FILES
    }
    executor = Executor(tmp_path / "graph", spec)
    made = executor.transform(numeric, as_batch(table))
    expected = stand_in(model, 64).encode(as_batch(table).column("clean"))
    assert made.text.toarray().tobytes() == expected.toarray().tobytes()
    without = loads(CONFIG, "c.yaml", CATALOG)
    analyze(without, numeric, table, tmp_path / "ngrams")
    plain = Executor(tmp_path / "ngrams", without).transform(numeric, as_batch(table))
    assert made.numeric.tobytes() == plain.numeric.tobytes()
    assert made.categories.tobytes() == plain.categories.tobytes()
    block = {name: numeric[:, at] for at, name in enumerate(numeric_names(spec))}
    rows = pa.RecordBatch.from_pydict({**block, **table.to_pydict()})
    applied = apply_graph(executor, rows)
    assert "text_ids" not in applied.schema.names
    assert np.array(applied.column("text_vector").to_pylist(), np.float32).tobytes() == (
        expected.toarray().tobytes()
    )


@pytest.mark.usefixtures("without_torch")
def test_a_night_trains_on_vectors_and_its_bundle_refuses_another_encoder(tmp_path):
    model = write_files(tmp_path / "model")
    source = write_events(tmp_path / "events", make_events(1500, days=8))
    text = config(model)
    outcome = nightly(request(source, tmp_path / "out", text))
    [folder] = [path for path in (tmp_path / "out" / "bundles").iterdir() if path.is_dir()]
    bundle = load_bundle(folder, CATALOG)
    assert bundle.models.text.weights.shape == (SIZE,) and outcome is not None
    assert np.abs(bundle.models.text.weights).max() > 0
    manifest = json.loads((folder / MANIFEST).read_text())
    assert {f"transform_graph/{ENCODER}/{name}" for name in FILES} <= set(manifest["files"])
    spec, rng = bundle.spec, np.random.default_rng(0)
    table = pa.table({"where": ["x", None, "y"], "clean": ["win money", None, "see you at noon"]})
    numeric = rng.normal(size=(3, len(numeric_names(spec)))).astype(np.float32)
    (model / "model.safetensors").unlink()  # a bundle needs nothing outside of itself
    encoder_model._loaded.cache_clear()
    scorer = Scorer(load_bundle(folder, CATALOG))
    whole = scorer.score(numeric, as_batch(table))
    for row in range(3):
        alone = scorer.score(numeric[row : row + 1], as_batch(table.slice(row, 1)))
        assert alone.raw.tobytes() == whole.raw[row : row + 1].tobytes()
    changed = folder / "transform_graph" / ENCODER / "model.safetensors"
    changed.write_bytes(b"ours")
    with pytest.raises(BundleError, match=r"model\.safetensors was changed"):
        load_bundle(folder, CATALOG)
    entry = {"bytes": 4, "sha256": sha256_of(changed)}
    manifest["files"][f"transform_graph/{ENCODER}/model.safetensors"] = entry
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="makes other bits here"):
        load_bundle(folder, CATALOG)
    probed = folder / "transform_graph" / ENCODER / "probes.json"
    made = json.loads(probed.read_text())
    made["sha256"] = encoder_model._probe(stand_in(changed.parent, 64))
    probed.write_text(json.dumps(made))
    entry = {"bytes": probed.stat().st_size, "sha256": sha256_of(probed)}
    manifest["files"][f"transform_graph/{ENCODER}/probes.json"] = entry
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="its parts make"):  # the name covers the encoder
        load_bundle(folder, CATALOG)


@pytest.mark.usefixtures("without_torch")
def test_a_bundle_is_named_by_what_its_encoder_is_and_not_by_where_it_was(tmp_path, monkeypatch):
    made = []
    for place, weights in (("here", b"ours"), ("there", b"ours"), ("other", b"else")):
        path = tmp_path / f"{place}.yaml"
        path.write_text(config(write_files(tmp_path / place, weights)))
        made.append(make_parts(path=path))
    here, there, other = (write_bundle(parts, tmp_path / "store") for parts in made)
    assert here == there != other
    with monkeypatch.context() as patch:  # as releases before named it
        patch.setattr("scoring.bundle.spec_digest", fingerprint)
        before = write_bundle(made[0], tmp_path / "store")
    assert before != here and load_bundle(before, CATALOG).fingerprint == before.name


@pytest.mark.usefixtures("without_torch")
def test_a_machine_that_makes_other_bits_is_refused(tmp_path, monkeypatch):
    spec = loads(config(write_files(tmp_path / "model")), "c.yaml", CATALOG)
    copy_encoder(spec.inputs.text, tmp_path / "copy")
    assert load_encoder(tmp_path / "copy", 64).size == SIZE

    def other(folder, tokens):
        one = stand_in(folder, tokens)
        return type(one)(
            one.tokenize, lambda *a: np.nextafter(one.forward(*a), np.float32(9)), SIZE, tokens, 0
        )

    monkeypatch.setattr(encoder_model, "_load", other)
    encoder_model._loaded.cache_clear()
    with pytest.raises(BundleError, match=r"other bits here \(torch 0.0, a stand-in\).*train anew"):
        load_encoder(tmp_path / "copy", 64)
    (tmp_path / "copy" / "probes.json").unlink()
    with pytest.raises(BundleError, match="incomplete"):
        load_encoder(tmp_path / "copy", 64)
