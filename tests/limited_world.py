"""Bundles whose actions have limits, and do something to all events; for tests."""

from backfill_world import CONFIG
from bundle_world import make_parts

from configs.loader import loads
from scoring.bundle import write_bundle
from scoring.decision import DecisionPolicy, Threshold
from transforms.catalog import CATALOG

BLOCK = "block: {min_precision: 0.9, limit: {per: who, count: 1, in: 1d}}"
HIDE = "hide: {min_precision: 0.8, limit: {per: where, count: 1, in: 12h}}"
OLD_POLICY = "policy: {actions: {block: {min_precision: 0.8}}}"


def limited(block=BLOCK, hide=HIDE, hold_out=""):
    return CONFIG.replace(OLD_POLICY, f"policy: {{{hold_out}actions: {{{block}, {hide}}}}}")


def bundle(root, config, scores=(0.0, 0.0)):
    """A bundle of a config that does something to all from its thresholds on."""
    spec = loads(config, "limited.yaml", CATALOG)
    thresholds = tuple(
        Threshold(one.name, value, 0.8)
        for one, value in zip(spec.policy.actions, scores, strict=True)
    )
    policy = DecisionPolicy(thresholds, spec.policy.default)
    return write_bundle(make_parts(config=config, spec=spec, policy=policy), root).name
