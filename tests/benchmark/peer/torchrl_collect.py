"""Collection from VMAS with stock TorchRL, to time ours against."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import StepCounter, TransformedEnv
from torchrl.envs.libs.vmas import VmasEnv
from torchrl.modules import MultiAgentMLP, NormalParamExtractor, ProbabilisticActor, TanhNormal


def _actor(env: TransformedEnv, group: str, n_agents: int, hidden: list[int]) -> ProbabilisticActor:
    """One group's policy, as TorchRL's multi-agent PPO tutorial builds it."""
    action = env.full_action_spec_unbatched[group, "action"]
    network = MultiAgentMLP(
        n_agent_inputs=env.observation_spec[group, "observation"].shape[-1],
        n_agent_outputs=2 * action.shape[-1],
        n_agents=n_agents,
        centralized=False,
        share_params=True,
        num_cells=hidden,
        activation_class=nn.Tanh,
    )
    return ProbabilisticActor(
        TensorDictModule(
            nn.Sequential(network, NormalParamExtractor()),
            in_keys=[(group, "observation")],
            out_keys=[(group, "loc"), (group, "scale")],
        ),
        spec=action,
        in_keys=[(group, "loc"), (group, "scale")],
        out_keys=[(group, "action")],
        distribution_class=TanhNormal,
        distribution_kwargs={"low": action.space.low, "high": action.space.high},
        return_log_prob=True,
        log_prob_key=(group, "action_log_prob"),
    )


def torchrl_collector(
    scenario: str,
    n_envs: int,
    horizon: int,
    hidden: list[int],
    *,
    seed: int = 0,
    scenario_options: dict[str, Any] | None = None,
) -> Callable[[], int]:
    """A callable that collects ``horizon`` steps of every environment, resets included, and returns the frames.

    A scenario that ends episodes of itself is reset within the batch, as TorchRL does it; the others start afresh with
    every batch, since the horizon ends them all at its last step. ``scenario_options`` are the scenario's own.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(seed)
        # The horizon belongs to StepCounter: with max_steps, VMAS would report it as a termination.
        env = TransformedEnv(
            VmasEnv(
                scenario,
                num_envs=n_envs,
                continuous_actions=True,
                device="cpu",
                seed=seed,
                scenario_kwargs=scenario_options,
            ),
            StepCounter(max_steps=horizon),
        )
        groups = env.group_map
        policy = TensorDictSequential(*[_actor(env, group, len(names), hidden) for group, names in groups.items()])
        collector = Collector(
            env,
            policy,
            frames_per_batch=n_envs * horizon,
            total_frames=-1,
            # What 0.14 does anyway, said aloud to quiet its warning: no InitTracker, which this policy does not need.
            auto_register_policy_transforms=False,
        )
    iterator = iter(collector)

    def collect() -> int:
        return next(iterator).numel()

    return collect


def main() -> None:
    """Times a few batches and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--scenario", default="balance")
    parser.add_argument("--n-envs", type=int, default=64)
    parser.add_argument("--horizon", type=int, default=100)
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 128])
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    collect = torchrl_collector(options.scenario, options.n_envs, options.horizon, options.hidden)
    seconds, frames = [], 0
    for _ in range(options.batches):
        start = time.perf_counter()
        frames += collect()
        seconds.append(time.perf_counter() - start)
    print(
        json.dumps(
            {
                "options": vars(options),
                "frames": frames,
                "seconds": [round(value, 3) for value in seconds],
                "frames_per_second": round(frames / sum(seconds)),
                "versions": {name: version(name) for name in ("torch", "torchrl", "tensordict", "vmas")},
            }
        )
    )


if __name__ == "__main__":
    main()
