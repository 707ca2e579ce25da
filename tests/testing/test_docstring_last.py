"""What a part does is checked before what is written about it."""

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hetrl.component import Component
from hetrl.data.on_policy import OnPolicy
from hetrl.env.matrix_game import MatrixGame
from hetrl.net.state_value import StateValue
from hetrl.network import mode
from hetrl.optim.adam import Adam
from hetrl.testing import check_component, check_data, check_env, check_net, check_optim, check_order


class Doubled(Component):
    reads, writes = {"log_prob": "agent.log_prob"}, {"loss": "loss.agent.doubled"}
    wrong = False

    def compute(self, log_prob: Float[Tensor, "*batch"]) -> dict[str, Float[Tensor, "*batch"]]:
        return {"loss": log_prob.sum() if self.wrong else 2 * log_prob}


class AllAtOnce(Component):
    reads, writes = {"members": "members"}, {"round": "round"}
    wrong = False

    def compute(self, members: Int[Tensor, " n"]) -> dict[str, Int[Tensor, " n"]]:
        return {"round": torch.zeros_like(members) + self.wrong}


def fails(self, *_, **__):
    raise ValueError("broken")


UNSQUEEZED = mode(reads={"state": "state"}, writes={"value": "value"})(lambda self, state: {"value": self.body(state)})
CASES = {
    "component": (check_component, Doubled, {"wrong": True}, {}),
    "order": (check_order, AllAtOnce, {"wrong": True}, {}),
    "net": (check_net, StateValue, {"value": UNSQUEEZED}, {"hidden": [4]}),
    "optim": (check_optim, Adam, {"optimizer": lambda self, parameters: None}, {}),
    "data": (check_data, OnPolicy, {"collect": fails}, {"frames": 24}),
    "env": (check_env, MatrixGame, {"start": fails}, {"payoff": "penalty"}),
}


@pytest.mark.parametrize("kind", CASES)
def test_behaviour_first(kind):
    check, cls, change, values = CASES[kind]
    undocumented = {"__doc__": None, "__module__": __name__}
    with pytest.raises(AssertionError, match=r"^Part: .*docstring"):
        check(type("Part", (cls,), undocumented), **values)
    with pytest.raises(AssertionError, match=r"^Part: ") as caught:
        check(type("Part", (cls,), undocumented | change), **values)
    assert "docstring" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_component_that_returns_no_dict():
    cls = type("Part", (Doubled,), {"compute": lambda self, log_prob: log_prob})
    with pytest.raises(AssertionError, match=r"^Part: .*compute returns a Tensor, not a dict; return {'loss': ...}.$"):
        check_component(cls, given={"log_prob": torch.zeros(5)})
