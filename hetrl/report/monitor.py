"""The bound monitor: what a sweep promises, what it risks, and what comes of it."""

from typing import Any

import lightning as L

from hetrl import rng
from hetrl.data.collected import Collected
from hetrl.errors import RunError
from hetrl.report.bound_terms import BeforeSweep, measure
from hetrl.report.critic import critic_of, discount
from hetrl.train.learner import Learner

_PREFIX = "bound"


class BoundMonitor(L.Callback):
    """Measures, every so many frames, the terms of the bound on what a sweep over the agents improves.

    J_new - J_old >= sum_i gain_i - sum_i C_i kl_i - O(critic bias)

    After a sweep, the policies from before it and those from after it each act for one episode in every one of
    ``run.n_eval_episodes`` fresh environments, from the same initial states and with the same random draws; every agent
    acts as its policy draws. Measured are all the sweeps of one batch together: one, or as many as ``data.updates``
    says. It logs, under ``bound/``:

    ``change``, ``change_error``: mean return after the sweep less that before [reward], and its standard error.
    ``gain``, and ``NAME/gain`` of each agent: E[Q(s, new so far) - Q(s, old)] [reward], in states that the old policies
    visit, by the critic from after the sweep. Agents take up their new policies one after the other, in the order of
    the sweep (of the first one, where a batch has several). Only where the recipe has a joint Q.
    ``NAME/kl``: E[KL(old || new)] [nat]; exact for Gaussians and categoricals, of the denoising paths for diffusion
    policies (``loss/path_kl``, floor 0.1). Deterministic policies have none.
    ``NAME/least_eigenvalue``: of the covariance of an agent's actions in a state, in halves of the action's range,
    averaged over states [1]. It is estimated from samples and comes out low: 0.30 (two entries) to 0.26 (17) for
    uniform actions, where 1/3 is exact. Not of discrete actions.
    ``critic_bias``, ``critic_error``, ``critic_spread``: value less return, its absolute value, and the standard
    deviation over the critic's ensemble, each as a mean [reward]. The return is discounted; where an episode was cut,
    the value of its last state stands for the rest. Two things count as bias although the critic means them: entropies
    that it adds to the rewards, and the best of several joint draws where training acts by it (``data/replay``).

    The run is not disturbed: environments and generators are the monitor's own, and the global generators of torch,
    numpy and python are put back.

    Args:
        every: frames from one measurement to the next, 1 or more.

    Raises:
        RunError: ``every`` is no number of frames; the policies have a memory; there are fewer than two episodes, or
            there is no gamma for the returns.

    Source: Lin and Lee 2026, OpenReview kPrvXjUZPG, theorem 5.4 (the bound); Kuba et al. 2022, arXiv:2109.11251.
    Differs: the bound has the greatest KL over states, and constants C_i that nobody knows; the mean KL is measured.
    """

    def __init__(self, every: int) -> None:
        if not (isinstance(every, int) and every >= 1):
            raise RunError(f"the bound monitor measures after every so many frames: {every!r} is no such number.")
        self.every = every
        self._due = False
        self._before: BeforeSweep | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse what it cannot measure."""
        assert isinstance(pl_module, Learner)
        if pl_module.linked.policy(pl_module.linked.team.agents[:1]).memory:
            raise RunError("the bound monitor measures policies without a memory; train recurrent ones without it.")
        if pl_module.recipe.nets[pl_module.linked.plan.policy].behind is not None:
            raise RunError(
                "the bound monitor measures policies that read observations themselves; train those behind another net "
                "without it."
            )
        if pl_module.recipe.run.n_eval_episodes < 2:
            raise RunError("the bound monitor needs run.n_eval_episodes of 2 or more for its standard errors.")
        if critic_of(pl_module.linked) is not None:
            discount(pl_module.linked.recipe)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Copy the policies where a measurement is due and this batch trains them; else it waits for one that does."""
        assert isinstance(pl_module, Learner)
        collected = batch if isinstance(batch, Collected) else Collected.of(batch)
        self._due |= (pl_module.frames + collected.frames) // self.every > pl_module.frames // self.every
        self._before = (
            BeforeSweep.of(pl_module.linked) if self._due and _trains_policies(pl_module, collected) else None
        )
        self._due &= self._before is None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure and log."""
        assert isinstance(pl_module, Learner)
        if self._before is None:
            return
        outside = rng.capture(pl_module.device)
        try:
            found = measure(pl_module.linked, self._before, pl_module.device, pl_module.frames)
        finally:
            rng.restore(outside, pl_module.device)
        self._before = None
        for logger in pl_module.loggers:
            logger.log_metrics({f"{_PREFIX}/{name}": value for name, value in found.items()}, step=pl_module.frames)


def _trains_policies(learner: Learner, collected: Collected) -> bool:
    """Whether a batch trains the policies: a warm-up does not, nor does one that the phase's ``every`` leaves out."""
    if collected.samples == ():
        return False
    start, samples = learner.iteration, learner.recipe.data.arguments.get("updates", 1)
    everies = [phase.every for phase in learner.recipe.update if learner.linked.plan.policy in phase.trained]
    return any((start + samples) // every > start // every for every in everies)
