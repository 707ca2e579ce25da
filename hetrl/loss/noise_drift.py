"""A price on predicting other noise than before."""

from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from hetrl.arguments import SCHEDULABLE, NonNegative
from hetrl.component import Component


class NoiseDrift(Component):
    """How far the predicted noise has moved since an old policy, whichever steps of its chain that is.

    coef ||eps_theta(x_t, o, t) - eps_old(x_t, o, t)||^2

    A drift functional: it is 0, and so is its gradient, where nothing has moved, and 0 or more elsewhere. So in a turn
    of one step it does nothing unless the old prediction is a slow copy's (``actor.target.predict``); the checker
    refuses anything else. ``loss/path_kl`` weighs the same errors by what each step counts in the KL of the paths; here
    all steps count alike, as in ``loss/noise_matching``. Predictions (1, 0) and (0, 2) with coef 0.5 cost 2.5.

    Args:
        coef: what it counts beside ``loss/noise_matching`` [1], 0 or more.
    Source: Kuba et al. 2022, arXiv:2201.02373 (mirror learning, definition 3.1: drift functionals).
    Differs: the form is ours.
    """

    reads = {"predicted": "agent.predicted_noise", "old": "agent.old_predicted_noise"}
    compares = "old"
    """The role that the old policy wrote: with that of the same turn, one step alone does nothing."""
    writes = {"loss": "loss.agent.noise_drift", "drift": "log.agent.noise_drift"}

    def __init__(self, *, coef: Annotated[NonNegative, SCHEDULABLE] = 1.0) -> None:
        super().__init__()
        self.coef = coef

    def compute(
        self, predicted: Float[Tensor, "*batch dim"], old: Float[Tensor, "*batch dim"]
    ) -> dict[str, Float[Tensor, "*batch"]]:
        """Return ``loss`` per sample [1], and the ``drift`` without the coefficient [1]."""
        drift = (predicted - old).square().sum(-1)
        return {"loss": self.coef * drift, "drift": drift.detach()}
