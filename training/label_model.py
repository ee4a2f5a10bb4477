"""Labels from sources that nobody checked (reports, rules, a blocklist), and how good each is.

What enters: what each source said of each event (abuse, not, nothing). What leaves: a probability
of abuse per event, and each source's accuracy, without a single true label: a source that agrees
with what the others say together is believed more. This is data programming (Ratner et al., NIPS
2016, arXiv 1605.07723; Snorkel, VLDB 2017, arXiv 1711.10160), fitted by expectation and
maximisation as Dawid and Skene did (Applied Statistics 28, 1979).

As in Snorkel, what a source does not say is no evidence (nobody reads all messages), and classes
are taken for equally frequent unless `prior` says otherwise. Sources are not independent (one
message has a link, begs and names a channel), and one that says one class only cannot contradict
itself; so the fit could run away. It begins at the belief that each source is right in `BELIEF` of
its votes, and that belief goes on weighing as much as `WEIGHT` times its own votes. The weight was
chosen on the four videos of `youtube-spam` that train, not on the one that tests (docs/results.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.label_counts import last_words
from training.labels import NEGATIVE, POSITIVE, UNLABELLED, latest_verdicts

Floats = npt.NDArray[np.float64]
Votes = npt.NDArray[np.int8]

BELIEF = 0.7
"""Share of a source's votes that are right, before anything is seen; Snorkel's, too."""
WEIGHT = 0.1
_STEPS = 1000
_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class SourceQuality:
    """A source, as the model sees it.

    Attributes:
      votes: events of which it said something.
      accuracy: expected share of these votes that are right; None without votes.
      agreement: of its votes on events that another source judged too, the share that at least half
        of the others' votes agree with; None without such events.
      overlap: how many such events there are.
    """

    name: str
    votes: int
    accuracy: float | None
    agreement: float | None
    overlap: int


@dataclasses.dataclass(frozen=True)
class LabelModel:
    """Weights of votes.

    Attributes:
      names: of the sources.
      weights: float64 `[m, 2]`, what a source's "not" and "abuse" add to the log odds.
      offset: log odds of an event of which nobody said anything.
      qualities: a source each, of the votes that it was fitted on.
    """

    names: tuple[str, ...]
    weights: Floats
    offset: float
    qualities: tuple[SourceQuality, ...]

    def odds(self, votes: Votes) -> Floats:
        """Log odds of abuse: float64 `[n]`.

        Args:
          votes: int8 `[n, m]`: 1, 0, -1 (nothing).

        Raises:
          ValueError: these are not votes of as many sources.
        """
        if votes.ndim != 2 or votes.shape[1] != len(self.names):
            raise ValueError(f"votes of shape {votes.shape}; expected {len(self.names)} sources")
        said = [(votes == value).astype(np.float64) @ self.weights[:, value] for value in (0, 1)]
        return np.asarray(self.offset + said[NEGATIVE] + said[POSITIVE])


def fit_label_model(
    votes: Votes, names: Sequence[str], prior: float = 0.5, weight: float = WEIGHT
) -> LabelModel:
    """What each source is worth, from what they say of the same events.

    Args:
      votes: int8 `[n, m]`: 1, 0, -1 (nothing).
      names: of the m sources.
      prior: share of abuse, between 0 and 1.
      weight: of the belief that a source is right in `BELIEF` of its votes, in its own votes.

    Raises:
      ValueError: shapes differ, or `prior` is not between 0 and 1.

    >>> votes = np.array([[1, 1, -1], [0, 0, 1], [1, 1, 0], [0, 0, 0], [1, -1, 1]], np.int8)
    >>> made = fit_label_model(votes, ["a", "b", "c"])
    >>> [one.name for one in made.qualities if one.accuracy > 0.8]
    ['a', 'b']
    """
    if votes.ndim != 2 or votes.shape[1] != len(names) or not 0.0 < prior < 1.0:
        raise ValueError(
            f"votes of shape {votes.shape}, {len(names)} names, prior {prior}: expected a column "
            "for each name, and a prior between 0 and 1"
        )
    said = np.stack([votes == NEGATIVE, votes == POSITIVE], 2).astype(np.float64)
    counts, share = said.sum(0), np.array([1.0 - prior, prior])
    # Votes of each value that fall on each class, [m, value, class]: believed, then found.
    right = np.eye(2)
    believed = counts[:, :, None] * np.where(right > 0, BELIEF, 1.0 - BELIEF)
    offset = float(np.log(prior / (1.0 - prior)))
    found, sizes = believed, len(votes) * share
    belief = np.full(len(votes), prior)
    for _ in range(_STEPS):
        rates = np.clip(found / np.maximum(sizes, 1e-9), 1e-6, 1.0 - 1e-6)
        weights = np.log(rates[:, :, POSITIVE] / rates[:, :, NEGATIVE])
        weights[counts == 0] = 0.0
        before = belief
        belief = _sigmoid(offset + np.einsum("njv,jv->n", said, weights))
        if np.max(np.abs(belief - before), initial=0.0) < _TOLERANCE:
            break
        classes = np.stack([1.0 - belief, belief], 1)
        found = np.einsum("njv,ny->jvy", said, classes) + weight * believed
        sizes = classes.sum(0) + weight * len(votes) * share
        found, sizes = found / (1.0 + weight), sizes / (1.0 + weight)
    qualities = tuple(_quality(name, votes, column, belief) for column, name in enumerate(names))
    return LabelModel(tuple(names), weights, offset, qualities)


def majority(votes: Votes) -> Floats:
    """Votes for abuse less votes against: float64 `[n]`; the baseline of a label model.

    >>> majority(np.array([[1, 1, 0], [-1, 0, -1]], np.int8)).tolist()
    [1.0, -1.0]
    """
    return np.asarray((votes == POSITIVE).sum(1) - (votes == NEGATIVE).sum(1), np.float64)


def source_qualities(
    verdicts: pa.Table, as_of_us: int, precedence: Sequence[str] = ()
) -> tuple[SourceQuality, ...]:
    """How good the sources of verdicts are, by what they say of the same events.

    Args:
      verdicts: as in `training.labels.resolve`, with a column `source`.
      as_of_us: microseconds UTC; verdicts at or after it are invisible.
      precedence: of sources (`labels.precedence`), by which an event's verdict stands.

    Returns:
      A source each; none where fewer than two sources judged.

    >>> table = pa.table({"event_id": ["1", "2"], "event_time": [5, 6], "subject": ["a", "a"],
    ...                   "positive": [True, True], "source": ["bot", "person"]})
    >>> [(one.name, one.agreement) for one in source_qualities(table, as_of_us=8)]
    [('bot', 1.0), ('person', 1.0)]
    """
    names, words = last_words(verdicts, as_of_us)
    if len(names) < 2:
        return ()
    _, standing = latest_verdicts(verdicts, as_of_us, precedence)
    share = float(np.clip(standing.mean(), 0.05, 0.95))
    return fit_label_model(np.ascontiguousarray(words.T), names, prior=share).qualities


def _quality(name: str, votes: Votes, column: int, belief: Floats) -> SourceQuality:
    own = votes[:, column]
    spoke = own != UNLABELLED
    right = np.where(own == POSITIVE, belief, 1.0 - belief)[spoke]
    others = majority(votes) - np.where(spoke, np.where(own == POSITIVE, 1.0, -1.0), 0.0)
    shared = spoke & ((votes != UNLABELLED).sum(1) > 1)
    agrees = np.where(own == POSITIVE, others >= 0, others <= 0)[shared]
    return SourceQuality(
        name,
        int(spoke.sum()),
        float(right.mean()) if len(right) else None,
        float(agrees.mean()) if len(agrees) else None,
        int(shared.sum()),
    )


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -500.0, 500.0))))
