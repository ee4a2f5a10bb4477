"""The steps of a pipeline: PTransforms beside the pure functions that they call.

Elements are Arrow record batches, keys are shards (`transforms.batches`). `Features` is made of the
others and is the one text that computes features.
"""

from transforms.steps.decode import Decode, Derive
from transforms.steps.deduplicate import Deduplicate
from transforms.steps.features import FeatureOutputs, Features
from transforms.steps.graph import AnalyzeGraph, ApplyGraph
from transforms.steps.join import CutParts, JoinFeatures, PlanParts
from transforms.steps.shards import RECENT_IDS, FoldShards, SplitByShard

__all__ = [
    "RECENT_IDS",
    "AnalyzeGraph",
    "ApplyGraph",
    "CutParts",
    "Decode",
    "Deduplicate",
    "Derive",
    "FeatureOutputs",
    "Features",
    "FoldShards",
    "JoinFeatures",
    "PlanParts",
    "SplitByShard",
]
