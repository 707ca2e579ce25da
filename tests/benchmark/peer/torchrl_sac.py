"""One HASAC update in stock TorchRL, to time ours against.

What it is made of, nothing of it ours:

- every agent is a ``ProbabilisticActor`` (``torchrl.modules.MLP``, ``NormalParamExtractor``, ``TanhNormal``) in a
  ``SACLoss`` of its own, whose critic reads the state and every agent's action from the tensordict; before an agent's
  turn the others' entries hold their latest proposals, which is all that the sequential carry takes;
- the critic and the joint temperature are a fourth ``SACLoss``, whose actor is the joint policy: the three networks
  side by side under one ``TanhNormal``, so that its log-prob is the sum that the target and the joint temperature need;
- the agents' losses share the critic's twin parameters (each would otherwise draw twins of its own);
- ``TD0`` with the discount of five steps, ``SoftUpdate``, ``torch.optim.Adam`` for each agent, the critic and each
  temperature, ``zero_grad`` and ``backward``, and a Python loop over the agents.

Only the losses that a step needs are computed (``actor_loss``, ``qvalue_v2_loss`` and ``alpha_loss`` one by one), since
calling the loss module as a whole would evaluate all three for each agent. The one difference in maths is the
deviation's lower end: 1e-4 here, e^-20 there, and no upper end here; neither is reached by fresh networks. From the
same parameters, batch, noise and order, losses and parameters are ours after several updates (``check_soft_update`` in
``run.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from tensordict import TensorDict
from tensordict.nn import InteractionType, TensorDictModule
from torch import Tensor, nn
from torchrl.modules import MLP, NormalParamExtractor, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate, ValueEstimators

DISCOUNT = 0.99**5
INITIAL_ALPHA = 0.2
TAU = 0.005
LEARNING_RATE = {"actor": 5e-4, "critic": 1e-3, "alpha": 3e-4}
EPS = 1e-5


def adam(parameters: Sequence[Tensor], kind: str) -> torch.optim.Adam:
    """The optimiser of one network or temperature."""
    return torch.optim.Adam(parameters, lr=LEARNING_RATE[kind], eps=EPS)


def step(optimiser: torch.optim.Adam, loss: Tensor) -> None:
    """Loss to parameters, as every tutorial has it."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


class JointHead(nn.Module):
    """All agents' means and deviations side by side, each from its own network and observation."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, *observations: Tensor) -> tuple[Tensor, Tensor]:
        """Means ``[B, n A]`` and deviations ``[B, n A]``."""
        found = [head(observation) for head, observation in zip(self.heads, observations, strict=True)]
        return torch.cat([mean for mean, _ in found], -1), torch.cat([std for _, std in found], -1)


class StockUpdate:
    """One whole update at each call: critic, sweep over the agents, temperatures, target copies."""

    def __init__(self, batch: TensorDict, n_agents: int, seen: int, acted: int, hidden: list[int], state: int) -> None:
        """``batch`` has ``state``, ``action`` (joint), ``(agent_i, observation)`` and ``next``."""
        self.batch = batch
        self.names = [f"agent_{i}" for i in range(n_agents)]
        widths = {"num_cells": hidden, "activation_class": nn.ReLU}
        self.heads = [
            nn.Sequential(MLP(in_features=seen, out_features=2 * acted, **widths), NormalParamExtractor("exp"))
            for _ in self.names
        ]
        network = MLP(in_features=state + n_agents * acted, out_features=1, **widths)

        joint = self._actor(JointHead(self.heads), [(name, "observation") for name in self.names], ())
        critic = ValueOperator(network, in_keys=["state", "action"])
        self.joint = self._loss(joint, critic, -float(n_agents * acted), "action")
        self.joint.make_value_estimator(ValueEstimators.TD0, gamma=DISCOUNT)
        self.target = SoftUpdate(self.joint, tau=TAU)

        every_action = [(name, "action") for name in self.names]
        self.losses = []
        for name, head in zip(self.names, self.heads, strict=True):
            actor = self._actor(head, [(name, "observation")], (name,))
            judge = ValueOperator(network, in_keys=["state", *every_action], out_keys=["state_action_value"])
            loss = self._loss(actor, judge, -float(acted), (name, "action"))
            loss.qvalue_network_params = self.joint.qvalue_network_params
            self.losses.append(loss)

        self.critic_optimiser = adam(list(self.joint.qvalue_network_params.parameters()), "critic")
        self.actor_optimisers = [adam(list(head.parameters()), "actor") for head in self.heads]
        self.alpha_optimisers = [adam([loss.log_alpha], "alpha") for loss in [*self.losses, self.joint]]
        self.figures: dict[str, Tensor] = {}

    @staticmethod
    def _actor(head: nn.Module, observations: list[Any], prefix: tuple[str, ...]) -> ProbabilisticActor:
        def key(word: str) -> Any:
            return (*prefix, word) if prefix else word

        return ProbabilisticActor(
            TensorDictModule(head, in_keys=observations, out_keys=[key("loc"), key("scale")]),
            in_keys={"loc": key("loc"), "scale": key("scale")},
            out_keys=[key("action")],
            distribution_class=TanhNormal,
            return_log_prob=True,
            log_prob_key=key("action_log_prob"),
            default_interaction_type=InteractionType.RANDOM,
        )

    @staticmethod
    def _loss(actor: ProbabilisticActor, critic: ValueOperator, target_entropy: float, action: Any) -> SACLoss:
        loss = SACLoss(
            actor, critic, num_qvalue_nets=2, loss_function="l2", alpha_init=INITIAL_ALPHA,
            target_entropy=target_entropy,
        )  # fmt: skip
        log_prob = (action[0], "action_log_prob") if isinstance(action, tuple) else "action_log_prob"
        loss.set_keys(action=action, log_prob=log_prob)
        return loss

    def _propose(self, turn: int, proposals: TensorDict) -> None:
        """Put an agent's fresh proposal and its log-prob into ``proposals``."""
        loss = self.losses[turn]
        with torch.no_grad(), loss.actor_network_params.to_module(loss.actor_network, preserve_module_state=False):
            loss.actor_network(proposals)

    def __call__(self, order: Sequence[int] | None = None) -> None:
        """Take one update; ``order`` is the sweep's, a random one if left out."""
        value_loss, _ = self.joint.qvalue_v2_loss(self.batch)
        step(self.critic_optimiser, value_loss)
        self.target.step()
        self.figures = {"critic": value_loss.detach()}

        proposals = self.batch.select("state", *((name, "observation") for name in self.names))
        for turn in range(len(self.names)):
            self._propose(turn, proposals)
        for turn in torch.randperm(len(self.names)).tolist() if order is None else order:
            actor_loss, _ = self.losses[turn].actor_loss(proposals)
            step(self.actor_optimisers[turn], actor_loss)
            self._propose(turn, proposals)  # later agents answer the new policy
            self.figures[self.names[turn]] = actor_loss.detach()

        log_probs = [proposals[name, "action_log_prob"] for name in self.names]
        both = zip([*self.losses, self.joint], self.alpha_optimisers, [*log_probs, sum(log_probs)], strict=True)
        for loss, optimiser, log_prob in both:
            step(optimiser, loss.alpha_loss(log_prob).mean())


def stock_hasac_update(data: TensorDict, hidden: list[int]) -> StockUpdate:
    """The stock update on one of our batches (``agents`` with ``[B, n, F]``, ``state``, ``reward``, ``next``)."""
    rows, n_agents, seen = data["agents", "observation"].shape

    def at(when: TensorDict) -> dict[str, Any]:
        agents = {
            f"agent_{i}": {"observation": when["agents", "observation"][:, i].contiguous()} for i in range(n_agents)
        }
        return {"state": when["state"], **agents}

    ended = data["terminated"].unsqueeze(-1)
    then = {"reward": data["reward"].unsqueeze(-1), "terminated": ended, "done": ended}
    batch = TensorDict(
        {**at(data), "action": data["agents", "action"].flatten(1), "next": {**at(data["next"]), **then}}, [rows]
    )
    acted = data["agents", "action"].shape[-1]
    return StockUpdate(batch, n_agents, seen, acted, hidden, data["state"].shape[-1])


def give_parameters(linked: Any, stock: StockUpdate) -> None:
    """Copy our linked recipe's parameters into the stock build, so that both start alike."""
    with torch.no_grad():
        for theirs, ours in parameter_pairs(linked, stock):
            theirs.copy_(ours)


def parameter_pairs(linked: Any, stock: StockUpdate) -> list[tuple[Tensor, Tensor]]:
    """Pairs of the stock build's parameters and ours: actors, twin critics and their slow copies, temperatures."""
    pairs = []
    for name, head in zip(stock.names, stock.heads, strict=True):
        ours = linked.nets["actor"][name].head.body.layers
        theirs = [layer for layer in head[0] if isinstance(layer, nn.Linear)]
        for linear, own in zip(theirs, ours, strict=True):
            pairs += [(linear.weight, own.weight), (linear.bias, own.bias)]
    bodies = [(stock.joint.qvalue_network_params, linked.nets["q"]["team"].body),
              (stock.joint.target_qvalue_network_params, linked.slow["q"].net["team"].body)]  # fmt: skip
    for params, body in bodies:
        for layer, (weight, bias) in enumerate(zip(body.weights, body.biases, strict=True)):
            pairs.append((params["module", str(2 * layer), "weight"].data, weight.transpose(1, 2)))
            pairs.append((params["module", str(2 * layer), "bias"].data, bias.squeeze(1)))
    for loss, net in [*zip(stock.losses, linked.nets["alpha"].values(), strict=True),
                      (stock.joint, linked.nets["alpha_joint"]["team"])]:  # fmt: skip
        pairs.append((loss.log_alpha.data, net.x.reshape(loss.log_alpha.shape)))
    return pairs


@contextmanager
def same_draw(n_agents: int, noise: Tensor) -> Any:
    """Have torch's normal distribution and ours use ``noise`` (``[B, A]``), for every agent and every sample alike."""

    def drawn(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        return noise if shape[-1] == noise.shape[-1] else noise.repeat(1, n_agents)

    normal = "torch.distributions.normal._standard_normal"
    with patch(normal, drawn), patch("torch.randn_like", lambda like, **_: noise.expand_as(like)):
        yield
