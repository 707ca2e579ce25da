"""TorchRL environments as a batch of ``N`` rows: one that steps all of them at once, or copies of one that steps one.

Both speak in *leaves*: the tensors of a step or a reset, in the order of ``torchrl_specs.Reading``.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from tensordict import LazyStackedTensorDict, TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs import Compose, EnvBase, StepCounter, TransformedEnv

from hetrl.env.adapter.torchrl_specs import Leaf, Reading, read
from hetrl.env.adapter.workers import Bank, played_again
from hetrl.errors import RunError
from hetrl.rng import Stream

Written = list[tuple[tuple[str, ...], int | None, int, Tensor]]
"""An action as an environment takes it: path, member and words of the list (see ``Act``), and the tensor."""
_ITS_OWN = ("_step_proc_data", "_reset_proc_data", "_complete_done", "_reset_check_done")
"""Where TorchRL looks at what an environment gave, and fails where that is not as its specs say."""


class Single:
    """One TorchRL environment, and where it stands.

    Args:
        env: the environment.
        reading: what its specs say.
        batch: its rows, ``[N]`` or ``[]``.
    """

    def __init__(self, env: EnvBase, reading: Reading, batch: Sequence[int]) -> None:
        self.env, self.reading, self.batch = env, reading, torch.Size(batch)
        self.carried = TensorDict()
        self.n_steps = 0

    def reset(self, asked: TensorDictBase | None = None, **words: Any) -> list[Tensor]:
        """Reset all rows, or those that ``asked`` marks; returns leaves, with zeros where a step alone has one."""
        if asked is None and self.batch != self.env.batch_size:  # one that takes any batch
            asked = TensorDict(batch_size=self.batch, device=self.env.device)
        told = self._kept_to(lambda: self.env.reset(asked, **words), "a reset")
        self.carried, self.n_steps = told, 0 if asked is None else self.n_steps
        return self._leaves(told, "at a reset", first=True)

    def standing(self) -> list[Tensor]:
        """Return the leaves of where it stands, with zeros where a step alone has one."""
        return self._leaves(self.carried, "in what was saved", first=True)

    def step(self, written: Written) -> list[Tensor]:
        """Take a step; returns leaves."""
        self.n_steps += 1
        given = self.carried
        for path, member, unlike, value in written:
            if member is None or not unlike:
                given.set(path, value)
            else:
                _set_one(given, path, unlike, member, value)
        when = f"at step {self.n_steps}"
        told = self._stepped(given, when)
        given.set("next", told)
        self.carried = self.env.step_mdp(given)
        return self._leaves(told, when)

    def _stepped(self, given: TensorDictBase, when: str) -> TensorDictBase:
        env = self.env
        told = env._step(given)  # an error in here is the environment's own
        if not isinstance(told, TensorDictBase):
            raise RunError(f"{self._name}: its _step gave a {type(told).__name__} {when}, and no TensorDict.")
        for key in env.reward_keys:
            if told.get(key, None) is None:
                raise RunError(f"{self._name}: its _step gave no '{_dotted(key)}' {when}, which its reward_spec has.")
        return self._kept_to(lambda: env._step_proc_data(told), when)

    def _kept_to(self, call: Callable[[], TensorDictBase], when: str) -> TensorDictBase:
        """Tell an error that TorchRL raises where a spec is not kept in one line."""
        try:
            return call()
        except Exception as error:
            trace = error.__traceback__
            while trace is not None:
                if trace.tb_frame.f_code.co_name in _ITS_OWN:
                    line = str(error).splitlines()[0] if str(error) else type(error).__name__
                    raise RunError(f"{self._name}: what it gives {when} is not what its specs say: {line}") from error
                trace = trace.tb_next
            raise

    @property
    def _name(self) -> str:
        return f"task ({self.reading.name})"

    def _leaves(self, told: TensorDictBase, when: str, first: bool = False) -> list[Tensor]:
        return [self._leaf(told, leaf, when, first) for leaf in self.reading.leaves]

    def _leaf(self, told: TensorDictBase, leaf: Leaf, when: str, first: bool) -> Tensor:
        if leaf.member is None:
            found = told.get(leaf.path, None)
        else:
            group = told.get(leaf.path[: leaf.group], None)
            own = None if group is None else group.unbind(len(self.batch))[leaf.member]
            found = None if own is None else own.get(leaf.path[leaf.group :], None)
        shape = (*self.batch, *leaf.shape)
        if found is None and first and leaf.later:
            return torch.zeros(shape)
        if not isinstance(found, Tensor):
            told_of = "nothing" if found is None else f"a {type(found).__name__}"
            raise RunError(f"{self._name}: {told_of} at '{_dotted(leaf.path)}' {when}, and its specs have it.")
        if tuple(found.shape) != shape:
            raise RunError(
                f"{self._name}: '{_dotted(leaf.path)}' is {list(found.shape)} {when}, and its specs say {list(shape)}."
            )
        return found


def _set_one(given: TensorDictBase, path: tuple[str, ...], n_words: int, member: int, value: Tensor) -> None:
    """Write what one agent does where a group is kept as a list."""
    group = given.get(path[:n_words])
    if not isinstance(group, LazyStackedTensorDict):
        dim = given.batch_dims
        group = LazyStackedTensorDict(*(each.copy() for each in group.unbind(dim)), stack_dim=dim)
        given.set(path[:n_words], group)
    group.tensordicts[member].set(path[n_words:], value)


def _dotted(path: Any) -> str:
    return path if isinstance(path, str) else ".".join(path)


# --------------------------------------------------------------------------- copies of one


class Copy:
    """A row: a TorchRL environment with an empty batch.

    Every episode begins with a seed, which ``set_seed`` is given. What it draws from the generators of the process
    comes from a stream of the row that begins with it, too (see ``workers``). So an episode depends on its
    seed and its actions alone, wherever it is played.

    Args:
        env: the environment.
    """

    def __init__(self, env: EnvBase) -> None:
        self._single = Single(env, read(env), ())

    def reading(self) -> Reading:
        """What its specs say."""
        return self._single.reading

    def reset(self, seed: int) -> list[np.ndarray]:
        """Begin the episode of a seed; returns leaves."""
        self._single.env.set_seed(seed)
        return _arrays(self._single.reset())

    def step(self, *written: tuple[tuple[str, ...], int | None, int, np.ndarray]) -> list[np.ndarray]:
        """Take a step; returns leaves."""
        device = self._single.env.device
        given = [(path, member, words, torch.as_tensor(value, device=device)) for path, member, words, value in written]
        try:
            with torch.no_grad():
                return _arrays(self._single.step(given))
        except Exception as error:
            error.add_note(f"This was step {self._single.n_steps} of its episode.")
            raise

    def max_steps(self) -> int | None:
        """See :func:`max_steps`."""
        return max_steps(self._single.env)

    def picture(self) -> np.ndarray | None:
        """What it looks like, see :func:`picture`."""
        return picture(self._single.env, 0)

    def close(self) -> None:
        """Close the environment."""
        close(self._single.env)


class Copies:
    """One :class:`Copy` for each row, in this process or in several.

    Args:
        opened: makes the copies.
        n_envs: how many there are.
        seed: of the seeds of all episodes.
    """

    def __init__(self, opened: Callable[[], Bank], n_envs: int, seed: int) -> None:
        self._opened, self.n_envs = opened, n_envs
        self.rows = opened()
        self._generator = torch.Generator().manual_seed(seed)
        self._seeds = torch.zeros(n_envs, dtype=torch.int64)
        self._leaves: list[Tensor] = []

    def reading(self) -> Reading:
        """What the specs say."""
        return self.rows.call(Copy.reading, [0])[0]

    def max_steps(self) -> int | None:
        """See :func:`max_steps`."""
        return self.rows.call(Copy.max_steps, [0])[0]

    def seed(self, seed: int) -> None:
        """Start the stream of seeds afresh."""
        self._generator.manual_seed(seed)

    def start(self) -> list[Tensor]:
        """Begin an episode in every row; returns leaves ``[N, *]``."""
        return self.reset(torch.arange(self.n_envs))

    def reset(self, rows: Tensor) -> list[Tensor]:
        """Begin an episode in each of ``rows``; returns the leaves of all."""
        seeds = torch.randint(2**31, (len(rows),), generator=self._generator)
        self._seeds[rows] = seeds
        fresh = _stacked(self.rows.call(Copy.reset, rows.tolist(), seeds.tolist(), seeds=seeds.tolist()))
        if len(rows) == self.n_envs:
            self._leaves = fresh
        else:
            self._leaves = [old.index_copy(0, rows, new) for old, new in zip(self._leaves, fresh, strict=True)]
        return self._leaves

    def step(self, written: Written) -> list[Tensor]:
        """Take a step in every row; returns leaves."""
        self._leaves = _stacked(self.rows.call(Copy.step, range(self.n_envs), *_columns(written, self.n_envs)))
        return self._leaves

    def picture(self, row: int) -> np.ndarray | None:
        """What a row looks like."""
        return self.rows.call(Copy.picture, [row])[0]

    def close(self) -> None:
        """Close every copy."""
        self.rows.close()

    def open(self) -> None:
        """Make the copies again, after they were closed; their episodes are for :meth:`restore` to bring back."""
        self.rows = self._opened()

    def continue_from(self, state: dict[str, Any]) -> None:
        """Take the seeds of coming episodes from where a state was."""
        self._generator.set_state(state["generator"].cpu())

    def state(self) -> dict[str, Any]:
        """The seeds of the episodes under way, and where the next come from."""
        return {"seeds": self._seeds.clone(), "generator": self._generator.get_state()}

    def restore(self, state: dict[str, Any], played: Sequence[Written], steps: Sequence[int]) -> list[Tensor]:
        """Play the episodes under way again; returns leaves.

        Args:
            state: what :meth:`state` gave.
            played: the actions of every step, as :meth:`step` takes them; of a row, the first ``steps`` are taken.
            steps: of each row, how many its episode has.
        """
        self.continue_from(state)
        self._seeds = state["seeds"].to("cpu", copy=True)
        each = [list(zip(*_columns(written, self.n_envs), strict=True)) for written in played]
        episodes = [[moment[row] for moment in each[:count]] for row, count in enumerate(steps)]
        seeds = self._seeds.tolist()
        self._leaves = _stacked(played_again(self.rows, Copy.reset, Copy.step, seeds, episodes))
        return self._leaves


def _columns(written: Written, n_envs: int) -> list[list[Any]]:
    """An action by entry and row, as :meth:`Copy.step` takes it."""
    return [[(path, member, words, value) for value in values.numpy()] for path, member, words, values in written]


def _arrays(leaves: Sequence[Tensor]) -> list[np.ndarray]:
    return [leaf.detach().to("cpu", copy=True).numpy() for leaf in leaves]


def _stacked(found: Sequence[Sequence[np.ndarray]]) -> list[Tensor]:
    return [torch.from_numpy(np.stack(each)) for each in zip(*found, strict=True)]


# --------------------------------------------------------------------------- one for all rows


class Batch:
    """A TorchRL environment that steps ``N`` rows at once.

    Args:
        env: the environment.
        n_envs: rows.
        stream: of the generators of the process, which it may draw from.
        seed: given to ``set_seed``.
        made: makes another one.
    """

    def __init__(
        self, env: EnvBase, n_envs: int, stream: Stream, seed: int, made: Callable[[int], EnvBase] | None = None
    ) -> None:
        self._seed, self._made = seed, made
        self.single, self.n_envs, self.stream = Single(env, read(env), (n_envs,)), n_envs, stream
        self._closed = False
        with stream:
            env.set_seed(seed)

    @property
    def env(self) -> EnvBase:
        """The environment."""
        return self.single.env

    def reading(self) -> Reading:
        """What the specs say."""
        return self.single.reading

    def max_steps(self) -> int | None:
        """See :func:`max_steps`."""
        return max_steps(self.env)

    def seed(self, seed: int) -> None:
        """Start the random streams afresh."""
        self.stream.seed(seed)
        with self.stream:
            self.env.set_seed(seed)

    def start(self) -> list[Tensor]:
        """Reset every row; returns leaves ``[N, *]``."""
        with self.stream:
            return self.single.reset()

    def reset(self, rows: Tensor) -> list[Tensor]:
        """Reset ``rows``; returns the leaves of all."""
        env, asked = self.env, self.single.carried.copy()
        mask = torch.zeros(self.n_envs, dtype=torch.bool).index_fill_(0, rows.cpu(), True).to(env.device or "cpu")
        for key, (done, *_) in zip(env.reset_keys, env.done_keys_groups, strict=True):
            flag = asked.get(done)
            asked.set(key, mask.view(-1, *(1,) * (flag.dim() - 1)).expand_as(flag).clone())
        with self.stream:
            return self.single.reset(asked, select_reset_only=True)

    def leaves(self) -> list[Tensor]:
        """Return the leaves of where it stands; of the reward there are none."""
        return self.single.standing()

    def over(self) -> Tensor:
        """Which rows TorchRL would reset now, ``[N]`` bool."""
        flags = [self.single.carried.get(key).reshape(self.n_envs, -1) for key in self.env.done_keys]
        return torch.cat(flags, 1).any(1).cpu()

    def step(self, written: Written) -> list[Tensor]:
        """Take a step; returns leaves."""
        device = self.env.device
        moved = [(path, member, words, value.to(device or "cpu")) for path, member, words, value in written]
        with self.stream, torch.no_grad():
            return self.single.step(moved)

    def picture(self, row: int) -> np.ndarray | None:
        """What a row looks like."""
        with self.stream:
            return picture(self.env, row)

    def open(self) -> None:
        """Make the environment again, after it was closed; where it stood is for ``torchrl_state`` to bring back."""
        assert self._made is not None
        with self.stream:
            env = self._made(self._seed)
            env.set_seed(self._seed)
        self.single, self._closed = Single(env, read(env), (self.n_envs,)), False

    def close(self) -> None:
        """Close the environment; once more does nothing."""
        if not self._closed:
            self._closed = True
            close(self.env)


# --------------------------------------------------------------------------- both


def max_steps(env: Any) -> int | None:
    """After how many steps an environment cuts its episodes, by its ``StepCounter`` or ``max_steps``; None: unknown."""
    while isinstance(env, TransformedEnv):
        for transform in env.transform if isinstance(env.transform, Compose) else [env.transform]:
            if isinstance(transform, StepCounter) and transform.max_steps:
                return int(transform.max_steps)
        env = env.base_env
    found = getattr(env, "max_steps", None)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else None


def picture(env: Any, row: int) -> np.ndarray | None:
    """Draw a row by the environment's ``render()``, ``[H, W, 3]``; None where it has none, or gives nothing.

    One that takes ``row``, ``index`` or ``env_index`` is told which, and one that takes ``mode`` is told ``rgb_array``.
    Of an array ``[N, H, W, 3]`` the row is taken.
    """
    render = getattr(env, "render", None)
    if not callable(render):
        return None
    known = inspect.signature(render).parameters
    words: dict[str, Any] = {word: row for word in ("row", "index", "env_index") if word in known}
    if "mode" in known:
        words["mode"] = "rgb_array"
    found = render(**words)
    drawn = found.cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
    if drawn.ndim == 4:
        drawn = drawn[row]
    return np.ascontiguousarray(drawn, dtype=np.uint8) if drawn.ndim == 3 else None


def close(env: EnvBase) -> None:
    """Close an environment, whether or not it was ever opened."""
    takes = "raise_if_closed" in inspect.signature(env.close).parameters
    env.close(**({"raise_if_closed": False} if takes else {}))
