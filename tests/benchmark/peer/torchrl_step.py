"""The ordinary MAPPO minibatch step in stock TorchRL, and the same maths in plain torch, to time ours against.

Built as TorchRL's own multi-agent PPO tutorial builds it, but for the distribution: a plain normal one in place of the
squashed one, so that every side does the same maths.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import IndependentNormal, MultiAgentMLP, NormalParamExtractor, ProbabilisticActor
from torchrl.objectives import ClipPPOLoss

try:
    from torchrl.objectives.multiagent import MAPPOLoss as Loss
except ImportError:  # TorchRL had no loss of its own for it before 0.13
    Loss = ClipPPOLoss

LEARNING_RATE = 3e-4
CLIP = 0.2
ENTROPY = 0.01
MAX_GRAD_NORM = 10.0
GROUP = "agents"


class MinibatchStep:
    """One optimiser step at each call; ``losses`` are those of the last call."""

    def __init__(self, losses_of: Callable[[], tuple[Tensor, Tensor, Tensor]], parameters: list[nn.Parameter]) -> None:
        """``losses_of`` gives the three terms that the step adds up."""
        self.parameters = parameters
        self.losses: tuple[Tensor, ...] = ()
        self._losses_of = losses_of
        self._optimiser = torch.optim.Adam(parameters, lr=LEARNING_RATE)

    def __call__(self) -> None:
        """Loss, backward, clipping, optimiser step and zeroed gradients."""
        losses = self._losses_of()
        (losses[0] + losses[1] + losses[2]).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.losses = tuple(loss.detach() for loss in losses)


def _batch(rows: int, n_agents: int, observation_size: int, action_size: int) -> TensorDict:
    """A random minibatch; the old log-probabilities are near the fresh policy's, so that not every ratio is clipped."""
    scale = torch.nn.functional.softplus(torch.tensor(0.5413))
    action = torch.randn(rows, n_agents, action_size) * scale
    log_prob = torch.distributions.Normal(0.0, scale).log_prob(action).sum(-1)
    return TensorDict(
        {
            GROUP: TensorDict(
                {
                    "observation": torch.randn(rows, n_agents, observation_size),
                    "action": action,
                    "action_log_prob": log_prob + 0.1 * torch.randn(rows, n_agents),
                    "advantage": torch.randn(rows, n_agents, 1),
                    "value_target": torch.randn(rows, n_agents, 1),
                },
                batch_size=[rows, n_agents],
            )
        },
        batch_size=[rows],
    )


def _networks(
    n_agents: int, hidden: list[int], observation_size: int, action_size: int
) -> tuple[MultiAgentMLP, MultiAgentMLP]:
    """The actor's and the critic's networks, parameters shared over the agents."""
    common = {"n_agents": n_agents, "share_params": True, "num_cells": hidden, "activation_class": nn.Tanh}
    actor = MultiAgentMLP(n_agent_inputs=observation_size, n_agent_outputs=2 * action_size, centralized=False, **common)
    critic = MultiAgentMLP(n_agent_inputs=observation_size, n_agent_outputs=1, centralized=True, **common)
    return actor, critic


def _description(parameters: list[nn.Parameter], **settings: Any) -> dict[str, Any]:
    """What was built, for the record beside the figures."""
    return {
        **settings,
        "learning_rate": LEARNING_RATE,
        "clip": CLIP,
        "entropy": ENTROPY,
        "max_grad_norm": MAX_GRAD_NORM,
        "critic_loss": "smooth_l1",
        "normalize_advantage": False,
        "distribution": "independent normal",
        "activation": "tanh",
        "optimiser": "torch.optim.Adam",
        "parameters": sum(parameter.numel() for parameter in parameters),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "torchrl", "tensordict")},
    }


def stock_mappo_step(
    rows: int, n_agents: int, hidden: list[int], observation_size: int, action_size: int, seed: int
) -> tuple[MinibatchStep, dict[str, Any]]:
    """TorchRL's step (loss, backward, clip, optimiser, zero_grad) on a fixed batch, and what it is made of."""
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(seed)
        actor_network, critic_network = _networks(n_agents, hidden, observation_size, action_size)
        batch = _batch(rows, n_agents, observation_size, action_size)

    actor = ProbabilisticActor(
        TensorDictModule(
            nn.Sequential(actor_network, NormalParamExtractor()),
            in_keys=[(GROUP, "observation")],
            out_keys=[(GROUP, "loc"), (GROUP, "scale")],
        ),
        in_keys=[(GROUP, "loc"), (GROUP, "scale")],
        out_keys=[(GROUP, "action")],
        distribution_class=IndependentNormal,
        return_log_prob=True,
        log_prob_key=(GROUP, "action_log_prob"),
    )
    critic = TensorDictModule(critic_network, in_keys=[(GROUP, "observation")], out_keys=[(GROUP, "state_value")])
    loss = Loss(
        actor,
        critic,
        clip_epsilon=CLIP,
        entropy_coeff=ENTROPY,
        loss_critic_type="smooth_l1",
        normalize_advantage=False,
    )
    loss.set_keys(
        action=(GROUP, "action"),
        sample_log_prob=(GROUP, "action_log_prob"),
        value=(GROUP, "state_value"),
        advantage=(GROUP, "advantage"),
        value_target=(GROUP, "value_target"),
    )

    def losses_of() -> tuple[Tensor, Tensor, Tensor]:
        values = loss(batch)
        return values["loss_objective"], values["loss_critic"], values["loss_entropy"]

    parameters = list(loss.parameters())
    return MinibatchStep(losses_of, parameters), _description(
        parameters,
        side="torchrl",
        loss=Loss.__name__,
        rows=rows,
        n_agents=n_agents,
        hidden=list(hidden),
        observation_size=observation_size,
        action_size=action_size,
        seed=seed,
    )


def plain_mappo_step(
    rows: int, n_agents: int, hidden: list[int], observation_size: int, action_size: int, seed: int
) -> tuple[MinibatchStep, dict[str, Any]]:
    """The same step from the same parameters and batch with no TensorDict in it: about the least it can cost."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = _networks(n_agents, hidden, observation_size, action_size)
        batch = _batch(rows, n_agents, observation_size, action_size)[GROUP]

    def linear_stack(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(inputs, size), nn.Tanh()]
            inputs = size
        return nn.Sequential(*layers, nn.Linear(inputs, outputs))

    actor = linear_stack(observation_size, 2 * action_size)
    critic = linear_stack(observation_size * n_agents, 1)
    parameters = [*actor.parameters(), *critic.parameters()]
    with torch.no_grad():
        # Drawn by TorchRL's networks, so that both sides start alike and their losses can be compared.
        drawn = [parameter for network in networks for parameter in network.parameters()]
        for parameter, value in zip(parameters, drawn, strict=True):
            parameter.copy_(value)
    extractor = NormalParamExtractor()
    observation, action = batch["observation"], batch["action"]
    old_log_prob = batch["action_log_prob"].unsqueeze(-1)
    advantage, target = batch["advantage"], batch["value_target"]

    def losses_of() -> tuple[Tensor, Tensor, Tensor]:
        loc, scale = extractor(actor(observation))
        distribution = torch.distributions.Normal(loc, scale, validate_args=False)
        ratio = (distribution.log_prob(action).sum(-1, keepdim=True) - old_log_prob).exp()
        clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
        objective = -torch.minimum(ratio * advantage, clipped * advantage).mean()
        value = critic(observation.flatten(-2)).unsqueeze(-2).expand_as(target)
        critic_loss = torch.nn.functional.smooth_l1_loss(value, target)
        return objective, critic_loss, -ENTROPY * distribution.entropy().sum(-1).mean()

    return MinibatchStep(losses_of, parameters), _description(
        parameters,
        side="plain torch",
        loss="by hand",
        rows=rows,
        n_agents=n_agents,
        hidden=list(hidden),
        observation_size=observation_size,
        action_size=action_size,
        seed=seed,
    )


def main() -> None:
    """Checks both steps against each other, times them in turn and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--agents", type=int, default=3)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64])
    parser.add_argument("--observation-size", type=int, default=18)
    parser.add_argument("--action-size", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    shape = (options.rows, options.agents, options.hidden, options.observation_size, options.action_size, options.seed)
    built = {"torchrl": stock_mappo_step(*shape), "plain": plain_mappo_step(*shape)}
    steps = {name: step for name, (step, _) in built.items()}
    before = [parameter.detach().clone() for parameter in steps["torchrl"].parameters]
    for step in steps.values():
        for _ in range(20):  # far enough for a difference in the maths to show, and a warm-up besides
            step()
        assert all(loss.isfinite() for loss in step.losses), step.losses
    assert not any(torch.equal(*pair) for pair in zip(before, steps["torchrl"].parameters, strict=True))
    torch.testing.assert_close(steps["torchrl"].losses, steps["plain"].losses, rtol=1e-4, atol=1e-5)

    losses = [round(loss.item(), 6) for loss in steps["torchrl"].losses]
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.calls):  # in turn, so that another load on the machine meets both alike
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    print(
        json.dumps(
            {
                "median_ms": {name: round(1e3 * statistics.median(values), 3) for name, values in seconds.items()},
                "losses_after_20": losses,
                "description": built["torchrl"][1],
            }
        )
    )


if __name__ == "__main__":
    main()
