"""The section of a config about training: its times, its sizes, and XGBoost's parameters.

What does not fit what the model sees (a constraint of three inputs where there are four), and what
means nothing with the rest (rounds of a model that has none), are mistakes: a training run would
end with them after its whole backfill.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from configs._yaml import Section, did_you_mean
from configs.booster import ALIASES, BOOSTER, DART, FIXED, TINY
from configs.schema import Spec, Training
from configs.training import DELAYED_FEEDBACK
from configs.units import format_duration

LEAST_WEIGHT, MOST_WEIGHT = 1e-6, 1e9
"""Of a positive against a negative: 32 bits hold what comes of it."""
MOST_SEED = 2**63 - 1


def check_maturity(root: Section, spec: Spec) -> None:
    """Notes a training span whose newest events would have a label only if they were judged.

    What a model does to all others would be in no figure. And one whose verdicts have expired.
    """
    labels, training, section = spec.labels, spec.training, root.section("labels")
    if labels is None or training is None or section is None:
        return
    if labels.expires_us is not None and labels.expires_us <= training.delay_us:
        section.note(
            "expires",
            f"expires: verdicts count for {format_duration(labels.expires_us)}, and training.delay "
            f"is {format_duration(training.delay_us)}: what was judged at once would have expired "
            "when it is trained on",
            "let verdicts count for longer than training.delay; as long as training.span and "
            "training.delay together, and all of the span keeps its verdicts",
        )
    if labels.maturity_us is not None and labels.maturity_us > training.delay_us:
        mature, delay = format_duration(labels.maturity_us), format_duration(training.delay_us)
        section.note(
            "maturity",
            f"maturity: events count as not abuse after {mature}, but training.delay is {delay}: "
            "the newest events of the training span would have a label only if they were judged",
            f"set training.delay to {mature} or more",
        )


def read_training(root: Section) -> Training | None:
    """The `training` section: the protocol."""
    section = root.section("training")
    if section is None:
        return None
    weight = section.raw("positive_weight")
    if weight is None:
        weight = 1.0
    elif weight != "balanced":
        weight = section.number("positive_weight", 1.0, LEAST_WEIGHT, MOST_WEIGHT)
    made = Training(
        span_us=section.duration("span"),
        delay_us=section.duration("delay"),
        gate_us=section.duration("gate", 86_400_000_000),
        validation_share=section.number("validation_share", 0.2, least=0.0, most=0.9),
        rounds=section.integer("rounds", 400, least=1),
        early_stopping=section.integer("early_stopping", 40, least=0),
        refit=section.boolean("refit", True),
        booster=_booster(section),
        text_folds=section.integer("text_folds", 5, least=2),
        text_regularisation=section.number("text_regularisation", 1.0, 1e-9, 1e9),
        positive_weight=weight,
        model=section.choice("model", ("booster", "linear", "text"), "booster"),
        analyse_rows=section.integer("analyse_rows", 1_000_000, least=1),
        train_rows=section.integer("train_rows", 2_000_000, least=1),
        seed=section.integer("seed", 0, least=0, most=MOST_SEED),
        delayed_feedback=section.choice("delayed_feedback", DELAYED_FEEDBACK, "none"),
    )
    if made.gate_us >= made.span_us > 0:
        key = "gate" if "gate" in section else "span"
        section.note(
            key,
            f"training: gate ({format_duration(made.gate_us)}) is cut out of span "
            f"({format_duration(made.span_us)}); expected a shorter one, so that something is left "
            "to learn from",
        )
    if made.early_stopping > made.rounds and "early_stopping" in section:
        section.note(
            "early_stopping",
            f"training: early_stopping ({made.early_stopping}) is beyond rounds ({made.rounds}), "
            "so it never stops anything",
            f"expected at most {made.rounds}, with which all rounds are made and the best is kept",
        )
    section.done()
    return made


def check_training(root: Section, spec: Spec, features: Mapping[str, str]) -> None:
    """Notes settings of training that do not fit the rest of the config.

    Args:
      root: the file.
      spec: made of it.
      features: every velocity feature.
    """
    check_maturity(root, spec)
    training, section = spec.training, root.section("training")
    if training is None or section is None:
        return
    if training.model == "text" and not spec.inputs.text:
        root.note("training", "training: model text needs inputs.text")
    nothing: dict[str, str] = {}
    if training.model != "booster":
        why = f"it is for a booster, and training.model is {training.model}"
        nothing |= dict.fromkeys(("booster", "rounds", "early_stopping"), why)
    if spec.inputs.text is None:
        why = "it is for a text model, and inputs has no text"
        nothing |= dict.fromkeys(("text_folds", "text_regularisation"), why)
    if training.delayed_feedback != "none":
        nothing |= _no_young_events(spec, training)
    for key, why in nothing.items():
        if key in section:
            section.mistakes.add(
                section.at_key(key), f"training: {key} means nothing here", f"{why}: leave it out"
            )
    inner = section.section("booster") if training.booster else None
    if inner is not None and "booster" not in nothing:
        _check_booster(inner, training)
        inputs = spec.inputs
        names = {*inputs.numeric, *features, *inputs.computed} - set(inputs.exclude)
        count = len(names) + len(inputs.categorical) + (inputs.text is not None)
        _check_constraints(inner, training.booster, count)


def _no_young_events(spec: Spec, training: Training) -> dict[str, str]:
    """Why there are no young events to learn from, by the setting; empty if there are."""
    if training.delay_us == 0:
        why = "it is for events of the last training.delay, which is 0"
    elif not training.refit:
        why = "only the models that serve learn from young events, and training.refit is false"
    elif spec.labels is None or spec.labels.maturity_us is None:
        why = (
            "without labels.maturity only judged events have a label, so no event without a "
            "verdict would teach anything"
        )
    else:
        return {}
    return {"delayed_feedback": why}


def _check_booster(inner: Section, training: Training) -> None:
    """Notes parameters that mean nothing with the others."""
    given = training.booster
    nothing: dict[str, str] = {}
    if given.get("booster", "gbtree") != "dart":
        nothing |= dict.fromkeys(DART, "it is for booster: dart")
    if not training.early_stopping:
        nothing["eval_metric"] = "it stops the boosting early, and training.early_stopping is 0"
    if given.get("subsample", 1) == 1:
        nothing["sampling_method"] = "all rows are in each tree without subsample"
    for key in given.keys() & nothing.keys():
        inner.mistakes.add(
            inner.at_key(key),
            f"booster: {key} means nothing here",
            f"{nothing[key]}: leave it out",
        )


def _check_constraints(inner: Section, given: Mapping[str, float | int | str], count: int) -> None:
    """Notes constraints of other inputs than the model has."""
    inputs = f"the model has {count} input{'s' if count != 1 else ''}"
    signs = given.get("monotone_constraints")
    if signs is not None and (found := str(signs).count(",") + 1) != count:
        inner.note(
            "monotone_constraints",
            f"monotone_constraints: {inputs}, and here are {found} signs",
            "give one for each, in the order that `lockstep features` shows",
        )
    paths = given.get("interaction_constraints")
    numbers = [one for group in json.loads(str(paths)) for one in group] if paths else []
    if wrong := sorted({one for one in numbers if one >= count}):
        inner.note(
            "interaction_constraints",
            f"interaction_constraints: {inputs}, counted from 0, and here is {wrong[0]}",
            "name inputs by their places in the order that `lockstep features` shows",
        )


def _booster(section: Section) -> dict[str, float | int | str]:
    inner = section.section("booster")
    found: dict[str, float | int | str] = {}
    for key in inner.keys() if inner else ():
        value = cast(Section, inner).raw(key)
        place = cast(Section, inner).at_key(key)
        if key in FIXED:
            section.mistakes.add(place, f"booster: {key} is not for a config to set", FIXED[key])
            continue
        parameter = BOOSTER.get(ALIASES.get(key, key))
        if parameter is None:
            hint = did_you_mean(key, BOOSTER)
            section.mistakes.add(place, f"booster: XGBoost has no parameter {key!r}", hint)
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            cast(Section, inner).note(key, f"{key}: expected {parameter.expected}")
            continue
        if not parameter.takes(value):
            found_one = repr(str(value)) if isinstance(value, str) else value
            tiny = not isinstance(value, str) and 0 < abs(value) < TINY
            cast(Section, inner).note(
                key,
                f"{key}: expected {parameter.expected}, found {found_one}",
                "XGBoost counts with 32 bits, in which this is 0" if tiny else "",
            )
            continue
        if ALIASES.get(key, "") in found or key in {ALIASES.get(one) for one in found}:
            section.mistakes.add(place, f"booster: {key} is there twice, by two names")
            continue
        found[key] = str(value) if isinstance(value, str) else value
    return found
