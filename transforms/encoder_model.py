"""The files of a sentence encoder, and the network that they hold, run by PyTorch.

The three files are those that `transformers` and `sentence-transformers` save: `config.json`,
`tokenizer.json` and `model.safetensors`. They are read from a local folder and nothing is ever
downloaded; no pickle is read, no code of theirs is run. `copy_encoder` puts them beside an analysed
graph, so that they go into the bundle, with vectors of a few texts (`probes.json`): a machine or a
library that makes other bits of these is refused, as parity would not hold there.

PyTorch and Transformers are imported when an encoder is loaded: they are the optional extra
`lockstep[transformers]`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from configs.errors import BundleError, InputError
from configs.schema import Spec, TextInput
from transforms.encoder import Encoder, Floats, Ids

CONFIG, TOKENIZER, WEIGHTS, PROBED = (
    "config.json", "tokenizer.json", "model.safetensors", "probes.json"
)  # fmt: skip
FILES = (CONFIG, TOKENIZER, WEIGHTS)
_POOLING = "1_Pooling/config.json"
_LIBRARIES = ("torch", "transformers", "tokenizers")
_HINT = "install the optional extra: pip install 'lockstep[transformers]'"
_LONG = "win free money now, \u00e9t\u00e9 \u65e5\u672c \U0001f44d "


def require_encoder(spec: Spec) -> None:
    """Whether the encoder of a spec, if it has one, can be used here; asked before long work.

    Raises:
      InputError: its files or the libraries are not there, or it is one that is not supported.
    """
    if spec.inputs.text is not None and spec.inputs.text.encoder:
        _check_files(Path(spec.inputs.text.encoder), spec.inputs.text.encoder_tokens)


def copy_encoder(text: TextInput, folder: Path) -> None:
    """Copies the files of a config's encoder, and writes down what bits they make here.

    Args:
      text: of the config, with an encoder.
      folder: made here.

    Raises:
      InputError: as `require_encoder`.
    """
    source = Path(text.encoder)
    _check_files(source, text.encoder_tokens)
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(source / name, folder / name)
    _, sha256 = _loaded(_Source(_digest(folder), text.encoder_tokens, folder))
    made = {"versions": _versions(), "sha256": sha256}
    (folder / PROBED).write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", "utf-8")


def load_encoder(folder: Path, tokens: int) -> Encoder:
    """The encoder of an analysed graph; files with the same bytes are loaded once in a process.

    Args:
      folder: as `copy_encoder` wrote it.
      tokens: most tokens of a text that are read.

    Raises:
      BundleError: a file is missing or damaged, this machine makes other bits of it, or the
        libraries are not there.
    """
    try:
        probed = json.loads((folder / PROBED).read_text("utf-8"))
        versions, wanted = probed["versions"], probed["sha256"]
        digest = _digest(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"the text encoder in {folder} is incomplete: {error!r}") from error
    try:
        encoder, made = _loaded(_Source(digest, tokens, folder))
    except InputError as error:  # a scorer that runs goes on with what it has
        raise BundleError(str(error)) from error
    if made != wanted:
        raise BundleError(
            f"the text encoder makes other bits here ({_shown(_versions())}, {_processor()}) than "
            f"where the model was trained ({_shown(versions)}): scores would differ; score on "
            "such a machine with these versions, or train anew here"
        )
    return encoder


@dataclasses.dataclass(frozen=True)
class _Source:
    digest: str
    tokens: int
    folder: Path = dataclasses.field(compare=False)


@functools.lru_cache(maxsize=2)  # one serves, one is loaded beside it
def _loaded(source: _Source) -> tuple[Encoder, str]:
    encoder = _load(source.folder, source.tokens)
    return encoder, _probe(encoder)


def _probe(encoder: Encoder) -> str:
    """A digest of the vectors of texts that are as long as each shape, and of more than one."""
    texts = ["a"] + [_LONG * (width // 8) for width in (8, 16, 32, 64, 128, 256, 512)]
    return hashlib.sha256(encoder.encode(pa.array(texts)).data.tobytes()).hexdigest()


def _load(folder: Path, tokens: int) -> Encoder:
    """Raises BundleError where a file is not what its name says."""
    _require_libraries()
    _prepare()
    import torch
    from safetensors import SafetensorError
    from tokenizers import Tokenizer
    from transformers import AutoModel
    from transformers.utils import logging

    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises no other class
        raise BundleError(f"{folder / TOKENIZER} is damaged: {error}") from error
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model, info = AutoModel.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise BundleError(f"the text encoder in {folder} cannot be loaded: {error}") from error
    # What a file lacks would be filled with random numbers; the pooler's output is not used.
    lacking = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if lacking or info["mismatched_keys"]:
        what = f"lacks {lacking[0]}" if lacking else "has weights of other shapes"
        raise BundleError(
            f"{folder / WEIGHTS} {what}, which {CONFIG} asks for; copy the model anew"
        )
    model.eval()
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens)
    return Encoder(
        tokenize=lambda text: list(tokenizer.encode(text).ids),
        forward=_forward(model),
        size=int(model.config.hidden_size),
        tokens=tokens,
        pad=int(model.config.pad_token_id or 0),
    )


def _forward(model: Any) -> Callable[[Ids, Ids], Floats]:
    import torch

    def forward(ids: Ids, mask: Ids) -> Floats:
        # Sums of a matrix product are cut by threads, and bits with them. Each thread has a number
        # of its own, so it is said each time.
        torch.set_num_threads(1)
        with torch.inference_mode():
            made = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        hidden: Floats = made.last_hidden_state[0].numpy()
        return hidden

    return forward


def _prepare() -> None:
    """Before PyTorch is imported: without Triton, its compiler for GPUs.

    Triton and TensorFlow each bring an LLVM, and the second that is loaded ends the process
    ("inconsistency in registered CommandLine options"). Nothing here is compiled for a GPU.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns of forks, and gains nothing
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


def _require_libraries() -> None:
    for name in _LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"a text encoder needs {name}, which is not installed; {_HINT}")


def _check_files(folder: Path, tokens: int) -> None:
    what = f"inputs.text.encoder: {folder}"
    if not folder.is_dir():
        raise InputError(
            f"{what} is no folder of this machine; expected one with the model's files"
        )
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(
                f"{what} has no {name}; expected {', '.join(FILES)}, as "
                "`save_pretrained(FOLDER, safe_serialization=True)` of Transformers writes them"
            )
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        most = int(config.get("max_position_embeddings", tokens))
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{what}: {CONFIG} is no configuration of a model") from error
    if tokens > most:
        raise InputError(
            f"{what} reads at most {most} tokens; encoder_tokens is {tokens}: lower it"
        )
    if (folder / _POOLING).is_file():
        try:
            pooling = dict(json.loads((folder / _POOLING).read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"{what}: {_POOLING} is no configuration of a pooling") from error
        modes = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on]
        if modes not in ([], ["pooling_mode_mean_tokens"]):
            raise InputError(f"{what} does not pool by the mean of its tokens; take one that does")
    _require_libraries()


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _shown(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _processor() -> str:
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def _digest(folder: Path) -> str:
    """Of all files."""
    digest = hashlib.sha256()
    for name in FILES:
        with open(folder / name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


__all__ = ["FILES", "copy_encoder", "load_encoder", "require_encoder"]
