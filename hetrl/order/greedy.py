"""The greatest advantage first."""

from jaxtyping import Float, Int
from torch import Tensor

from hetrl.component import Component
from hetrl.order import sizes


class Greedy(Component):
    """One member a round, that of the greatest advantage first.

    round(i) = #{j : mean |A_j| > mean |A_i|},   ties in team order

    Agents need an advantage of their own, as from a value of their own. It is the one from before the sweep. With mean
    sizes 1, 3 and 2 the rounds are 2, 0 and 1.

    Raises:
        RecipeError: it is asked to put groups in order.
    Source: Wang et al. 2023, arXiv:2302.06205 (the greedy half of its semi-greedy rule).
    Differs: the paper's rule names the advantage that those updated before have changed; this, like the authors' code,
        sorts once before the sweep. Their code divides each advantage by its normalised value, which may be near 0, and
        the paper does not.
    """

    reads = {"members": "members", "advantage": "agents.advantage"}
    writes = {"round": "round"}

    def compute(
        self, members: Int[Tensor, " n"], advantage: tuple[Float[Tensor, "*batch"], ...]
    ) -> dict[str, Int[Tensor, " n"]]:
        """Return the round in which each of ``members`` is updated."""
        return {"round": sizes(members, advantage).argsort(descending=True, stable=True).argsort()}
