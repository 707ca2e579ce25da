"""Does a data source keep the contract that the checker and training rely on?"""

from typing import Any

import torch
from tensordict import TensorDictBase

from hetrl import arguments
from hetrl.data.behaviour import Behaviour
from hetrl.data.collected import Collected, Source
from hetrl.env.cue_game import CueGame
from hetrl.errors import RecipeError
from hetrl.net.mixed_policy import MixedPolicy
from hetrl.net.recurrent_policy import RecurrentPolicy
from hetrl.network import Policy
from hetrl.testing.docstring import check_docstring
from hetrl.testing.env import words
from hetrl.testing.part import Part

__tracebackhide__ = True  # pytest shows the line of the test, not these
N_ENVS = 4
"""How many environments the data is attached to."""
_TASK = {"n_cues": 3, "delay": 2, "discrete_agents": 1, "continuous_agents": 2, "leave": 0.2, "n_envs": N_ENVS}
_COLLECTIONS = 4
_NOT_KEYS = "episode."
"""What a sample may hold besides, for the figures of a collection."""


def check_data(data: str | type[Source], /, **values: Any) -> None:
    """Check a data source on a small task: ``env/cue_game`` with four environments, masks, and unlike agents.

    ``provides`` tells exactly the keys of a sample, with a reward of the team and with one of each agent, and with the
    memories of recurrent policies, unless ``check_chunk`` refuses them. With ``in_order``, samples are ``[T, N]`` steps
    in the order of time. A collection counts its frames, and ``n_collections`` says how many there will be. With the
    same seed it collects the same, and it goes on bit for bit where ``state_dict`` was taken. Its docstring explains
    its arguments.

    Args:
        data: a catalog name or a class.
        values: arguments of the source, small ones: some collections are made.

    Raises:
        AssertionError: one line, what is broken and what to do.
    """
    part = Part.of(data, "data", values)
    with part.doing("the arguments are refused"):
        arguments.check(part.cls.__init__, values, part.name)
        part.cls.check_arguments(dict(values), N_ENVS)
    for reward in ("mean", "per_agent"):
        _check_sample(part, reward, MixedPolicy, [])
    if _keeps_memories(part):
        _check_sample(part, "mean", RecurrentPolicy, ["agent.memory"])
    _check_counts(part)
    _check_state(part)
    check_docstring(part, of_a_paper=False)


def _attached(part: Part, reward: str = "mean", seed: int = 0, policy: type[Policy] = MixedPolicy) -> Any:
    """Return a source that is attached to the task and to policies of its own."""
    env = CueGame(**_TASK, reward=reward, seed=seed)  # type: ignore[arg-type]
    extra = {"memory": 3, "chunk": 1} if policy is RecurrentPolicy else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policies = {agent.name: policy(agent, env.team, hidden=[4], **extra) for agent in env.team.agents}
    source = part.build()
    with part.doing("attach() failed"):
        source.attach(env, Behaviour(env.team, lambda lane: policies[lane[0].name]), reward, seed)
    known = isinstance(getattr(source, "device", None), torch.device)
    part.require(known, "it has no device once it is attached; set self.device in attach(), such as env.device.")
    return source


def _collect(part: Part, source: Any) -> tuple[Collected, list[TensorDictBase]]:
    """Return a collection, and its samples."""
    with part.doing("collect() failed"):
        found = source.collect()
        part.require(isinstance(found, Collected), f"collect() returns a {type(found).__name__}, not Collected.")
        return found, list(found.samples)


def _first(part: Part, source: Any) -> list[TensorDictBase]:
    """Return the samples of the first collection that has some; a warm-up has none."""
    for _ in range(_COLLECTIONS):
        _, samples = _collect(part, source)
        if samples:
            return samples
    part.require(False, f"{_COLLECTIONS} collections have no sample; check it with a shorter warm-up.")
    return []


# ----- what a sample is


def _keeps_memories(part: Part) -> bool:
    try:
        part.cls.check_chunk(dict(part.values), N_ENVS, "actor", 1)
    except RecipeError:
        return False
    return True


def _check_sample(part: Part, reward: str, policy: type[Policy], memories: list[str]) -> None:
    source = _attached(part, reward, policy=policy)
    sample = _first(part, source)[0]
    found = {key for key in words(sample, CueGame(**_TASK).team.layout) if not key.startswith(_NOT_KEYS)}  # type: ignore[arg-type]
    with part.doing("provides() failed"):
        told = set(part.cls.provides([*CueGame.provides({**_TASK, "reward": reward}), *memories]))
    missing, hidden = sorted(told - found), sorted(found - told)
    part.require(not missing, f"provides() tells of {missing}, and no sample has that.")
    part.require(not hidden, f"a sample has {hidden}, and provides() does not tell.")
    part.require(sample.device is None or sample.device == source.device, "a sample is not on the source's device.")
    if part.cls.in_order:
        _check_time(part, sample)


def _check_time(part: Part, sample: TensorDictBase) -> None:
    """A step begins where the one before has led to, unless the episode was over."""
    part.require(
        sample.dim() == 2 and sample.shape[1] == N_ENVS,
        f"it is in_order, and a sample has the dimensions {list(sample.shape)}, not [steps, {N_ENVS}].",
    )
    goes_on = ~sample["done"][:-1]
    for group in (key for key in sample["next"].keys() if ("next", key, "observation") in sample.keys(True)):  # noqa: SIM118
        begins, led_to = sample[group, "observation"][1:], sample["next", group, "observation"][:-1]
        same = torch.equal(begins[goes_on], led_to[goes_on])
        part.require(same, "it is in_order, and a step does not begin where the one before has led to.")


# ----- counts and state


def _check_counts(part: Part) -> None:
    source = _attached(part)
    part.require(source.n_collections(0) == 0, "n_collections(0) is not 0.")
    frames = []
    for _ in range(_COLLECTIONS):
        found, _ = _collect(part, source)
        frames.append(found.frames)
        part.require(
            found.frames > 0 and found.frames % N_ENVS == 0,
            f"a collection has {found.frames} frames; count the steps of all {N_ENVS} environments.",
        )
        for word in ("returns", "lengths", "episodes"):
            value = getattr(found, word)
            part.require(
                isinstance(value, torch.Tensor) and value.dim() == 0,
                f"{word} of a collection is no 0-d tensor; a number would wait for the device.",
            )
    for target in (1, frames[0], sum(frames[:2]), sum(frames) - 1, sum(frames)):
        taken = next(n for n in range(1, len(frames) + 1) if sum(frames[:n]) >= target)
        said = _attached(part).n_collections(target)
        part.require(said == taken, f"n_collections({target}) is {said}, and that takes {taken}.")


def _check_state(part: Part) -> None:
    source, twin, other = _attached(part), _attached(part), _attached(part, seed=1)
    _require_alike(part, source, twin, "collects other steps with the same seed")
    with part.doing("its state_dict does not load"):
        other.load_state_dict(part.reloaded(source.state_dict()))
    _require_alike(part, source, other, "goes on otherwise where its state_dict was loaded")


def _require_alike(part: Part, source: Any, other: Any, problem: str) -> None:
    for _ in range(_COLLECTIONS):
        (one, samples), (two, others) = _collect(part, source), _collect(part, other)
        same = one.frames == two.frames and len(samples) == len(others)
        same = same and all(bool((sample == found).all()) for sample, found in zip(samples, others, strict=True))
        part.require(same, f"it {problem}.")
