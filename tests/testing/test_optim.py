"""The check of optimisers notices what breaks the contract of a step, in one line."""

from typing import Annotated

import pytest
import torch

from hetrl.arguments import SCHEDULABLE, Positive
from hetrl.optim import Optim
from hetrl.testing import check_optim


class Stepper(torch.optim.SGD):
    twice = False

    def step(self, closure):
        evaluated = super().step(lambda: closure()[0])
        self.figures = {"size": torch.zeros(())}
        return evaluated


class Descent(Optim):
    """Gradient descent.

    x <- x - lr g

    Args:
        lr: step size [1].
    Source: made up.
    Differs: nothing.
    """

    reads, once = {}, False
    made = Stepper

    def __init__(self, *, lr: Annotated[Positive, SCHEDULABLE] = 0.1) -> None:
        self.lr, self.constraints = lr, {}

    def optimizer(self, parameters):
        return self.made(parameters, lr=self.lr)


class NoCall(Stepper):
    def step(self, closure):
        self.figures = {}


class NoFigures(torch.optim.SGD):
    twice = False

    def step(self, closure):
        super().step(lambda: closure()[0])


class ANumber(Stepper):
    def step(self, closure):
        super().step(closure)
        self.figures = {"size": 0.5}


class Uphill(Stepper):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr, maximize=True)


class Deaf(Stepper):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr)
        self.own = lr

    def step(self, closure):
        self.param_groups[0]["lr"] = self.own
        return super().step(closure)


class OtherName(Stepper):
    def __init__(self, parameters, lr):
        super().__init__(parameters, lr=lr)
        self.param_groups[0]["rate"] = self.param_groups[0].pop("lr")

    def step(self, closure):
        self.figures = {}
        closure()
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter -= self.param_groups[0]["rate"] * parameter.grad


class Forgetful(Stepper):
    def step(self, closure):
        self.taken = getattr(self, "taken", 0) + 1
        before = self.param_groups[0]["lr"]
        self.param_groups[0]["lr"] = before / self.taken
        super().step(closure)
        self.param_groups[0]["lr"] = before


class Unsaid(torch.optim.SGD):
    pass


def test_a_sound_optimiser_passes():
    check_optim(Descent)
    check_optim(Descent, lr=0.01)


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (NoCall, r"step\(closure\) does not call the closure; the phase's steps would never run"),
        (NoFigures, r"its optimiser has no figures after a step; set self.figures, \{\} at least"),
        (ANumber, "its figure 'size' is no 0-d tensor without a graph; numbers wait for the device"),
        (Uphill, "a convex loss goes from .* to .*; a step lowers it"),
        (Deaf, "a step with 'lr' set in param_groups is not that of one built with it; read it there"),
        (OtherName, "'lr' may follow a schedule, and is not in its optimiser's param_groups; a phase sets it there"),
        (Forgetful, "it takes another step after a state_dict round trip"),
        (Unsaid, "Unsaid does not say whether it differentiates twice; give the class twice = False, or True"),
        (lambda parameters, lr: None, r"optimizer\(\) returns a NoneType, and no torch.optim.Optimizer"),
        (
            lambda parameters, lr: Stepper(parameters[:1], lr),
            "its optimiser does not hold the parameters that it",
        ),
        (lambda parameters, lr: 1 / 0, r"optimizer\(\) failed: ZeroDivisionError"),
    ],
)
def test_notices_what_breaks_a_step(made, problem):
    cls = type("Broken", (Descent,), {"__doc__": Descent.__doc__, "made": staticmethod(made)})
    with pytest.raises(AssertionError, match=f"^Broken: {problem}") as caught:
        check_optim(cls)
    assert "\n" not in str(caught.value)


def test_notices_constraints_of_other_keys():
    cls = type("Broken", (Descent,), {"__doc__": Descent.__doc__, "reads": {"kl": "agent.kl"}})
    with pytest.raises(AssertionError, match=r"its constraints are of \[\], and it reads \['agent.kl'\]"):
        check_optim(cls)


def test_one_optimiser_for_two_networks_is_noticed():
    kept = []

    def made(parameters, lr):
        kept.append(kept[0] if len(kept) > 1 else Stepper(parameters, lr))
        return kept[-1]

    cls = type("Broken", (Descent,), {"__doc__": Descent.__doc__, "made": staticmethod(made)})
    with pytest.raises(AssertionError, match=r"optimizer\(\) returns the same one again|does not hold the parameters"):
        check_optim(cls)
