"""Does a network keep the contract of its modes, and a policy that of acting?"""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch

from hetrl import arguments, keys
from hetrl.data.behaviour import Behaviour
from hetrl.errors import RecipeError
from hetrl.network import Network, Policy
from hetrl.team import Agent, Box, Discrete, Team
from hetrl.testing.batch import close, tensors
from hetrl.testing.docstring import check_docstring
from hetrl.testing.mode import BuiltMode
from hetrl.testing.mode_gradients import gradients
from hetrl.testing.modes import check_compiled, check_mode, check_state
from hetrl.testing.net_inputs import Inputs, allowed, made_up_team
from hetrl.testing.part import Part

__tracebackhide__ = True  # pytest shows the line of the test, not these
_ROWS = 6


def check_net(
    net: str | type[Network], /, *, team: Team | None = None, stopped: Collection[str] = (), **values: Any
) -> None:
    """Check a network against the contract of its modes, on made-up rows.

    Of every mode: it returns the roles of its table, finite, one value for each row, in the float type of its inputs,
    and the same in float32 and float64. What is one number for each row, by its key's word or by the annotation of what
    the mode returns (``Float[Tensor, "*batch"]``), has the rows' dimensions and no other. What it makes of a row
    depends on that row alone: not on the others, not on its place, and not on how many dimensions the rows have
    (recurrent modes have time in front, and rows behind it). Where it is learned, a gradient reaches a parameter,
    otherwise none; an input's gradient is the derivative. It runs without its optional roles. State survives
    ``state_dict``, and ``torch.compile`` makes one graph of it.

    A mode that draws at random, though its noise is given, is recognised: it has the same draws when only another row
    changes. A mode that is not learned may take the batch into statistics of the network, such as a running mean.

    Every parameter is reached by one of the modes. An argument that may follow a schedule is kept under its name. Of a
    policy: ``draw`` and ``greedy`` give an action for each row, one that the mask allows where it is discrete, and
    within the bounds where it refuses to act without; agents with a network each act in one batched call, as
    collection makes it.

    Args:
        net: a catalog name or a class.
        team: whose agents it is built for; left out, two made-up ones in whose action spaces it can act.
        stopped: ``mode.role`` whose gradient the formula itself stops, as published.
        values: arguments of the network; its defaults where left out.

    Raises:
        AssertionError: one line, what is broken and what to do.
    """
    part = Part.of(net, "net", values)
    team = team or made_up_team(part.cls)
    for agent in _served(part.cls, team):
        nets: dict[torch.dtype, Network] = {}
        modes = [BuiltMode(part, name, agent, team, nets) for name in part.cls.modes]
        for mode in modes:
            check_mode(mode, stopped)
        if part.cls.trainable(values):
            _check_reached(part, modes)
        _check_schedules(part, modes)
        check_state(modes)
        check_compiled(modes)
        _check_memory(part, modes)
        if issubclass(part.cls, Policy):
            _check_acting(part, agent, team)
    if issubclass(part.cls, Policy):
        _check_batched(part, team)
    check_docstring(part, of_a_paper=False)


def _served(cls: type[Network], team: Team) -> list[Agent]:
    """Return one agent of each action space, where the network looks at the agent at all."""
    read = [key for table in cls.modes.values() for key in (*table.reads.values(), *table.writes.values())]
    of_agents = any(keys.scope(key) == keys.AGENT for key in read)
    alike = {agent.action: agent for agent in reversed(team.agents)}
    return list(alike.values()) if of_agents else [team.agents[0]]


def _check_reached(part: Part, modes: Collection[BuiltMode]) -> None:
    """Every parameter is reached by the gradient of some mode."""
    unreached: set[str] | None = None
    for mode in modes:
        net = mode.net()
        outputs = tensors(mode.run(net, mode.inputs(net))).values()
        score = sum((value.sum() for value in outputs if value.requires_grad), torch.zeros(()))
        wanted = {name: each for name, each in net.named_parameters() if each.requires_grad}
        found = gradients(score, list(wanted.values()))
        missed = {name for name, gradient in zip(wanted, found, strict=True) if gradient is None}
        unreached = missed if unreached is None else unreached & missed
    for name in sorted(unreached or ()):
        part.require(False, f"no mode's gradient reaches the parameter '{name}'; use it, or make it a buffer.")


def _check_schedules(part: Part, modes: Collection[BuiltMode]) -> None:
    """What a schedule may replace is kept under its own name, where it is set."""
    for name in arguments.parameters(part.cls.__init__):
        kept = not arguments.schedulable(part.cls.__init__, name) or hasattr(next(iter(modes)).net(), name)
        part.require(kept, f"argument '{name}' is not kept as self.{name}; a schedule could not replace it.")


def _check_memory(part: Part, modes: Collection[BuiltMode]) -> None:
    """What a recurrent network remembers has the size that it says, and its chunks start anew."""
    net = next(iter(modes)).net()
    said, chunk = part.cls.chunk_of(part.values), net.chunk
    part.require(said == chunk, f"chunk_of() says {said}, and the network has chunk = {chunk}.")
    for mode in modes:
        if chunk is None or not Inputs(net, mode.agent, mode.team).recurrent(mode.name):
            continue
        words = {key.split(".")[-1]: role for role, key in net.modes[mode.name].reads.items()}
        role = words.get("observation", words.get("state", ""))
        mode.require(bool(role), "it unrolls chunks, and reads neither an observation nor a state.")
        inputs = mode.inputs(net)
        seen, memory = inputs[role], inputs[words["memory"]]
        with torch.no_grad():
            state = net.remember(seen[0], memory[0])
            whole = mode.run(net, inputs)
            found = mode.run(net, {**inputs, role: torch.cat([seen[:chunk].flip(1), seen[chunk:]])})
        mode.require(
            state.shape == memory[0].shape,
            f"remember() returns {list(state.shape)} where the memory is {list(memory[0].shape)}.",
        )
        for word, value in found.items():
            mode.require(
                close(value[chunk:], whole[word][chunk:]),
                f"output '{word}' of a chunk of steps depends on the chunk before; start it from its stored memory.",
            )


# ----- acting


def _check_acting(part: Part, agent: Agent, team: Team) -> None:
    """Actions of the right shape and kind, one for each row, of that row alone, and none that is masked."""
    policy: Policy = part.build(agent, team)
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(_ROWS, policy.memory or agent.observation_size, generator=generator)
    discrete = isinstance(agent.action, Discrete)
    mask = allowed(agent.action, (_ROWS,), generator) if isinstance(agent.action, Discrete) else None
    given = () if mask is None else (mask,)
    with torch.no_grad(), part.doing("acting failed"):
        noise = policy.noise((_ROWS,), generator)
        part.require(noise.shape[:1] == (_ROWS,), f"noise(({_ROWS},)) has shape {list(noise.shape)}, not rows first.")
        for name, inputs in (("draw", (seen, noise, *given)), ("greedy", (seen, *given))):
            act = getattr(policy, name)
            action = act(*inputs)
            part.require(
                action.shape == (_ROWS, agent.action.size),
                f"{name}() gives {list(action.shape)}, not an action for each row, [{_ROWS}, {agent.action.size}].",
            )
            part.require(
                action.is_floating_point() != discrete and bool(action.isfinite().all()),
                f"{name}() gives {action.dtype} where the action is {agent.action}, or not finite numbers.",
            )
            if isinstance(agent.action, Box) and _bounded(part, agent, team):
                low, high = torch.tensor(agent.action.low), torch.tensor(agent.action.high)
                part.require(
                    bool(((action >= low) & (action <= high)).all()),
                    f"{name}() gives actions beyond the bounds, and it asks for bounds.",
                )
            turned = act(*(value.flip(0) for value in inputs)).flip(0)
            part.require(close(turned, action), f"{name}() of a row depends on the other rows, or on its place.")
            if mask is not None:
                _check_allowed(part, name, action, mask, agent)
        other = policy.noise((_ROWS,), generator)
    part.require(not torch.equal(noise, other), "noise() is the same at every call; draw it from the generator.")


def _bounded(part: Part, agent: Agent, team: Team) -> bool:
    """Whether a policy acts within bounds: then it refuses an action that has none."""
    free = (-math.inf,) * agent.action.size, (math.inf,) * agent.action.size
    try:
        part.cls(replace(agent, action=Box(*free)), team, **part.values)
    except RecipeError:
        return True
    return False


def _check_allowed(part: Part, name: str, action: torch.Tensor, mask: torch.Tensor, agent: Agent) -> None:
    assert isinstance(agent.action, Discrete)
    for dim, options in enumerate(mask.split(list(agent.action.choices), -1)):
        chosen = action[:, dim : dim + 1].long()
        part.require(
            bool((chosen >= 0).all()) and bool((chosen < options.shape[-1]).all()),
            f"{name}() chooses an option that is none of {options.shape[-1]}.",
        )
        part.require(bool(options.gather(-1, chosen).all()), f"{name}() chooses an option that action_mask rules out.")


def _check_batched(part: Part, team: Team) -> None:
    """Policies of several agents act in one batched call as each does alone."""
    made = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policies = {agent.name: part.cls(agent, team, **part.values) for agent in team.agents}
    for group, agents in team.layout.items():
        behaviour = Behaviour(Team(agents, team.state_size), lambda lane: policies[lane[0].name])
        memory = policies[agents[0].name].memory
        seen = torch.randn(_ROWS, len(agents), memory or agents[0].observation_size)
        with part.doing("acting failed in one batched call (torch.vmap over the agents' weights)"):
            found = behaviour.greedy({group: seen}, {})[group]
        with torch.no_grad():
            alone = [policies[agent.name].greedy(seen[:, place]) for place, agent in enumerate(agents)]
        made.append(torch.allclose(found, torch.stack(alone, 1), atol=1e-5))
    part.require(all(made), "agents with a network each act otherwise in one batched call than one by one.")
