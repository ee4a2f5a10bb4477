"""Rows that tie often, and an engine over the battery whose decisions hang on every bit."""

from explorer_world import ByBits
from fold_world import SPEC
from hypothesis import strategies as st

from scoring.engine import Engine, Resident

ROW = st.tuples(
    st.sampled_from(["x", "y", "z", None]),
    st.integers(0, 40),  # ties are many
    st.sampled_from("ab"),
    st.one_of(st.none(), st.integers(0, 40).map(lambda n: n / 4)),
    st.sampled_from(["p", "q", None]),
)


def bits(resident):
    """All of a state, as bytes."""
    states = {name: state.to_table() for name, state in resident.states.items()}
    place = resident.position and (resident.position.time_us, resident.position.place)
    return states, resident.recent.to_table(since=True), place


def engine():
    return Engine(SPEC, Resident.empty(SPEC), ByBits())
