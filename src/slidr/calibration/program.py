"""The slice program: spend one false-positive budget where it invalidates the most."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.binary_operators import multiply

from slidr.calibration.curves import Quadratics
from slidr.errors import CalibrationError
from slidr.metrics import Float64s


@dataclass(frozen=True, eq=False)
class SliceProgram:
    """The concave program of the paper, over the FPR f_s of every slice s.

        maximise    sum_s w_s q_s(f_s)
        subject to  sum_s h_s f_s <= B
                    lo_s <= f_s <= hi_s

    Attributes:
        w: share of all clicks that stand in the slice, float64[S].
        h: share of all purchasing clicks that stand in the slice.
        q: the fitted curves.
        lo: FPR that the minimum coverage costs.
        hi: FPR up to which the curve is trusted.
        budget: B, share of all purchasing clicks that may be marked; above 0.

    Raises:
        CalibrationError: a fitted curve bends upwards, so that the program is not concave.
    """

    w: Float64s
    h: Float64s
    q: Quadratics
    lo: Float64s
    hi: Float64s
    budget: float

    def __post_init__(self) -> None:
        problem, _ = self._formula()
        if not problem.is_dcp():
            raise CalibrationError(
                f"{np.count_nonzero(self.q.a > 0)} of {len(self.w)} fitted curves have a > 0, and the program needs "
                "a <= 0 to be concave; fit the curves again"
            )

    def _formula(self) -> tuple[cp.Problem, cp.Variable]:
        w, h, lo, hi, a, b, c = self.w, self.h, self.lo, self.hi, self.q.a, self.q.b, self.q.c
        f = cp.Variable(len(w))
        q = multiply(a, f**2) + multiply(b, f) + c
        # In units of the budget: with B of a few thousandths on the right the solver cycled on 1 program in 1,800.
        return cp.Problem(cp.Maximize(w @ q), [f @ h / self.budget <= 1, f >= lo, f <= hi]), f

    def solve(self) -> Float64s:
        """Return the optimal FPR of every slice, float64[S].

        Raises:
            CalibrationError: the solver found no optimum; the budget's feasibility is the caller's to check first.
        """
        problem, f = self._formula()
        problem.solve(solver=cp.CLARABEL)  # type: ignore[no-untyped-call]
        if problem.status != cp.OPTIMAL:
            raise CalibrationError(
                f"the slice program ended as {problem.status!r} for {len(self.w)} slices and a budget of "
                f"{self.budget:.6f}; use calibration.method = 'knee' until its cause is known"
            )
        return np.clip(np.asarray(f.value, dtype=np.float64), self.lo, self.hi)
