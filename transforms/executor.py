"""What the analysed TFT graph makes of events, with the bits of the graph.

Compiled code (`transforms.constants`) applies the constants that analysis found: `constants.npz`
beside the graph, written only where it gives the graph's own bits (`transforms.saved_graph`).
TensorFlow is loaded where there are no constants: for a graph of an earlier release, or one that
compiled code does not reproduce. A text that an encoder reads is no part of the graph; the
encoder's files are in the graph's folder.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa

from configs.schema import Spec
from transforms.constants import CONSTANTS, Constants, Floats, Transformed, apply_constants
from transforms.encoder import ENCODER, Encoder, graph_spec

__all__ = ["Executor"]


class Executor:
    """The analysed graph, ready to be applied.

    Args:
      folder: as `transforms.steps.graph.AnalyzeGraph` wrote it.
      spec: the use that it was analysed for.

    Raises:
      BundleError: its text encoder cannot be loaded (`encoder_model.load_encoder`).
    """

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.folder, self.spec = folder, spec
        self._graph_spec = graph_spec(spec)
        self._encoder: Encoder | None = None
        if spec.inputs.text is not None and spec.inputs.text.encoder:
            from transforms.encoder_model import load_encoder

            self._encoder = load_encoder(folder / ENCODER, spec.inputs.text.encoder_tokens)
        self._graph: Any = None
        self._constants: Constants | None = None
        if (folder / CONSTANTS).exists():
            self._constants = Constants.read(folder / CONSTANTS)
        else:
            from transforms.saved_graph import SavedGraph

            self._graph = SavedGraph(folder, self._graph_spec)
            self._constants = self._graph.constants()

    def transform(self, numeric: Floats, batch: pa.RecordBatch) -> Transformed:
        """Applies the graph.

        Args:
          numeric: float32 `[n, K]` (`transforms.inputs.numeric_block`).
          batch: the same n events.

        Raises:
          ValueError: the block and the events differ in rows, or the graph in columns.
        """
        if len(numeric) != batch.num_rows:
            raise ValueError(f"a numeric block of {len(numeric)} rows for {batch.num_rows} events")
        width = self._graph.width if self._constants is None else self._constants.width
        if numeric.shape[1] != width:
            raise ValueError(
                f"a numeric block of {numeric.shape[1]} columns for a graph of {width}"
            )
        if self._constants is None:
            made: Transformed = self._graph.transform(numeric, batch)
        else:
            made = apply_constants(self._graph_spec, self._constants, numeric, batch)
        if self._encoder is None or self.spec.inputs.text is None:
            return made
        text = self._encoder.encode(batch.column(self.spec.inputs.text.column))
        return dataclasses.replace(made, text=text)
