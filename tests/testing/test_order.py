"""The check of orders notices what breaks the contract of rounds, in one line."""

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hetrl.component import Component
from hetrl.errors import RecipeError
from hetrl.testing import check_order

DOC = "An order.\n\nround = 0, 1, ...\n\nSource: made up.\nDiffers: nothing."


def order(compute, **changed):
    """Return an order with that compute."""
    base = {"__doc__": DOC, "reads": {"members": "members"}, "writes": {"round": "round"}, "compute": compute}
    return type("Broken", (Component,), {**base, **changed})


def sound(self, members: Int[Tensor, " n"]):
    return {"round": torch.arange(len(members))}


def by_advantage(self, members: Int[Tensor, " n"], advantage: tuple[Float[Tensor, "*batch"], ...]):
    sizes = torch.stack([each.abs().mean() for each in advantage])
    return {"round": sizes.argsort(descending=True).argsort()}


def holes(self, members: Int[Tensor, " n"]):
    return {"round": 2 * torch.arange(len(members))}


def short(self, members: Int[Tensor, " n"]):
    return {"round": torch.arange(len(members) - 1)}


def floats(self, members: Int[Tensor, " n"]):
    return {"round": torch.arange(len(members), dtype=torch.float64 if members.numel() == 3 else None) * 1.0}


def everywhere(self, members: Int[Tensor, " n"]):
    return {"round": torch.randperm(len(members)).argsort()}


def with_a_memory(self, members: Int[Tensor, " n"]):
    self.sweep = getattr(self, "sweep", 0) + 1
    return {"round": (torch.arange(len(members)) + self.sweep) % len(members)}


def refusing(self, members: Int[Tensor, " n"]):
    raise RecipeError("nobody is served.")


def drawn(self, members: Int[Tensor, " n"]):
    return {"round": torch.randperm(len(members), generator=self.generator).argsort()}


def test_sound_orders_pass():
    check_order(order(sound))
    check_order(order(by_advantage, reads={"members": "members", "advantage": "agents.advantage"}))


@pytest.mark.parametrize(
    ("compute", "problem"),
    [
        (holes, r"the rounds of 2 members are \[0, 2\]; count them from 0 on, without holes"),
        (short, r"round is torch.int64 of shape \[0\], not a whole number for each of 1 members"),
        (floats, "output 'round' is torch.float64 where the inputs are torch.float32|round is torch.float"),
        (everywhere, "it draws from torch's global generator; draw from self.generator = torch.Generator()"),
        (with_a_memory, "output 'round' is another one|it goes on otherwise after a state_dict round trip"),
        (refusing, "compute failed on .*RecipeError: nobody is served|it refuses teams of"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_notices_what_breaks_the_rounds(compute, problem):
    with pytest.raises(AssertionError, match=f"^Broken: ({problem})") as caught:
        check_order(order(compute))
    assert "\n" not in str(caught.value)


def test_a_generator_whose_state_is_not_kept_is_noticed():
    def init(self) -> None:
        Component.__init__(self)
        self.generator = torch.Generator()

    with pytest.raises(AssertionError, match="state_dict round trip"):
        check_order(order(drawn, __init__=init))


def test_what_is_no_order_is_refused():
    with pytest.raises(
        AssertionError, match=r"^loss/td: it writes 'loss', which makes it loss/\.\.\., not order/\.\.\."
    ):
        check_order("loss/td")
    cls = order(by_advantage, reads={"members": "members", "advantage": "agent.advantage"})
    with pytest.raises(AssertionError, match=r"^Broken: it reads 'agent.advantage', and nobody's turn has come"):
        check_order(cls)
