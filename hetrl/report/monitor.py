"""The bound monitor: what a sweep promises, what it risks, and what comes of it."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from hetrl import catalog, keys, rng
from hetrl.data.behaviour import Behaviour
from hetrl.data.collected import Collected
from hetrl.engine.linked import Linked, SharedNetwork
from hetrl.engine.turns import in_rounds
from hetrl.errors import RunError
from hetrl.ops.diffusion import path_kl
from hetrl.recipe.schema import Recipe
from hetrl.team import Agent, Box, Team
from hetrl.train.build import make_env
from hetrl.train.learner import Learner

_PREFIX = "bound"
_ROWS = 256
"""States that gains, distances and covariances are averaged over."""
_DRAWS = 64
"""Actions drawn in each state for a covariance, for each of an action's entries."""
_FLOOR = 0.1
"""For the deviation of a diffusion policy's last step, as in ``loss/path_kl``."""

Values = Callable[[Tensor, tuple[Tensor, ...]], Tensor]
"""(state ``*B S``, everybody's action) -> every member's value, ``E *B``."""


class BoundMonitor(L.Callback):
    """Measures the terms of the bound on a sweep's improvement, of the first sweep after every so many frames.

    J_new - J_old >= sum_i gain_i - sum_i C_i kl_i - O(critic bias)

    Both sides are estimated on fresh episodes of environments of its own, in which every agent acts as its policy
    draws. (Where training takes the best of several joint draws, see ``data/replay``, the critic's targets are of
    better actions than these; its bias has that in it.) From the same initial states and the same random draws the
    policies of just before a batch and of just after it act; a batch is one sweep, or as many as ``data.updates`` says.
    It logs, under ``bound/``:

    ``change``, ``change_error``: mean return after less that before [reward], and its standard error.
    ``gain``, and ``NAME/gain`` of each agent: E[Q(s, new so far) - Q(s, old)], the agents taking up their new policies
    one after the other in the order of the sweep (the first one's, of several), in states of the old policies. The
    critic is that of after the batch. Only where the recipe has a joint Q.
    ``NAME/kl``: E[KL(old || new)] [nat], exact for Gaussians and categoricals, that of the denoising paths for
    diffusion policies (see ``loss/path_kl``, floor 0.1). Not of deterministic policies, which have none.
    ``NAME/least_eigenvalue`` of the covariance of an agent's actions in a state, in halves of the action's range,
    averaged over states [1]. The least of several estimates is on the low side: uniform actions, whose covariance has
    1/3 for all of its eigenvalues, come out at 0.30 (two entries) to 0.26 (17). Not of discrete actions.
    ``critic_bias``, ``critic_error``, ``critic_spread``: mean of value less return, of its absolute value, and of the
    standard deviation over the critic's ensemble [reward]. The return is discounted; where an episode was cut the value
    of its end stands for the rest. A critic that adds entropies to the rewards has those for its bias.

    Nothing of the run is disturbed: environments and generators are its own, and torch's, numpy's and python's global
    ones are put back.

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
        self._before: _Before | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse what it cannot measure."""
        assert isinstance(pl_module, Learner)
        if pl_module.linked.policy(pl_module.linked.team.agents[:1]).memory:
            raise RunError("the bound monitor measures policies without a memory; train recurrent ones without it.")
        if pl_module.recipe.run.n_eval_episodes < 2:
            raise RunError("the bound monitor needs run.n_eval_episodes of 2 or more for its standard errors.")
        if critic_of(pl_module.linked) is not None:
            discount(pl_module.linked.recipe)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the policies as they are: of the first batch with a sweep from a multiple of ``every`` on."""
        assert isinstance(pl_module, Learner)
        collected = batch if isinstance(batch, Collected) else Collected.of(batch)
        self._due |= (pl_module.frames + collected.frames) // self.every > pl_module.frames // self.every
        self._before = _Before.of(pl_module.linked) if self._due and _sweeps(pl_module, collected) else None
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


def _sweeps(learner: Learner, collected: Collected) -> bool:
    """Whether a batch trains the policies: a warm-up does not, and a phase may be due at every so-manieth sample."""
    if collected.samples == ():
        return False
    start, samples = learner.iteration, learner.recipe.data.arguments.get("updates", 1)
    everies = [phase.every for phase in learner.recipe.update if phase.train == learner.linked.plan.policy]
    return any((start + samples) // every > start // every for every in everies)


@dataclass(frozen=True)
class _Before:
    """What a batch is going to change."""

    policy: SharedNetwork
    order: Mapping[str, Any]
    """Copies of the orders, by phase: each will say what the sweep's own is going to say."""

    @classmethod
    def of(cls, linked: Linked) -> "_Before":
        policy: SharedNetwork = linked.nets[linked.plan.policy]  # type: ignore[assignment]
        return cls(copy.deepcopy(policy), {name: copy.deepcopy(order) for name, order in linked.orders.items()})


@torch.no_grad()
def measure(linked: Linked, before: _Before, device: torch.device, frames: int) -> dict[str, float]:
    """Return the figures, by name; see :class:`BoundMonitor`.

    Args:
        linked: the recipe's modules after the batch.
        before: what was kept of them before it.
        device: where the modules are.
        frames: of the run so far, which the random draws are made from.
    """
    recipe, team = linked.recipe, linked.team
    seed = rng.derive(recipe.run.seed, "monitor", str(frames))
    rng.seed(seed)
    old, new = before.policy.of, linked.policy
    rollouts = [
        _Rollout.of(recipe, Behaviour(team, policy), device, seed)  # type: ignore[arg-type]
        for policy in (old, new)
    ]
    change = rollouts[1].returns - rollouts[0].returns
    found = {"change": change.mean(), "change_error": change.std() / len(change) ** 0.5}
    states = rollouts[0].states(team, _ROWS, torch.Generator(device).manual_seed(seed))
    generator = torch.Generator(device).manual_seed(seed)
    for agent in team.agents:
        found |= {
            f"{agent.name}/{name}": value
            for name, value in _of_agent(agent, old((agent,)), new((agent,)), states, generator).items()
        }
    critic = critic_of(linked)
    if critic is not None:
        values, joint = critic
        found |= rollouts[1].bias(team, values, discount(recipe))
        if joint:
            found |= _gains(team, _sweep(linked, before), old, new, values, states, seed)
    return {name: float(value) for name, value in found.items()}


@dataclass(frozen=True)
class _States:
    """Some states, and what the agents see and may do in them."""

    state: Tensor
    observation: dict[str, Tensor]
    """Agent's name -> ``B F``."""
    action_mask: dict[str, Tensor]


@dataclass(frozen=True)
class _Rollout:
    """One episode of each environment, time first."""

    observation: dict[str, Tensor]
    """Layout group -> ``T N n F``."""
    masks: dict[str, Tensor]
    action: dict[str, Tensor]
    reward: Tensor
    """``T N``, 0 after the end."""
    alive: Tensor
    """``T N``: before the end."""
    terminated: Tensor
    """``N``: it ended by itself."""
    final: tuple[Tensor, tuple[Tensor, ...]]
    """State and joint action after the last step, of an episode that was cut."""

    @property
    def returns(self) -> Tensor:
        """Undiscounted, ``N``."""
        return self.reward.sum(0)

    @classmethod
    def of(cls, recipe: Recipe, behaviour: Behaviour, device: torch.device, seed: int) -> "_Rollout":
        """Run every environment from a reset to the end of its first episode, the policies drawing their actions."""
        env = make_env(recipe, device, seed, n_envs=recipe.run.n_eval_episodes)
        team, generator = env.team, torch.Generator(device).manual_seed(seed)
        observation, masks = env.start(), env.masks
        behaviour.refresh()
        kind = recipe.task.arguments.get("reward", "mean")
        steps: list[tuple[Any, ...]] = []
        alive: Tensor | None = None
        while alive is None or alive.any():
            available = masks.get("action_mask", {})
            action = behaviour.explore(observation, available, generator)
            moved = env.advance(action)
            running = torch.ones_like(moved.terminated) if alive is None else alive
            earned = torch.where(running, team.reward(moved.reward, "mean" if kind == "per_agent" else kind), 0.0)
            steps.append((observation, available, action, earned, running, moved))
            alive = running & ~(moved.terminated | moved.truncated)
            observation, masks = moved.observation, moved.masks
        return cls._joined(team, behaviour, steps, generator)

    @classmethod
    def _joined(
        cls, team: Team, behaviour: Behaviour, steps: Sequence[tuple[Any, ...]], generator: torch.Generator
    ) -> "_Rollout":
        seen, available, action, earned, running, moved = zip(*steps, strict=True)
        alive = torch.stack(running)
        last = alive.sum(0) - 1

        def at_end(values: Sequence[Tensor]) -> Tensor:
            return torch.stack(list(values))[last, torch.arange(len(last), device=last.device)]

        final = {group: at_end([each.next_observation[group] for each in moved]) for group in team.layout}
        after = [each.next_masks.get("action_mask", {}) for each in moved]
        masks = {group: at_end([each[group] for each in after]) for group in after[0]}
        return cls(
            {group: torch.stack([each[group] for each in seen]) for group in team.layout},
            {group: torch.stack([each[group] for each in available]) for group in available[0]},
            {group: torch.stack([each[group] for each in action]) for group in team.layout},
            torch.stack(earned),
            alive,
            at_end([each.terminated for each in moved]),
            (team.state(final), _by_agent(team, behaviour.explore(final, masks, generator))),
        )

    def states(self, team: Team, count: int, generator: torch.Generator) -> _States:
        """Draw states that were visited."""
        rows = self.alive.flatten().nonzero().squeeze(-1)
        rows = rows[torch.randint(len(rows), (count,), generator=generator, device=rows.device)]
        seen = {group: value.flatten(0, 1)[rows] for group, value in self.observation.items()}
        masks = {group: value.flatten(0, 1)[rows] for group, value in self.masks.items()}
        return _States(
            team.state(seen),
            {agent.name: seen[agent.group][:, agent.index] for agent in team.agents},
            {agent.name: masks[agent.group][:, agent.index] for agent in team.agents if agent.group in masks},
        )

    def bias(self, team: Team, values: Values, discount: float) -> dict[str, Tensor]:
        """Return how far the critic is from the discounted returns."""
        following = torch.where(self.terminated, 0.0, values(*self.final).mean(0))
        returns = torch.zeros_like(self.reward)
        for step in reversed(range(len(self.reward))):
            following = torch.where(self.alive[step], self.reward[step] + discount * following, following)
            returns[step] = following
        members = values(team.state(self.observation), _by_agent(team, self.action))[:, self.alive]
        off = members.mean(0) - returns[self.alive]
        found = {"critic_bias": off.mean(), "critic_error": off.abs().mean()}
        return found | ({"critic_spread": members.std(0).mean()} if len(members) > 1 else {})


def _by_agent(team: Team, grouped: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return each agent's values, ``*B A``, of ``*B n A``."""
    return tuple(grouped[agent.group].select(-2, agent.index) for agent in team.agents)


def _drawn(policy: Any, seen: Tensor, mask: Tensor | None, generator: torch.Generator) -> Tensor:
    """Return an action of a policy in every state."""
    noise = policy.noise(seen.shape[:-1], generator)
    return policy.draw(seen, noise) if mask is None else policy.draw(seen, noise, mask)


def _of_agent(agent: Agent, old: Any, new: Any, states: _States, generator: torch.Generator) -> dict[str, Tensor]:
    """Return one agent's KL and the least eigenvalue of the covariance of its new policy's actions."""
    seen, mask = states.observation[agent.name], states.action_mask.get(agent.name)
    found: dict[str, Tensor] = {}
    given = {"observation": seen} | ({} if mask is None else {"action_mask": mask})
    if "kl" in new.modes:
        found["kl"] = new.kl(old_distribution=old.distribution(**given)["distribution"], **given)["kl"].mean()
    elif "path_error" in new.modes:
        path = old.path(seen)
        error = new.path_error(seen, path["path"], path["mean"], path["place"])["error"]
        found["kl"] = path_kl(error, path["std"], _FLOOR).mean()
    if isinstance(agent.action, Box) and agent.action.bounded:
        low, high = (torch.tensor(each, device=seen.device) for each in (agent.action.low, agent.action.high))
        several = _DRAWS * agent.action.size
        drawn = _drawn(new, seen.unsqueeze(1).expand(-1, several, -1), None, generator)
        unit = (drawn - low) * 2 / (high - low)
        centred = unit - unit.mean(1, keepdim=True)
        covariance = centred.mT @ centred / (several - 1)
        found["least_eigenvalue"] = torch.linalg.eigvalsh(covariance)[:, 0].mean()
    return found


def critic_of(linked: Linked) -> tuple[Values, bool] | None:
    """Return the values of the recipe's critic, of each member, and whether they are of joint actions."""
    for net in linked.nets.values():
        found: Any = net.of(()) if net.per == "team" else None  # type: ignore[operator]
        if found is None or found.memory:
            continue
        if "q" in found.modes and any(keys.scope(key) == keys.AGENTS for key in found.modes["q"].reads.values()):
            return lambda state, action: found.q(state, action)["q"], True  # noqa: B023 (returned at once)
        if "value" in found.modes:
            return lambda state, action: found.value(state)["value"].unsqueeze(0), False  # noqa: B023
    return None


def discount(recipe: Recipe) -> float:
    """Return the gamma with which the recipe's critic learns: its data's, or that of a step.

    Raises:
        RunError: none has one.
    """
    sections = [section for phase in recipe.update for section in (phase.before, phase.prepare, phase.steps)]
    steps = [(step.use, step.arguments) for section in sections for step in section if step.use]
    for name, given in [(recipe.data.name, recipe.data.arguments), *steps]:
        own = inspect.signature(catalog.resolve(name).__init__).parameters.get("gamma")
        if own is not None:
            return float(given.get("gamma", own.default))
    raise RunError(
        f"the bound monitor compares the critic with discounted returns, and neither {recipe.data.name} nor a step of "
        "the recipe takes a gamma; train without it."
    )


def _sweep(linked: Linked, before: _Before) -> list[int]:
    """Return the round in which each agent is updated; everybody's in turn where nothing orders them."""
    team, trained = linked.team, linked.plan.policy
    for phase in linked.recipe.update:
        if phase.train == trained and phase.order is not None:
            rounds = in_rounds(before.order[phase.name], team.members(phase.order.of), {})
            return [next(number for number, agents in enumerate(rounds) if agent in agents) for agent in team.agents]
    return list(range(len(team.agents)))


def _gains(
    team: Team, rounds: Sequence[int], old: Any, new: Any, values: Values, states: _States, seed: int
) -> dict[str, Tensor]:
    """Return what each agent's new policy adds, given the new ones of those before it; the same draws of both."""

    def actions(policy: Any) -> list[Tensor]:
        generator = torch.Generator(states.state.device).manual_seed(seed)
        return [
            _drawn(policy((agent,)), states.observation[agent.name], states.action_mask.get(agent.name), generator)
            for agent in team.agents
        ]

    joint, after = actions(old), actions(new)
    worth = values(states.state, tuple(joint)).amin(0).mean()
    found, first = {}, worth
    for place in sorted(range(len(rounds)), key=lambda place: rounds[place]):
        joint[place] = after[place]
        value = values(states.state, tuple(joint)).amin(0).mean()
        found[f"{team.agents[place].name}/gain"] = value - worth
        worth = value
    return {"gain": worth - first, **found}
