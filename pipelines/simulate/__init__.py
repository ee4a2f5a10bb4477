"""A chat stream that never was: deterministic, of any size, for demos and scale.

It is no evidence of detection quality: whoever writes both the abuse and the detector can have any
figure. What enters: settings. What leaves: files in the schema of configs/chat.yaml.
"""

from pipelines.simulate.run import SimulateSettings, simulate

__all__ = ["SimulateSettings", "simulate"]
