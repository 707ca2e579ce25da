"""The drift, worked by hand and in training: with parameters of one's own there is none."""

import lightning as L
import pytest
import torch

import hetrl
from hetrl.catalog import component


def test_the_worked_example():
    drift = component("estimate/baseline_drift")
    found = drift.compute(torch.tensor([-1.2, -0.5]), torch.tensor([-1.0, -0.5]))["drift"]
    torch.testing.assert_close(found, torch.tensor([0.2, 0.0]))


@pytest.mark.parametrize(("per", "drifts"), [("agent", False), ("group", True)])
def test_sharing_drifts(per, drifts):
    """The first agent of a sweep never has; later ones do where they share with it."""
    task = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2, 2], n_envs: 8, horizon: 4}"
    actor = f"nets.actor={{use: net/categorical_policy, per: {per}, hidden: [8]}}"
    frames = ["data.frames=32", "run.frames=96", "run.eval_every=96", "run.n_eval_episodes=2", "run.device=cpu"]
    module, data = hetrl.load("shared_happo", task, actor, "update.actors.order.use=order/fixed", *frames).build()
    seen: list[dict[str, float]] = []

    class Keep(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            seen.append({name: value for name, value in pl_module.metrics.items() if "drift" in name})

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(accelerator="cpu", max_epochs=-1, max_steps=-1, callbacks=[Keep()], enable_checkpointing=False,
              **quiet).fit(module, data)  # fmt: skip
    assert seen and len(seen[-1]) == 3, seen
    first, *later = [value for _, value in sorted(seen[-1].items())]
    assert first == 0
    assert all((value > 1e-4) == drifts for value in later)
