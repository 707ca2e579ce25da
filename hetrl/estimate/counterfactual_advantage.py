"""What an action was worth beside the agent's other options."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from hetrl.component import Component
from hetrl.errors import RecipeError
from hetrl.team import Discrete, Team


class CounterfactualAdvantage(Component):
    """The value of the joint action, beside what it would have been worth had this agent drawn again.

    A^i = Q(s, a) - sum_b pi^i(b|o^i) Q(s, a^-i, b)

    The others' actions stay as they were, so what they have done to the value cancels: each agent gets a credit of its
    own from a reward of all. It is 0 in the mean under pi^i. With two options of probability 0.25 and 0.75, worth 4 and
    8, the first has the advantage 4 - 7 = -3.

    Raises:
        RecipeError: an agent acts otherwise than by one discrete choice.
    Source: Foerster et al. 2018, arXiv:1705.08926, equation 4.
    Differs: nothing.
    """

    reads = {"q": "agent.candidate_q", "log_prob": "agent.candidate_log_prob", "action": "agent.action"}
    writes = {"advantage": "agent.raw_advantage"}

    @classmethod
    def check_team(cls, arguments: Mapping[str, Any], team: Team) -> None:
        """Refuse agents whose options cannot be listed."""
        for agent in team.agents:
            if not isinstance(agent.action, Discrete) or agent.action.size > 1:
                raise RecipeError(
                    f"agent '{agent.name}' acts by {agent.action}, and the options of one discrete choice are listed; "
                    "use a task whose agents make one, such as task.actions=discrete on VMAS."
                )

    def compute(
        self,
        q: Float[Tensor, "*batch several"],
        log_prob: Float[Tensor, "*batch several"],
        action: Int[Tensor, "*batch 1"],
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``advantage`` [reward]."""
        taken = q.gather(-1, action.long()).squeeze(-1)
        return {"advantage": taken - (log_prob.exp() * q).sum(-1)}
