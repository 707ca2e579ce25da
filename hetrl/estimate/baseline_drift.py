"""How far sharing has moved a policy before its agent's turn."""

from jaxtyping import Float
from torch import Tensor

from hetrl.component import Component


class BaselineDrift(Component):
    """What updates of others have changed in an agent's policy by the time that its own turn comes.

    |log pi_now(a|o) - log pi_rollout(a|o)|,   pi_now the policy just before the agent's turn

    It is 0 where every agent has parameters of its own. Where some share theirs, the update of one moves the others,
    and the old policy of their ratio is no longer the one that has acted: the policy updating baseline drifts. With
    log-probs of -1.0 at the rollout and -1.2 now it is 0.2.

    Source: Yu et al. 2025, arXiv:2507.09989 (policy updating baseline drift).
    Differs: the paper describes the drift and does not measure it; the measure is ours.
    """

    reads = {"log_prob": "agent.old_log_prob", "rollout_log_prob": "agent.rollout_log_prob"}
    writes = {"drift": "log.agent.baseline_drift"}

    def compute(
        self, log_prob: Float[Tensor, "*batch"], rollout_log_prob: Float[Tensor, "*batch"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``drift`` per sample [nat]."""
        return {"drift": (log_prob - rollout_log_prob).abs()}
