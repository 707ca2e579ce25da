"""The LightningModule: a batch in, the recipe's phases over its samples, metrics out."""

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from tensordict import TensorDictBase
from torch import Tensor

from hetrl import rng
from hetrl.allocation import allocating
from hetrl.data.collected import Collected
from hetrl.engine.device import Chosen
from hetrl.engine.linked import Linked
from hetrl.engine.phases import phase_runners
from hetrl.engine.store import Store
from hetrl.errors import DivergenceError, RunError
from hetrl.optim import Closure
from hetrl.ranks import ALONE, Rank
from hetrl.recipe.same import refuse_other_recipe
from hetrl.recipe.schema import Recipe
from hetrl.train.closing import Closing
from hetrl.train.epochs import Epochs, begun_anew
from hetrl.train.evaluation import Evaluation
from hetrl.train.joined import Joined
from hetrl.train.logged import Shared, of_episodes, to_host
from hetrl.train.streams import Streams
from hetrl.train.suited import StaysHere, refuse_device, refuse_finished, refuse_processes, refuse_steering
from hetrl.train.threads import FitThreads


class Learner(StaysHere, L.LightningModule):
    """A linked recipe as Lightning trains it.

    A batch is what one collection brought (:class:`~hetrl.data.collected.Collected`): one sample on-policy; none while
    a replay buffer warms up, then ``data.updates``. The phases run on one sample after the other, and what they log is
    averaged over the samples. A plain TensorDict of steps ``[T, N]`` is a batch of one sample as well.

    An epoch is the stretch between two evaluations (:mod:`hetrl.train.epochs`); evaluating is Lightning's validation,
    and ``trainer.validate`` and ``trainer.test`` evaluate whenever they are asked to. The figures of an evaluation are
    logged together with those of the batch that it comes after.

    Of several processes that train together (``run.devices``) each has one; what it logs is the same in all of them.

    Metrics are logged against environment frames; Lightning's own ``global_step`` counts optimiser steps. While it is
    fitted, torch uses ``run.threads`` CPU threads.
    """

    def __init__(self, linked: Linked, evaluation: Evaluation | None = None, rank: Rank = ALONE) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.linked = linked
        self.recipe: Recipe = linked.recipe
        self.phases = phase_runners(linked)
        self.evaluation, self.rank = evaluation, rank
        self.placed: Chosen | None = None
        """Where it was built to be trained, and why there."""
        self.frames = 0
        self.batch_frames = 0
        """Frames of the last batch alone."""
        self.iteration = 0
        """Samples that the phases have run on."""
        self.metrics: dict[str, float] = {}
        """What the last batch logged."""
        self.awaits_evaluation = False
        """Whether the last batch's figures wait for those of the evaluation that comes next."""
        self._evaluated = 0
        """Frames at the last evaluation."""
        self._generator: torch.Generator | None = None
        self._pending: Mapping[str, Any] | None = None
        self._wrapped: dict[int, LightningOptimizer] = {}
        self._spread_known = False
        self._shared, self._streams = Shared(), Streams(linked.recipe.run.seed, rank)

    def configure_callbacks(self) -> list[L.Callback]:
        """Return what holds ``run.threads``, and a Trainer's words to their meaning, and closes the environments.

        Raises:
            RunError: the Trainer would clip or add up gradients itself.
        """
        if self.trainer.state.fn == TrainerFn.FITTING:
            refuse_steering(self.trainer)  # here, as Lightning asks before any other hook
        run = self.recipe.run
        return [Joined(), FitThreads(run.threads), Epochs(run.frames, self.evaluates), Closing()]

    def val_dataloader(self) -> Any:
        """Return one batch of nothing: an evaluation makes its own environments."""
        return range(1)

    def test_dataloader(self) -> Any:
        """Return one batch of nothing."""
        return range(1)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return every phase's optimisers, one for each module that the phase trains."""
        return [optimizer for phase in self.phases for optimizer in phase.optimizers.values()]

    def on_fit_start(self) -> None:
        """Refuse a Trainer that does not suit what was built, or a finished run.

        Raises:
            RunError: it does not.
        """
        refuse_finished(self.frames, self.recipe.run.frames)
        refuse_processes(self.trainer, self.rank)
        refuse_device(self.device, getattr(getattr(self.trainer, "datamodule", None), "device", self.device))

    def on_train_start(self) -> None:
        """Take up the random states of a resumed run, or seed a new one and evaluate the untrained policies."""
        self._follow_schedules()
        optimizers = self.optimizers()
        wrapped = optimizers if isinstance(optimizers, list) else [optimizers]
        self._wrapped = {id(each.optimizer): each for each in wrapped}
        if self._pending is not None:
            self._streams.go_on(self._pending, self.generator, self.device)
            self._pending = None
            if self.awaits_evaluation:
                self._evaluate()
            return
        self._streams.begin()
        if self.evaluates and self.trainer.enable_validation and self.frames == 0:
            self._evaluate()

    @property
    def generator(self) -> torch.Generator:
        """The generator that draws the minibatches; on the module's device."""
        if self._generator is None:
            self._generator = torch.Generator(self.device).manual_seed(self._streams.of("minibatches"))
        return self._generator

    def training_step(self, batch: Collected | TensorDictBase, batch_idx: int) -> None:
        """Run the phases on every sample of a batch, a phase with ``every: k`` on each k-th sample of the run."""
        collected = batch if isinstance(batch, Collected) else Collected.of(batch)
        progress = self._follow_schedules()
        logged: dict[str, list[Tensor]] = {}
        for sample in collected.samples if self._sees() else ():
            self.iteration += 1
            store = Store(self.linked.team, sample)
            for phase in self.phases:
                if self.iteration % phase.phase.every == 0:
                    with allocating(f"{phase.phase.where}: an update on such a batch"):
                        figures = phase.run(store, progress, self.generator, self._optimizer_step)
                    for name, value in figures.items():
                        logged.setdefault(name, []).append(value)
        self.batch_frames = collected.frames * self.rank.count
        self.frames += self.batch_frames
        self._follow_schedules()  # of who acts, too, and they act next
        self._take_statistics()
        means = {name: torch.stack(values).mean() for name, values in logged.items()}
        self.metrics = to_host(of_episodes(self._shared.of(collected)) | means)
        self._stop_on_divergence()
        self.awaits_evaluation = self.trainer.is_last_batch and self.trainer.enable_validation and self._is_due
        if not self.awaits_evaluation:
            self._log(self.metrics)

    def _follow_schedules(self) -> float:
        """Set what follows a schedule to where the run is, and return that, 0 to 1."""
        progress = min(self.frames / self.recipe.run.frames, 1.0)
        self.linked.follow_schedules(progress)
        return progress

    @property
    def evaluates(self) -> bool:
        """Whether a fit evaluates at all."""
        return self.evaluation is not None and self.evaluation.every is not None

    @property
    def _is_due(self) -> bool:
        """Whether an epoch that ends here is evaluated.

        One that a multiple of ``run.eval_every`` ends is. One that ends with the run, or with a stop, is where a
        callback watches what evaluations give: it would take the last figures for those of what is there now.
        """
        if self.evaluation is None or not self.evaluates:
            return False
        watched = (str(getattr(each, "monitor", "")).startswith("eval/") for each in self.trainer.callbacks)  # type: ignore[attr-defined]
        return self.evaluation.due(self.frames, self._evaluated) or self.trainer.fast_dev_run > 0 or any(watched)  # type: ignore[attr-defined]

    def _evaluate(self) -> None:
        """Evaluate, and log the figures with those that wait for them."""
        assert self.evaluation is not None
        figures = self.evaluation.run()
        self._log({**self.metrics, **figures} if self.awaits_evaluation else figures)
        self.metrics |= figures
        self._evaluated, self.awaits_evaluation = self.frames, False

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate: at the end of an epoch where an evaluation is due, under ``trainer.validate`` always.

        Lightning's sanity check before training is left to the evaluation of the untrained policies.
        """
        if self.trainer.state.fn == TrainerFn.VALIDATING:
            self.test_step(batch, batch_idx)
        elif not self.trainer.sanity_checking and (self.awaits_evaluation or self._is_due):
            self._evaluate()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate, for ``trainer.test``.

        Raises:
            RunError: the module was made without an evaluation.
        """
        if self.evaluation is None:
            raise RunError("this module has no evaluation; take the one that hetrl.build returns.")
        self.log_dict({**self.evaluation.run(), "step": float(self.frames)}, batch_size=1)

    def _sees(self) -> bool:
        """Whether observations can be read: the first collection only tells how they are spread."""
        if self.linked.statistics is not None and not self._spread_known:
            self._spread_known = self.linked.statistics.begun
        return self.linked.statistics is None or self._spread_known

    def _take_statistics(self) -> None:
        """Take what was collected into the statistics, now that the update on it is over."""
        statistics = self.linked.statistics
        if statistics is None:
            return
        if not statistics.watched:
            raise RunError(
                f"task.normalize_observations: {self.recipe.data.name} does not tell what was seen; its collect() has "
                "to call behaviour.watch(observations, active) with it."
            )
        statistics.take()

    def _optimizer_step(self, optimizer: torch.optim.Optimizer, closure: Closure) -> None:
        self._wrapped[id(optimizer)].step(closure)

    def _stop_on_divergence(self) -> None:
        for name, value in self.metrics.items():
            if value - value != 0:  # NaN or infinite
                raise DivergenceError(
                    f"{name} is {value} after {self.frames} frames; the run stops, and saves nothing of this."
                )

    def _refuse_diverged_weights(self) -> None:
        """Refuse weights that are no numbers: an update may make them so while all that it logs still is finite."""
        finite = {name: value.isfinite().all() for name, value in self.linked.named_parameters()}
        for name, sound in zip(finite, torch.stack(list(finite.values())).tolist(), strict=True):
            if not sound:
                raise DivergenceError(
                    f"{name} is not finite after {self.frames} frames; the run stops, and saves nothing of this."
                )

    def _log(self, metrics: Mapping[str, float]) -> None:
        for logger in self.loggers:
            logger.log_metrics(dict(metrics), step=self.frames)
        watched = {name: value for name, value in metrics.items() if name == "return" or name.startswith("eval/")}
        self.trainer.callback_metrics.update({name: torch.tensor(value) for name, value in watched.items()})

    def on_train_epoch_end(self) -> None:
        """End the fit when the run has its frames, however many epochs the Trainer allows."""
        if self.frames >= self.recipe.run.frames:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what an exact continuation needs beyond weights and optimisers, as tensors and primitives.

        Raises:
            DivergenceError: a weight is NaN or infinite; nothing is saved.
        """
        self._refuse_diverged_weights()
        checkpoint["hetrl"] = {
            "recipe": self.recipe.yaml(),
            "frames": self.frames,
            "iteration": self.iteration,
            "waiting": self.metrics if self.awaits_evaluation else None,
            "generator": self.generator.get_state(),
            "global": rng.capture(self.device),
        }
        if self.rank != ALONE:
            checkpoint["hetrl"]["ranks"] = self.rank.saved

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            RunError: it was not written by hetrl, or it is another recipe's.
        """
        state = checkpoint.get("hetrl")
        if state is None:
            raise RunError("this checkpoint was not written by hetrl.")
        refuse_other_recipe(self.recipe, state["recipe"])
        self.frames, self.iteration = state["frames"], state["iteration"]
        self._evaluated = self.frames
        waiting = state.get("waiting")  # checkpoints of earlier versions never were between a batch and its evaluation
        self.awaits_evaluation, self.metrics = waiting is not None, dict(waiting or {})
        begun_anew(checkpoint["loops"], ended=int(self.awaits_evaluation))
        self._pending = state
