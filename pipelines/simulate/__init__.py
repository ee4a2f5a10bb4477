"""A chat stream that never was: deterministic, of any size, for demos and scale.

It is no evidence of detection quality: whoever writes both the abuse and the detector can have any
figure. What enters: settings. What leaves: files in the schema of configs/chat.yaml. `simulate`
draws a stream of a given size; `simulate_world` lets a world of a YAML file live from day to day,
in which enforcement acts and whose truth is kept apart, so that a method can be tested by it.
"""

from pipelines.simulate.run import SimulateSettings, simulate
from pipelines.simulate.worlds import WorldRequest, read_truth, simulate_world

__all__ = ["SimulateSettings", "WorldRequest", "read_truth", "simulate", "simulate_world"]
