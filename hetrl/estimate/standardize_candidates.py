"""Standardised values of candidates."""

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import Positive
from hetrl.component import Component
from hetrl.ops.candidates import centred


class StandardizeCandidates(Component):
    """The candidates of each sample, their values of zero mean and unit deviation.

    (Q_k - mean_k Q_k) / (std_k Q_k + eps),   std of the population

    Weights made of them no longer say how much there is to win in a state, but only which candidates win it. Without,
    the few states in which much is at stake (somebody is about to collide) outweigh the many in which little is. Values
    (1, 3) become (-1, 1), up to eps; values that are all equal become exactly 0.

    A sample in which the agent's choice hardly matters, because the others have drawn something bad, then teaches as
    much as any other, too: two agents that must choose the same of two actions keep both, unless candidates are valued
    with what the others would do (``actor.act``) and not with what they draw (docs/details/haqo_two_modes.md).

    Args:
        eps: added to the deviation [reward], above 0. It should exceed what rounding makes of equal values, which is
            1e-7 of a value: differences of 3e-5 at a value of 300 come out as if they meant something.
    Source: ours.
    Differs: Ding et al. 2024, arXiv:2405.16173, and Lin and Lee 2026, OpenReview kPrvXjUZPG, weigh by advantages in
        units of the reward. With this before ``weight/qcut`` its threshold is in deviations.
    """

    reads = {"q": "agent.candidate_q"}
    writes = {"q": "agent.candidate_q"}

    def __init__(self, *, eps: Positive = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def compute(self, q: Float[Tensor, "*batch several"]) -> dict[str, Float[Tensor, "*batch several"]]:
        """Return the standardised values ``q`` [1]."""
        advantage = centred(q)
        return {"q": advantage / (advantage.square().mean(-1, keepdim=True).sqrt() + self.eps)}
