"""The real network, by PyTorch and Transformers; skipped with the reason where they are not."""

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from encoder_world import minilm

from configs.errors import BundleError
from configs.schema import TextInput
from transforms import encoder_model
from transforms.encoder_model import FILES, copy_encoder, load_encoder

__all__ = ["minilm"]

TEXTS = [
    "win free money now", "", None, "claim your prize, it waits for you " * 6, "see you at noon",
    "\u043f\u0440\u0438\u0432\u0435\u0442 \u65e5\u672c\u8a9e \U0001f44d\U0001f3fd", "a",
    "word " * 300, "win free money now", "nul \x00 \u202e mark",
]  # fmt: skip
# Another process, in which TensorFlow comes first, as in a training run. Triton would end it.
ELSEWHERE = """
import sys
sys.path.append(sys.argv[1])
import tensorflow, pyarrow, pathlib
from transforms.encoder_model import load_encoder
encoder = load_encoder(pathlib.Path(sys.argv[2]), 64)
texts = pyarrow.array(eval(sys.argv[3]))
sys.stdout.buffer.write(encoder.encode(texts).toarray().tobytes())
"""


@pytest.fixture(scope="module")
def copied(minilm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder") / "copy"
    copy_encoder(TextInput("t", encoder=str(minilm), encoder_tokens=64), folder)
    return folder


def test_bits_do_not_depend_on_the_batch_nor_on_threads(copied):
    import torch

    encoder = load_encoder(copied, 64)
    whole = encoder.encode(pa.array(TEXTS)).toarray()
    assert whole.shape == (10, 384) and not whole[1:3].any()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            alone = [encoder.encode(pa.array([text], pa.string())).toarray() for text in TEXTS]
            assert np.concatenate(alone).tobytes() == whole.tobytes()
    finally:
        torch.set_num_threads(before)
    assert encoder.encode(pa.array(TEXTS[::-1])).toarray()[::-1].tobytes() == whole.tobytes()


def test_another_process_makes_the_same_bits_after_tensorflow(minilm, copied, tmp_path):
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("import os; os._exit(9)")
    command = [sys.executable, "-c", ELSEWHERE, str(minilm.parents[1]), str(copied), repr(TEXTS)]
    env = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(tmp_path)}
    made = subprocess.run(command, capture_output=True, timeout=300, env=env)
    assert made.returncode == 0, made.stderr[-800:]
    whole = load_encoder(copied, 64).encode(pa.array(TEXTS)).toarray()
    assert made.stdout == whole.tobytes()


def test_texts_that_mean_the_same_are_near(copied):
    some = ["you have won a free prize", "claim your reward at no cost", "the meeting is at noon"]
    vectors = load_encoder(copied, 64).encode(pa.array(some)).toarray()
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] + 0.2


def test_vectors_are_those_of_sentence_transformers(copied):
    """A text in one shape without padding, by the library's own means, to float32's last bits."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(copied), local_files_only=True)
    ids = Tokenizer.from_file(str(copied / "tokenizer.json"))
    ids.no_padding()
    encoder = load_encoder(copied, 64)
    for text in (TEXTS[0], TEXTS[3][:100], TEXTS[5]):
        with torch.inference_mode():
            hidden = model(torch.tensor([ids.encode(text).ids])).last_hidden_state[0].mean(0)
        expected = torch.nn.functional.normalize(hidden, dim=0).numpy()
        made = encoder.encode(pa.array([text])).toarray()[0]
        np.testing.assert_allclose(made, expected, atol=1e-6)


def test_nothing_is_asked_of_the_network(minilm, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    encoder_model._loaded.cache_clear()
    text = TextInput("t", encoder=str(minilm), encoder_tokens=16)
    copy_encoder(text, tmp_path / "copy")
    assert load_encoder(tmp_path / "copy", 16).size == 384


def test_a_bundle_takes_only_what_is_no_pickle(minilm, copied):
    assert sorted(path.name for path in copied.iterdir()) == sorted([*FILES, "probes.json"])
    versions = json.loads((copied / "probes.json").read_text())["versions"]
    assert set(versions) == {"torch", "transformers", "tokenizers"}


def cut_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def rename_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    assert b"encoder.layer.3." in data
    data = data.replace(b'"encoder.layer.3.', b'"encoder.layer.9.')
    (folder / "model.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut_weights, "cannot be loaded"),
        (rename_weights, r"lacks .*layer\.3\..*, which config\.json asks for"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), r"tokenizer\.json is damaged"),
        (lambda f: (f / "config.json").write_text('{"model_type": "no"}'), "cannot be loaded"),
        (
            lambda f: (f / "config.json").write_text(
                (f / "config.json").read_text().replace("1e-12", "1e-6")
            ),
            "makes other bits here",
        ),
    ],
)
def test_damaged_files_are_refused(copied, tmp_path, spoil, said):
    folder = shutil.copytree(copied, tmp_path / "copy")
    spoil(folder)
    with pytest.raises(BundleError, match=said):
        load_encoder(folder, 64)
