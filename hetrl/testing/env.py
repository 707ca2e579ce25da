"""Does an environment keep the contract that collection, TorchRL and resuming rely on?"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase
from torchrl.envs.utils import check_env_specs

from hetrl import catalog
from hetrl.arguments import check
from hetrl.data.random_actions import RandomActions
from hetrl.env.adapter import own
from hetrl.env.transition import Masks, Transition
from hetrl.team import STATE, Box, Discrete
from hetrl.testing.docstring import check_docstring, check_filled_in
from hetrl.testing.part import Part

__tracebackhide__ = True  # pytest shows the line of the test, not these
_N = 3


def check_env(
    env: str | type | Callable[..., Any],
    arguments: Mapping[str, Any] | None = None,
    /,
    *,
    steps: int = 8,
    exact: bool = True,
    **values: Any,
) -> None:
    """Check an environment, three of it side by side, with random actions.

    TorchRL's ``check_env_specs`` accepts it. Observations, rewards, ends and masks have the shapes of its team and are
    finite; no step both terminates and truncates; what did not finish is not reset; a mask leaves an option;
    ``provides`` tells exactly what a step writes. A reset by mask touches these rows alone. With the same seed and
    actions it gives the same numbers, also after ``seed`` and ``start``, and it goes on bit for bit where
    ``state_dict`` was taken.

    Of an environment that is written for hetrl, the docstring explains its arguments. Any other, PettingZoo's or
    TorchRL's, starts again once it was closed. Its ``repeats: False`` is no promise of the same numbers.

    >>> check_env("env/matrix_game", {"payoff": "penalty"})

    Args:
        env: a catalog name, or a class, or what else :func:`hetrl.register` takes for an environment.
        arguments: of the environment, its words in a task; its defaults where left out.
        steps: how many are taken; more than an episode has, so that its end is looked at.
        exact: False for one that does not promise the same numbers for the same seed.
        values: arguments of the environment, as well.

    Raises:
        AssertionError: one line, what is broken and what to do.
    """
    part = _part(env, {**(arguments or {}), **values})
    with part.doing("the arguments are refused"):
        check(part.cls.__init__, part.values, part.name)
        part.cls.check_arguments(dict(part.values))
    with _made(part) as made:
        part.require(
            isinstance(made, EnvBase), "it is no EnvBase of TorchRL; derive it from hetrl.env.team_env.TeamEnv."
        )
        with part.doing("TorchRL's check_env_specs refuses it"), _quiet(), _made(part) as another:
            try:
                check_env_specs(another, seed=0)
            except AssertionError as error:  # its own has many lines
                raise ValueError(str(error)) from error
        _check_steps(part, made, steps)
    _check_keys(part)
    _check_resets(part)
    repeats = part.values.get("repeats") is not False
    _check_state(part, steps, repeats)
    if exact and repeats:
        _check_seeds(part, steps)
    if issubclass(part.cls, own.OwnEnvironment):
        _check_closing(part)
        check_filled_in(part)
    else:
        check_docstring(part, of_a_paper=False)


def _part(env: Any, values: Mapping[str, Any]) -> Part:
    """Return the part for a name, a class or a function; what is not written for hetrl is wrapped as in a task.

    Raises:
        AssertionError: it lacks what environments have.
    """
    found = catalog.resolve(env, "env") if isinstance(env, str) else env
    if own.foreign(found):
        name = getattr(found, "__name__", repr(found))
        problem = own.misfit(found)
        if problem:
            raise AssertionError(f"{name}: it {problem}.")
        return Part(name, own.entry(name, found), values)
    if issubclass(found, own.OwnEnvironment):
        return Part(str(env), found, values)
    return Part.of(env, "env", values)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back TorchRL's announcement of success."""
    silent = logging.root.manager.disable
    logging.disable(max(silent, logging.INFO))
    try:
        yield
    finally:
        logging.disable(silent)


@contextmanager
def _made(part: Part, seed: int = 0) -> Iterator[Any]:
    env = part.build(n_envs=_N, seed=seed, device="cpu")
    try:
        yield env
    finally:
        if not getattr(env, "is_closed", True):
            env.close()


def _actions(env: Any, seed: int = 0) -> RandomActions:
    return RandomActions(env.team, _N, torch.Generator().manual_seed(seed))


# ----- shapes


def _check_steps(part: Part, env: Any, steps: int) -> None:
    with part.doing("start() failed"):
        observation = env.start()
    _check_observation(part, env, observation, "start()")
    _check_masks(part, env, env.masks)
    actions = _actions(env)
    for _ in range(steps):
        with part.doing("advance() failed"):
            moved = env.advance(actions.draw(env.masks.get("action_mask", {})))
        _check_step(part, env, moved)


def _check_step(part: Part, env: Any, moved: Transition) -> None:
    _check_observation(part, env, moved.observation, "advance().observation")
    _check_observation(part, env, moved.next_observation, "advance().next_observation")
    for masks in (moved.masks, moved.next_masks):
        _check_masks(part, env, masks)
    for group, agents in env.team.layout.items():
        _check_tensor(part, f"the reward of '{group}'", moved.reward.get(group), (_N, len(agents)))
    for word in ("terminated", "truncated"):
        _check_tensor(part, word, getattr(moved, word), (_N,), torch.bool)
    both = bool((moved.terminated & moved.truncated).any())
    part.require(not both, "a step is both terminated and truncated; an end of its own is no cut.")
    goes_on = ~(moved.terminated | moved.truncated)
    _check_told(part, env, moved)
    for group, value in moved.observation.items():
        kept = torch.equal(value[goes_on], moved.next_observation[group][goes_on])
        part.require(kept, f"what '{group}' sees is another thing where no episode ended; reset only what has.")


def _check_told(part: Part, env: Any, moved: Transition) -> None:
    """Agents' own ends and what is told of episodes, where there are any."""
    strange = sorted(set(moved.agent_terminated) - set(env.team.layout))
    part.require(not strange, f"its agent_terminated has the groups {strange}, which its team does not have.")
    for group, value in moved.agent_terminated.items():
        shape = (_N, len(env.team.layout[group]))
        _check_tensor(part, f"agent_terminated of '{group}'", value, shape, torch.bool)
    for name, value in moved.infos.items():
        sound = isinstance(value, Tensor) and tuple(value.shape) == (_N,) and value.is_floating_point()
        found = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        part.require(sound, f"the info '{name}' is {found}, not floating numbers [{_N}], NaN where none is told.")


def _check_observation(part: Part, env: Any, found: Mapping[str, Tensor], where: str) -> None:
    layout, own = env.team.layout, [STATE] if env.team.own_state else []
    wanted = sorted([*layout, *own])
    part.require(sorted(found) == wanted, f"{where} has the groups {sorted(found)}, and its team {wanted}.")
    for word in own:
        _check_tensor(part, f"{where} of '{word}'", found[word], (_N, env.team.state_size), env.team.state_dtype)
    for group, agents in layout.items():
        shape = (_N, len(agents), agents[0].observation_size)
        _check_tensor(part, f"{where} of '{group}'", found[group], shape, agents[0].observation_dtype)


def _check_masks(part: Part, env: Any, masks: Masks) -> None:
    unknown = sorted(set(masks) - {"action_mask", "active"})
    part.require(not unknown, f"its masks have the word {unknown}; there are action_mask and active.")
    for word, groups in masks.items():
        strange = sorted(set(groups) - set(env.team.layout))
        part.require(not strange, f"its mask {word} has the groups {strange}, which its team does not have.")
    for group, mask in masks.get("active", {}).items():
        _check_tensor(part, f"active of '{group}'", mask, (_N, len(env.team.layout[group])), torch.bool)
    for group, mask in masks.get("action_mask", {}).items():
        agents = env.team.layout[group]
        space = agents[0].action
        part.require(not isinstance(space, Box), f"'{group}' has an action_mask, and its actions are continuous.")
        assert isinstance(space, Discrete)
        _check_tensor(part, f"action_mask of '{group}'", mask, (_N, len(agents), sum(space.choices)), torch.bool)
        absent = ~masks.get("active", {}).get(group, torch.ones_like(mask[..., 0]))
        for options in mask.split(list(space.choices), -1):
            left = bool((options.any(-1) | absent).all())
            part.require(left, f"action_mask of '{group}' leaves no option to somebody.")


def _check_tensor(part: Part, what: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
    dtype = dtype or torch.float32
    found = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    sound = isinstance(value, Tensor) and tuple(value.shape) == shape and value.dtype == dtype
    part.require(sound, f"{what} is {found}, not {dtype} {list(shape)}.")
    part.require(bool(value.isfinite().all()), f"{what} is not finite.")


def _check_keys(part: Part) -> None:
    """``provides`` tells exactly what a step writes."""
    with _made(part) as env:
        rollout = env.rollout(1)
    found = words(rollout.exclude("next", "action"), env.team.layout) | words(rollout["next"], env.team.layout)
    found -= {"done", "terminated", "truncated", "agent.action"}
    with part.doing("provides() failed"):
        told = set(part.cls.provides(dict(part.values)))
    part.require(told == found, f"provides() tells {sorted(told)}, and a step writes {sorted(found)}.")


def words(batch: TensorDictBase, groups: Any) -> set[str]:
    """Return the keys of a batch as recipes say them: ``agent.`` in the place of a layout group."""
    found = set()
    for key in batch.keys(include_nested=True, leaves_only=True):
        parts = (key,) if isinstance(key, str) else key
        found.add(".".join("agent" if word in groups else word for word in parts))
    return found


# ----- resets, state, seeds


def _check_resets(part: Part) -> None:
    """A reset by mask touches the masked rows alone."""
    with _made(part) as env:
        with part.doing("TorchRL's reset by mask failed"):
            before = env.step(env.rand_action(env.reset()))["next"]
            asked = before.clone()
            asked["_reset"] = torch.tensor([[False], [True], [False]])
            found = env._reset(asked)  # reset() itself would put the other rows back
            after = env.reset(asked)
        for group in env.team.layout:
            same = torch.equal(found[group, "observation"][::2], before[group, "observation"][::2])
            part.require(same, f"a reset of one environment changes what '{group}' sees in the others.")
        step = env.step(env.rand_action(after))["next"]
        part.require(bool(step["done"].isfinite().all()), "it does not go on after a reset by mask.")


def _check_state(part: Part, steps: int, repeats: bool) -> None:
    with _made(part) as env, _made(part, seed=1) as twin:
        env.start()
        twin.start()
        _play(env, max(1, steps // 2))
        with part.doing("its state_dict does not load"), warnings.catch_warnings():
            if not repeats:
                warnings.simplefilter("ignore")  # it says so
            twin.load_state_dict(part.reloaded(env.state_dict()))
        if repeats:
            _require_alike(part, env, twin, steps, "goes on otherwise where its state_dict was loaded")
        else:
            _check_steps(part, twin, 1)


def _check_seeds(part: Part, steps: int) -> None:
    with _made(part) as env, _made(part) as twin:
        _require_equal(part, env.start(), twin.start(), "begins otherwise with the same seed")
        _require_alike(part, env, twin, steps, "gives other numbers with the same seed and actions")
        begun = []
        for each in (env, env, twin):
            each.seed(5)
            begun.append({group: value.clone() for group, value in each.start().items()})
        for other in begun[1:]:
            _require_equal(part, begun[0], other, "begins otherwise after the same seed()")


def _check_closing(part: Part) -> None:
    """It can be closed amid an episode, and started again."""
    with _made(part) as env:
        env.start()
        _play(env, 1)
        with part.doing("close() failed"):
            env.close()
        _check_steps(part, env, 1)


def _play(env: Any, steps: int) -> None:
    actions = _actions(env)
    for _ in range(steps):
        env.advance(actions.draw(env.masks.get("action_mask", {})))


def _require_alike(part: Part, env: Any, twin: Any, steps: int, problem: str) -> None:
    actions = _actions(env, 1)
    for _ in range(steps):
        _require_equal(part, env.masks.get("action_mask", {}), twin.masks.get("action_mask", {}), problem)
        action = actions.draw(env.masks.get("action_mask", {}))
        moved, other = (each.advance({group: value.clone() for group, value in action.items()}) for each in (env, twin))
        for word in ("observation", "next_observation", "reward"):
            _require_equal(part, getattr(moved, word), getattr(other, word), problem)
        ends = torch.equal(moved.terminated, other.terminated) and torch.equal(moved.truncated, other.truncated)
        part.require(ends, f"it {problem}: episodes end elsewhere.")


def _require_equal(part: Part, one: Mapping[str, Tensor], other: Mapping[str, Tensor], problem: str) -> None:
    same = set(one) == set(other) and all(torch.equal(value, other[group]) for group, value in one.items())
    part.require(same, f"it {problem}.")
