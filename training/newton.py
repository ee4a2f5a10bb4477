"""Newton's method for a logistic rule over dense columns and categories: the baseline's solver.

The columns stay what they are: numbers in one float32 block, categories as ids. The normal
equations are summed over pieces of rows, so nothing as large as a design matrix is ever made. On
338,000 rows of 73 numbers and two categories (2,068 ids) a fit takes 5.4 CPU seconds, and 0.7 where
it starts from a rule of nearly the same rows. L-BFGS over one sparse matrix took 14.9, and had not
reached the optimum after 300 steps. There is no randomness, and rows are summed in their order:
equal rows give equal weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse
import scipy.special

from training.logistic import Weights

MOST_COLUMNS = 4096
"""Of the normal equations: 134 MB, and a second to factorise."""

_PIECE = 8192  # rows at a time: numbers and their products stay in the processor's cache
_FEW = 65_536  # from here on, a fit begins with that of every eighth row
_SPARE = 8
_MOST_STEPS = 50
# Half the squared Newton decrement: by so much, in units of log loss summed over all rows, the
# objective may lie above its least value. The noise of the labels moves it by half a unit a column.
_GAP = 1e-5

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Design:
    """Rows of a rule: the columns of its weights are the numbers, then each category's ids.

    Attributes:
      numeric: float32 `[n, N]`, finite.
      categories: int64 `[n, C]`; an id beyond its category's size counts as the last one.
      sizes: of the C categories.
    """

    numeric: npt.NDArray[np.float32]
    categories: npt.NDArray[np.int64]
    sizes: tuple[int, ...]

    @property
    def width(self) -> int:
        """How many weights there are, without the intercept."""
        return int(self.numeric.shape[1]) + sum(self.sizes)

    def every(self, step: int) -> Design:
        """Each step-th row."""
        return Design(self.numeric[::step], self.categories[::step], self.sizes)

    def one_hot(self, rows: slice = slice(None)) -> scipy.sparse.csr_matrix:
        """The categories of some rows as 0 and 1: CSR float64 `[n, sum of sizes]`.

        >>> rows = Design(np.empty((2, 0), np.float32), np.array([[1], [0]]), (2,))
        >>> rows.one_hot().toarray().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
        """
        ids = self.categories[rows]
        count, width = ids.shape
        starts = np.concatenate([[0], np.cumsum(self.sizes)])[:width].astype(np.int64)
        indices = (np.minimum(ids, np.array(self.sizes, np.int64) - 1) + starts).ravel()
        return scipy.sparse.csr_matrix(
            (np.ones(count * width), indices, np.arange(count + 1) * width),
            shape=(count, sum(self.sizes)),
        )


def fit_newton(
    design: Design,
    labels: npt.NDArray[np.int8],
    *,
    regularisation: float = 1.0,
    positive_weight: float = 1.0,
    start: Weights | None = None,
    weights: Floats | None = None,
) -> Weights | None:
    """The rule with the least regularised log loss, as `fit_logistic` finds it.

    Args:
      design: n rows of at most `MOST_COLUMNS` columns.
      labels: int8 `[n]`, 0 or 1.
      regularisation: the L2 term's weight against the sum of losses; the intercept is free.
      positive_weight: of a positive against a negative.
      start: where the solver begins: a rule of nearly the same rows saves most steps.
      weights: float64 `[n]`, of the rows; None: all weigh 1.

    Returns:
      The rule; None where the labels have one class.

    Raises:
      ValueError: a number is not finite.

    >>> numbers = np.array([[-1.0], [0.0], [0.1], [2.0]], np.float32)
    >>> rows = Design(numbers, np.empty((4, 0), np.int64), ())
    >>> made = fit_newton(rows, np.array([0, 0, 1, 1], np.int8))
    >>> bool(made.weights[0] > 0.5)
    True
    """
    if len(np.unique(labels)) < 2:
        return None
    if start is None and len(labels) >= _FEW:
        start = fit_newton(
            design.every(_SPARE),
            labels[::_SPARE],
            regularisation=regularisation / _SPARE,
            positive_weight=positive_weight,
            weights=None if weights is None else weights[::_SPARE],
        )
    costs = np.where(labels == 1, float(positive_weight), 1.0)
    if weights is not None:
        costs *= weights
    ridge = np.append(np.full(design.width, float(regularisation)), 0.0)
    rule = np.zeros(design.width + 1)
    if start is not None:
        rule[:-1], rule[-1] = start.weights, start.intercept
    margins = _margins(design, rule)
    loss = _loss(margins, labels, costs, rule, ridge)
    if not np.isfinite(loss):
        raise ValueError("a value or weight is not finite, expected finite ones: fill nulls first")
    for _ in range(_MOST_STEPS):
        shares = scipy.special.expit(margins)
        slope = _transposed(design, costs * (shares - labels)) + ridge * rule
        step = _solve(_curvature(design, costs * shares * (1 - shares)), ridge, slope)
        gain = float(slope @ step)
        moved = _margins(design, step)
        size = 1.0
        while size > 1e-9:
            after = _loss(margins - size * moved, labels, costs, rule - size * step, ridge)
            if after <= loss - 1e-4 * size * gain or gain < _GAP:
                break
            size /= 2
        rule, margins, loss = rule - size * step, margins - size * moved, after
        if gain / 2 < _GAP or size <= 1e-9:
            break
    return Weights(rule[:-1].copy(), float(rule[-1]))


def _pieces(count: int) -> Sequence[slice]:
    return [slice(at, min(at + _PIECE, count)) for at in range(0, count, _PIECE)]


def _margins(design: Design, rule: Floats) -> Floats:
    """Log odds: float64 `[n]`."""
    numbers = design.numeric.shape[1]
    made = np.full(len(design.numeric), rule[-1])
    for rows in _pieces(len(made)):
        made[rows] += design.numeric[rows].astype(np.float64) @ rule[:numbers]
        if design.sizes:
            made[rows] += design.one_hot(rows) @ rule[numbers:-1]
    return made


def _transposed(design: Design, values: Floats) -> Floats:
    """The columns' products with float64 `[n]`, and its sum at the end."""
    made = np.zeros(design.width + 1)
    numbers = design.numeric.shape[1]
    for rows in _pieces(len(values)):
        made[:numbers] += values[rows] @ design.numeric[rows].astype(np.float64)
        if design.sizes:
            made[numbers:-1] += design.one_hot(rows).T @ values[rows]
    made[-1] = values.sum()
    return made


def _curvature(design: Design, weights: Floats) -> Floats:
    """The columns' weighted products with each other: float64 `[width + 1, width + 1]`."""
    numbers, width = design.numeric.shape[1], design.width
    made = np.zeros((width + 1, width + 1))
    outer = scipy.sparse.csr_matrix((width - numbers, width - numbers))
    for rows in _pieces(len(weights)):
        roots = np.sqrt(weights[rows])
        block = np.empty((len(roots), numbers + 1))
        np.multiply(design.numeric[rows], roots[:, None], out=block[:, :numbers])
        block[:, numbers] = roots
        products = block.T @ block
        made[:numbers, :numbers] += products[:numbers, :numbers]
        made[-1, :numbers] += products[-1, :numbers]
        made[-1, -1] += products[-1, -1]
        if design.sizes:
            ids = design.one_hot(rows)
            ids.data = np.repeat(roots, len(design.sizes))
            crossed = ids.T @ block
            made[numbers:-1, :numbers] += crossed[:, :numbers]
            made[-1, numbers:-1] += crossed[:, -1]
            outer += ids.T @ ids
    if design.sizes:
        made[numbers:-1, numbers:-1] = outer.toarray()
    return made


def _solve(curvature: Floats, ridge: Floats, slope: Floats) -> Floats:
    """Newton's step; only the lower triangle is read. Columns of very unlike size are evened out.

    What no row fills, or what rounding leaves without curvature, is held by a little more ridge.
    """
    diagonal = np.diag(curvature) + ridge
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    evened = curvature * scale[:, None] * scale
    own = np.arange(len(slope))
    for extra in 10.0 ** np.arange(-12, 1, 2):
        evened[own, own] = diagonal * scale**2 + extra
        try:
            factor = scipy.linalg.cho_factor(evened, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            continue  # rounding has left a direction without curvature
        made: Floats = scale * scipy.linalg.cho_solve(factor, scale * slope, check_finite=False)
        return made
    raise ArithmeticError("the normal equations of finite rows have no solution; please report it")


def _loss(
    margins: Floats, labels: npt.NDArray[np.int8], costs: Floats, rule: Floats, ridge: Floats
) -> float:
    losses = np.logaddexp(0.0, np.where(labels == 1, -margins, margins))
    return float(costs @ losses + 0.5 * (ridge * rule) @ rule)
