"""Acting for the whole team: one batched policy call per layout group."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hetrl.graph import Held, Played
from hetrl.network import Policy
from hetrl.ops.joint_action import JointValue
from hetrl.ops.scaled import scaled
from hetrl.team import Agent, Grouped, Team

Actions = dict[str, Tensor]
Witness = Callable[[Grouped, Grouped], None]
"""Called with the observations of some steps, ``[*B, N, n, F]`` by layout group, and with who took part in them,
``[*B, N, n]`` by layout group; everybody where it has none."""


class Behaviour:
    """The team's policies as functions of stacked observations ``[N, n, F]``, by layout group.

    Where the agents of a group have a network each, their weights are stacked by :meth:`refresh` and run as one batched
    call; networks that do not batch well (``Network.batches``) run one by one. Where they share one network, that is
    called as it is.

    Collection tells :attr:`watch`, where there is one, what was acted on.

    Recurrent policies act in two calls: :meth:`remember` makes the new memories from the observations and the old ones;
    :meth:`explore` or :meth:`greedy` then gets the new memories in place of the observations.
    """

    reads: Callable[[], list[Tensor]] | None = None
    """All that exploration reads beside what it is given, where it is recorded."""

    def __init__(self, team: Team, policy: Callable[[Sequence[Agent]], Policy], watch: Witness | None = None) -> None:
        self.watch = watch
        self._groups = {group: _Group([policy((agent,)) for agent in agents]) for group, agents in team.layout.items()}
        self._recurrent = any(group.memory for group in self._groups.values())

    def refresh(self) -> None:
        """Take the policies' current weights; call it once before a collection."""
        for group in self._groups.values():
            group.refresh()

    def blank(self, observations: Grouped) -> dict[str, Tensor]:
        """Return the memories with which an episode begins: zeros ``[N, n, H]``; ``{}`` for policies without memory."""
        if not self._recurrent:
            return {}
        return {
            name: scaled(observations[name][:0]).new_zeros((*observations[name].shape[:-1], self._groups[name].memory))
            for name in self._groups
        }

    @torch.no_grad()
    def remember(self, observations: Grouped, memories: Grouped) -> dict[str, Tensor]:
        """Return the memories ``[N, n, H]`` after a step, from those before it; ``{}`` gives ``{}``."""
        return {name: self._groups[name].remember(observations[name], memory) for name, memory in memories.items()}

    def play(self, besides: Sequence[nn.Module]) -> None:
        """From now on record exploration once and play it, see :mod:`hetrl.graph`.

        Args:
            besides: modules that policies read, and are not theirs.
        """
        held = Held([*(policy for group in self._groups.values() for policy in group.policies), *besides])
        self.reads = lambda: [*held(), *(weight for group in self._groups.values() for weight in group.stacked)]
        self._plays: dict[tuple[object, ...], Played] = {}

    @torch.no_grad()
    def explore(self, observations: Grouped, action_masks: Grouped, generator: torch.Generator) -> Actions:
        """Return sampled actions ``[N, n, A]``; ``action_masks`` ``[N, n, options]`` for the groups that have one."""
        if self.reads is None:
            return self._explore(observations, action_masks, generator)
        seen, masked = tuple(observations), tuple(action_masks)
        key = seen, masked, id(generator)
        if key not in self._plays:

            def explore(given: Sequence[Tensor]) -> list[Tensor]:
                masks = dict(zip(masked, given[len(seen) :], strict=True))
                return list(self._explore(dict(zip(seen, given, strict=False)), masks, generator).values())

            self._plays[key] = Played(explore, self.reads, "run.graphs: collection", [generator])
        found = self._plays[key]([*observations.values(), *action_masks.values()])
        names = [name for name in self._groups if name in observations]
        return {name: action.clone() for name, action in zip(names, found, strict=True)}

    def _explore(self, observations: Grouped, action_masks: Grouped, generator: torch.Generator) -> Actions:
        noise = {name: group.noise(observations[name].shape[:2], generator) for name, group in self._groups.items()}
        return self.draw(observations, action_masks, noise)

    @torch.no_grad()
    def draw(self, observations: Grouped, action_masks: Grouped, noise: Grouped) -> Actions:
        """Return the actions that ``noise`` makes of the policies, of the groups that ``observations`` has."""
        return {
            name: group.draw(observations[name], noise[name], action_masks.get(name))
            for name, group in self._groups.items()
            if name in observations
        }

    def noise(self, agent: Agent, n_envs: int, generator: torch.Generator) -> Tensor:
        """Return one agent's part of what :meth:`draw` takes, ``[N, *]``."""
        return self._groups[agent.group].noise((n_envs,), generator)

    @torch.no_grad()
    def greedy(self, observations: Grouped, action_masks: Grouped) -> Actions:
        """Return deterministic actions ``[N, n, A]``, of the groups that ``observations`` has."""
        return {
            name: group.greedy(observations[name], action_masks.get(name))
            for name, group in self._groups.items()
            if name in observations
        }


class BestOf:
    """Explores with that of ``n`` drawn joint actions which is worth most.

    It takes the global state and a critic, so it is no way to act where each agent is by itself: evaluation keeps to
    the policies alone.

    Args:
        behaviour: who draws.
        team: the agents.
        value: the critic, as it is while training goes on.
        n: K_b, how many joint actions are drawn.
    """

    def __init__(self, behaviour: Behaviour, team: Team, value: JointValue, n: int) -> None:
        self._behaviour, self._team, self._value, self.n = behaviour, team, value, n

    def refresh(self) -> None:
        """Take the policies' current weights."""
        self._behaviour.refresh()

    @property
    def watch(self) -> Witness | None:
        """Who is told what was acted on."""
        return self._behaviour.watch

    @torch.no_grad()
    def explore(self, observations: Grouped, action_masks: Grouped, generator: torch.Generator) -> Actions:
        """Return sampled actions ``[N, n, A]``, as :meth:`Behaviour.explore` does, the best of ``n`` draws."""
        wide = {name: seen.repeat_interleave(self.n, 0) for name, seen in observations.items()}
        masks = {name: mask.repeat_interleave(self.n, 0) for name, mask in action_masks.items()}
        drawn = self._behaviour.explore(wide, masks, generator)
        joint = tuple(drawn[agent.group][:, agent.index] for agent in self._team.agents)
        q = self._value(self._team.state(wide), joint)["q"].view(-1, self.n)
        rows = torch.arange(len(q), device=q.device) * self.n + q.argmax(-1)
        return {name: action[rows] for name, action in drawn.items()}


class _Method(nn.Module):
    """A policy whose forward is one of its methods, as ``functional_call`` wants it."""

    def __init__(self, policy: Policy, method: str) -> None:
        super().__init__()
        self.policy, self._method = policy, method

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.policy, self._method)(*inputs)


class _Group:
    """The policies of one layout group."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = policies
        self._one = policies[0] if all(policy is policies[0] for policy in policies) else None
        self.memory = policies[0].memory
        self._apart = not all(getattr(module, "batches", True) for module in policies[0].modules())
        self._weights: dict[str, Tensor] = {}
        self._calls = {method: self._call(method) for method in ("draw", "greedy", "remember")}
        self.refresh()

    def _call(self, method: str) -> Callable[..., Tensor]:
        """Return a method of the policies as a function of what all agents are given, ``[N, n, *]`` each."""
        if self._one is not None:
            return lambda *values: getattr(self._one, method)(*values)
        if not self._apart:
            batched = self._batched(method)
            return lambda *values: batched(self._weights, *values)

        def one_by_one(*values: Tensor) -> Tensor:
            given = zip(self.policies, *(value.unbind(1) for value in values), strict=True)
            return torch.stack([getattr(policy, method)(*own) for policy, *own in given], 1)

        return one_by_one

    def _batched(self, method: str) -> Callable[..., Tensor]:
        wrapped = _Method(self.policies[0], method)

        def call(weights: dict[str, Tensor], *values: Tensor) -> Tensor:
            return functional_call(wrapped, {f"policy.{name}": weight for name, weight in weights.items()}, values)

        batched = vmap(call)

        def agents_first(weights: dict[str, Tensor], *values: Tensor) -> Tensor:
            # The batched product wants each agent's rows together: twice as fast on 4,096 environments.
            return batched(weights, *(value.transpose(0, 1).contiguous() for value in values)).transpose(0, 1)

        return agents_first

    def refresh(self) -> None:
        if self._one is None and not self._apart:
            # Not stack_module_state: it wants the same requires_grad of all, and whoever trained last differs.
            each = [dict([*policy.named_parameters(), *policy.named_buffers()]) for policy in self.policies]
            fresh = {name: torch.stack([own[name].detach() for own in each]) for name in each[0]}
            for name, weight in fresh.items():
                # Put where the last ones were: what is recorded reads them there.
                kept = self._weights.get(name)
                if kept is not None and (kept.device, kept.dtype) == (weight.device, weight.dtype):
                    fresh[name] = kept.copy_(weight)
            self._weights = fresh

    @property
    def stacked(self) -> list[Tensor]:
        """The weights of all agents as they were stacked, where they are."""
        return list(self._weights.values())

    def remember(self, observation: Tensor, memory: Tensor) -> Tensor:
        return self._calls["remember"](observation, memory)

    def noise(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        return self.policies[0].noise(shape, generator)

    def draw(self, observation: Tensor, noise: Tensor, action_mask: Tensor | None) -> Tensor:
        given = (observation, noise) if action_mask is None else (observation, noise, action_mask)
        return self._calls["draw"](*given)

    def greedy(self, observation: Tensor, action_mask: Tensor | None) -> Tensor:
        given = (observation,) if action_mask is None else (observation, action_mask)
        return self._calls["greedy"](*given)


def forgotten(memories: Grouped, terminated: Tensor, truncated: Tensor, begun: Grouped) -> dict[str, Tensor]:
    """Return memories ``[N, n, H]`` with those zeroed of whose episode has ended, and of who begins another life.

    Args:
        memories: by layout group.
        terminated: ``[N]``, of the episode.
        truncated: the same.
        begun: who begins a life of its own with the step to come, ``[N, n]``, of groups that have such.
    """
    over = (terminated | truncated).unsqueeze(-1)
    blank = {name: over | begun[name] if name in begun else over for name in memories}
    return {name: memory.masked_fill(blank[name].unsqueeze(-1), 0.0) for name, memory in memories.items()}
