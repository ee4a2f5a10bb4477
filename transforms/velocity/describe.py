"""Every velocity feature in words, for `lockstep features`, reports and explanations."""

from __future__ import annotations

import dataclasses

from configs.catalog import Catalog
from configs.schema import Spec, Window
from configs.units import format_duration
from transforms.velocity.plan import SHIPPED, Feature, Plan, make_plan, most_bytes


@dataclasses.dataclass(frozen=True)
class FeatureInfo:
    """What a feature, or another input of the model, is.

    Attributes:
      name, about, entity, window, unit, dtype, null_rule: in words; "" where there is none.
      window_error: by how much the window may be shorter than it says; "" without a window.
      error: by how much it may be off, if it is an estimate; "" if it is exact.
      state_bytes: the most bytes that a key keeps for it; shared cells count for each.
      role: "velocity", or as in `transforms.inputs.describe_inputs`.
    """

    name: str
    about: str
    entity: str
    window: str
    unit: str
    dtype: str
    null_rule: str
    window_error: str
    state_bytes: int
    role: str = "velocity"
    error: str = ""


def describe_features(spec: Spec, catalog: Catalog = SHIPPED) -> tuple[FeatureInfo, ...]:
    """All velocity features of a spec, in the order of its entities."""
    return tuple(
        _info(spec, plan, recipe)
        for plan in (make_plan(spec, entity, catalog) for entity in spec.entities)
        for recipe in plan.recipes
    )


def column_unit(spec: Spec, column: str) -> str:
    """The unit that the config gives a column; its name, if it gives none."""
    unit = spec.columns[column].unit if column in spec.columns else ""
    return unit or column


def _info(spec: Spec, plan: Plan, recipe: Feature) -> FeatureInfo:
    aggregate, window = recipe.aggregate, recipe.window
    column = aggregate.arguments.get("column")
    own = f"{aggregate.about}: " if aggregate.about else ""
    return FeatureInfo(
        name=recipe.name,
        about=own + _about(recipe),
        entity=plan.entity,
        window=window.name if window else "",
        unit=_unit(spec, recipe, column),
        dtype="float32",
        null_rule=f"null without a key; {recipe.logic.null_rule}",
        window_error=_window_error(window),
        state_bytes=most_bytes(recipe.cells),
        error=getattr(recipe.logic, "error", ""),
    )


def _unit(spec: Spec, recipe: Feature, column: str | None) -> str:
    if "values" in recipe.aggregate.arguments:
        return "place in a list"
    return recipe.logic.unit or (column_unit(spec, column) if column else "")


def _about(recipe: Feature) -> str:
    aggregate, words = recipe.aggregate, str(recipe.logic.about)
    arguments = aggregate.arguments
    if "column" in arguments:
        words += f" of {arguments['column']}"
    if "values" in arguments:
        places = [f"{at} {text}" for at, text in enumerate([*arguments["values"], "another"])]
        words += f" ({', '.join(places)})"
    if "numerator" in arguments:
        words = f"{arguments['numerator']} / {arguments['denominator']}"
    if aggregate.kinds:
        words += f", {' or '.join(aggregate.kinds)} events"
    if aggregate.where is not None:
        words += f" where {aggregate.where.text}"
    if recipe.window is not None:
        words += f", over {recipe.window.name}"
    return words


def _window_error(window: Window | None) -> str:
    if window is None or window.is_lifetime:
        return ""
    return f"up to {format_duration(window.tile_us)}"
