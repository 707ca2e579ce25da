"""The target of an action value along a trajectory."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl.arguments import Fraction
from hetrl.component import Component
from hetrl.ops.discounted import discounted_sums


class TDLambdaTarget(Component):
    """What a joint action has led to, mixed from all lengths of lookahead.

    y_t = r_t + gamma (1 - terminated_t) ((1 - lambda) Q'(s_{t+1}, a') + lambda y_{t+1})

    a' is a fresh joint action of the current policies. Where the episode is cut off (truncated), and at the last step
    of a batch, y_{t+1} is not known and Q' takes all of its place. The first dimension of every role is time. With
    rewards 1 and 2, Q' 4 and 8 and gamma = lambda = 0.5 the targets are 2 + 0.5 * 8 = 6 and
    1 + 0.5 (0.5 * 4 + 0.5 * 6) = 3.5.

    Args:
        gamma: discount per step [1], 0 to 1.
        lmbda: weight of the longer lookaheads [1], 0 to 1; 0 is one step, 1 the whole rest of the episode.
    Source: Foerster et al. 2018, arXiv:1705.08926 (TD(lambda), on policy); Sutton 1988.
    Differs: the paper bootstraps with the next action as it was taken; a fresh one also serves where the episode was
        cut off and nobody acted.
    """

    reads = {"reward": "reward", "q": "next.min_q", "terminated": "terminated", "truncated": "truncated"}
    writes = {"target": "target"}
    follows = {"terminated": "reward", "truncated": "reward"}
    along_time = True

    def __init__(self, *, gamma: Fraction = 0.99, lmbda: Fraction = 0.8) -> None:
        super().__init__()
        self.gamma, self.lmbda = gamma, lmbda

    def compute(
        self,
        reward: Float[Tensor, "time *batch"],
        q: Float[Tensor, "time *batch"],
        terminated: Bool[Tensor, "time *batch"],
        truncated: Bool[Tensor, "time *batch"],
    ) -> dict[str, Float[Tensor, "time *batch"]]:
        """Return ``target`` [reward]."""
        longer = torch.full_like(q, self.lmbda).masked_fill(terminated | truncated, 0.0)
        longer = torch.cat([longer[:-1], torch.zeros_like(longer[-1:])])
        first = reward + self.gamma * ((1 - longer) * q).masked_fill(terminated, 0.0)
        return {"target": discounted_sums(first, self.gamma * longer)}
