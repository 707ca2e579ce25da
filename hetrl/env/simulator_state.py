"""The state of a simulator made of python objects and tensors: find it, save it, copy rows of it.

Nothing here knows a scenario. A simulator is a graph of objects, lists, dictionaries and tuples; a *path* is the chain
of attribute names and positions that leads from its root to a value, and the same path leads to the same value in a
second simulator built with the same arguments. So state travels between simulators, and through files, by path.

A tensor is *per row* when one of its dimensions counts the environments of the batch. Everything else that a reset
writes (a goal chosen once for the whole batch, a mass, a colour) is *shared* by all rows.
"""

import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from hetrl.errors import RunError
from hetrl.graph import Played

KeyPath = tuple[str | int, ...]
Snapshot = dict[str, Any]

_PRIMITIVE: tuple[type, ...] = (bool, int, float, str, type(None))
_OPAQUE: tuple[Any, ...] = (
    Tensor,
    Enum,
    type,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    torch.device,
    torch.dtype,
)
_FOREIGN = ("gym", "gymnasium", "numpy", "pyglet")


def _is_node(value: object) -> bool:
    """Whether ``value`` can hold state: a container, or an object with attributes that belongs to the simulator."""
    if isinstance(value, (list, deque, tuple, dict)):
        return True
    if isinstance(value, _OPAQUE + _PRIMITIVE) or not hasattr(value, "__dict__"):
        return False
    return type(value).__module__.partition(".")[0] not in _FOREIGN


def slots_of(node: Any) -> Iterator[tuple[Any, Any]]:
    """Return the slots of a node. A dictionary's are counted, as its keys may be objects of this very simulator."""
    if isinstance(node, dict):
        return enumerate(node.values())
    if isinstance(node, (list, deque, tuple)):
        return enumerate(node)
    return iter(vars(node).items())


def walk(root: object, first: Sequence[KeyPath] = (), closed: tuple[type, ...] = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every node once with its shortest path.

    Args:
        root: the simulator.
        first: paths of containers whose members are named before any other node. The owners of objects belong here:
            a reference that changes while running (an agent's goal) must never be the one that names its object.
        closed: kinds of objects that hold no state.
    """
    seen: set[int] = set()
    queue: deque[tuple[KeyPath, Any]] = deque()

    def visit(path: KeyPath, node: Any) -> None:
        if id(node) not in seen and _is_node(node) and not isinstance(node, closed):
            seen.add(id(node))
            queue.append((path, node))

    visit((), root)
    for path in first:
        container = get(root, path)
        visit(path, container)
        for key, value in slots_of(container):
            visit((*path, key), value)
    while queue:
        path, node = queue.popleft()
        yield path, node
        for key, value in slots_of(node):
            visit((*path, key), value)


def get(root: Any, path: KeyPath) -> Any:
    """The value at ``path``. Raises KeyError or IndexError where there is none."""
    for key in path:
        root = _child(root, key)
    return root


def _child(node: Any, key: Any) -> Any:
    if isinstance(node, dict):
        if key >= len(node):
            raise KeyError(key)
        return next(islice(node.values(), key, None))
    if isinstance(node, (list, deque, tuple)):
        return node[key]
    return vars(node)[key]


def _has(node: Any, key: Any) -> bool:
    return key in vars(node) if isinstance(key, str) else key < len(node)


def put(root: Any, path: KeyPath, value: Any) -> None:
    """Set the value at ``path``."""
    holder, key = get(root, path[:-1]), path[-1]
    if isinstance(holder, tuple):
        put(root, path[:-1], tuple(value if i == key else old for i, old in enumerate(holder)))
    else:
        _assign(holder, key, value)


def _assign(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, dict):
        holder[next(islice(holder, key, None))] = value
    elif isinstance(holder, (list, deque)):
        holder[key] = value
    else:
        # Straight into the instance: property setters may refuse a second assignment or touch other state.
        vars(holder)[key] = value


# --------------------------------------------------------------------------- save and load


def _twins(tensors: Sequence[Tensor], devices: Sequence[str | torch.device]) -> list[Tensor]:
    """Copies on ``devices`` that share storage with each other exactly as the originals do (views stay views)."""
    wholes: dict[int, Tensor] = {}
    twins = []
    for tensor, device in zip(tensors, devices, strict=True):
        if not tensor.numel():
            twins.append(tensor.to(device, copy=True))
            continue
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in wholes:
            whole = tensor.as_strided((len(storage) // tensor.element_size(),), (1,), 0)
            wholes[storage.data_ptr()] = whole.to(device, copy=True)
        whole = wholes[storage.data_ptr()].view(tensor.dtype)
        twins.append(whole.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()))
    return twins


def snapshot(root: object, first: Sequence[KeyPath] = (), closed: tuple[type, ...] = ()) -> Snapshot:
    """Everything the simulator holds, as tensors and primitives.

    Functions, enum members and the like are not state and are left out; :func:`restore` keeps those it finds.
    For ``closed`` see :func:`walk`.
    """
    nodes = list(walk(root, first, closed))
    names = {id(node): "/".join(map(str, path)) for path, node in nodes}
    tensors: dict[int, Tensor] = {}
    order: dict[int, int] = {}

    def encode(value: Any) -> Any:
        if isinstance(value, Tensor):
            tensors.setdefault(id(value), value)
            return {"tensor": order.setdefault(id(value), len(order))}
        if id(value) in names:
            return {"node": names[id(value)]}
        if isinstance(value, _PRIMITIVE) and not isinstance(value, Enum):
            # Subclasses (a numpy float, say) would not load with weights_only.
            kind: Any = next(kind for kind in _PRIMITIVE if isinstance(value, kind))
            return value if type(value) is kind else kind(value)
        return {"keep": True}

    content = {}
    for path, node in nodes:
        if isinstance(node, dict):
            kind, items = "dict", [[encode(key), encode(value)] for key, value in node.items()]
        elif isinstance(node, tuple):
            kind, items = "tuple", [[key, encode(value)] for key, value in slots_of(node)]
        elif isinstance(node, (list, deque)):
            kind, items = "list", [[key, encode(value)] for key, value in slots_of(node)]
        else:
            kind, items = "object", [[key, encode(value)] for key, value in slots_of(node)]
        content["/".join(map(str, path))] = {"path": list(path), "kind": kind, "items": items}
    originals = list(tensors.values())
    devices = [tensor.device for tensor in originals]
    return {"nodes": content, "tensors": _twins(originals, devices), "devices": list(map(str, devices))}


def restore(root: object, state: Snapshot, device: str | torch.device | None = None) -> None:
    """Put a :func:`snapshot` into a simulator built with the same arguments, whatever it has done since.

    Args:
        root: the simulator.
        state: the snapshot.
        device: where the simulator lives; if left out, tensors go back to where they were saved. Of a snapshot taken on
            another device, a tensor goes where the simulator has the one in its place, or else to this device.

    Raises:
        RunError: the simulator lacks an object of the snapshot, so it was built with other arguments.
    """
    nodes = state["nodes"]
    tensors = _twins(state["tensors"], _devices(root, state, device))
    live: dict[str, Any] = {}
    for name, node in nodes.items():
        try:
            found = get(root, tuple(node["path"]))
        except (KeyError, IndexError, TypeError):
            found = None
        if node["kind"] == "object":
            if not _is_node(found) or isinstance(found, (list, deque, tuple, dict)):
                raise RunError(f"state: the simulator has no object at '{name}'; build it with the saved arguments.")
        elif node["kind"] == "list":
            found = found if isinstance(found, (list, deque)) else []
        elif node["kind"] == "dict":
            found = found if isinstance(found, dict) else {}
        live[name] = found

    def decode(value: Any, old: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "tensor" in value:
            return tensors[value["tensor"]]
        if "node" in value:
            name = value["node"]
            return rebuilt(name) if nodes[name]["kind"] == "tuple" else live[name]
        return old

    def rebuilt(name: str) -> tuple:
        old = live[name] if isinstance(live[name], tuple) else ()
        olds = [*old, *[None] * len(nodes[name]["items"])]
        return tuple(decode(value, olds[key]) for key, value in nodes[name]["items"])

    for name, node in nodes.items():
        target, items = live[name], node["items"]
        if node["kind"] == "object":
            slots = vars(target)
            kept_here = (item for item in items if item[1] != {"keep": True} or item[0] in slots)
            fresh = {key: decode(value, slots.get(key)) for key, value in kept_here}
            slots.clear()
            slots.update(fresh)
        elif node["kind"] == "list":
            olds = [*target, *[None] * len(items)]
            fresh_list = [decode(value, olds[key]) for key, value in items]
            target.clear()
            target.extend(fresh_list)
        elif node["kind"] == "dict":
            # A kept key (an enum, a type) is found again by its position, everything else by what was saved.
            old_keys = [*target, *[None] * len(items)]
            pairs = []
            for position, (key, value) in enumerate(items):
                key = decode(key, old_keys[position])
                pairs.append((key, decode(value, target.get(key))))
            target.clear()
            target.update(pairs)


def _devices(root: object, state: Snapshot, device: str | torch.device | None) -> list[str | torch.device]:
    """Return where the tensors of a snapshot belong."""
    saved: list[str | torch.device] = state["devices"]
    if device is None or set(map(str, saved)) == {str(torch.device(device))}:
        return saved
    found: dict[int, torch.device] = {}
    for node in state["nodes"].values():
        for key, value in node["items"]:
            if isinstance(value, dict) and "tensor" in value and value["tensor"] not in found:
                try:
                    live = get(root, (*node["path"], key))
                except (KeyError, IndexError, TypeError):
                    continue
                if isinstance(live, Tensor):
                    found[value["tensor"]] = live.device
    return [found.get(number, torch.device(device)) for number in range(len(saved))]


def python_values(root: object, first: Sequence[KeyPath] = ()) -> dict[KeyPath, Any]:
    """Everything that is no tensor, and where tensors are. Equal for two simulators that hold the same of it."""
    nodes = list(walk(root, first))
    names = {id(node): path for path, node in nodes if not isinstance(node, tuple)}

    def told(value: Any) -> Any:
        if isinstance(value, Tensor):
            return Tensor
        if isinstance(value, tuple):  # by what is in it: it may be one tuple in several places, or several alike
            return tuple(told(part) for part in value)
        return names.get(id(value), value if isinstance(value, (*_PRIMITIVE, Enum)) else type(value))

    return {
        (*path, key): told(value)
        for path, node in nodes
        if not isinstance(node, tuple)
        for key, value in slots_of(node)
    }


def slots(root: object, first: Sequence[KeyPath] = ()) -> dict[KeyPath, Tensor]:
    """Every place that holds a tensor."""
    return {path: tensor for path, (tensor, _) in _tensors(root, first).items()}


# --------------------------------------------------------------------------- what a reset writes


@dataclass(frozen=True)
class Row:
    """A per-row tensor that a reset writes."""

    path: KeyPath
    dim: int
    """The dimension that counts environments."""
    in_place: bool
    """The reset wrote into the tensor, rather than putting a new one in its place."""


@dataclass(frozen=True)
class Footprint:
    """All that a reset writes."""

    rows: tuple[Row, ...]
    shared: tuple[KeyPath, ...]
    """Slots with one value for the whole batch: numbers, references to objects, tensors without rows."""


def _tensors(root: object, first: Sequence[KeyPath]) -> dict[KeyPath, tuple[Tensor, int]]:
    """Every tensor slot, with the version that counts writes in place. Holding the tensors keeps identities unique."""
    return {
        (*path, key): (value, value._version)
        for path, node in walk(root, first)
        for key, value in slots_of(node)
        if isinstance(value, Tensor)
    }


def _python(root: object, first: Sequence[KeyPath]) -> dict[KeyPath, Any]:
    """Every number, text and reference to an object (as that object's path)."""
    nodes = list(walk(root, first))
    objects = {id(node): path for path, node in nodes if not isinstance(node, (list, deque, tuple, dict))}
    found: dict[KeyPath, Any] = {}
    for path, node in nodes:
        for key, value in slots_of(node):
            if id(value) in objects:
                found[(*path, key)] = objects[id(value)]
            elif isinstance(value, (*_PRIMITIVE, Enum)):
                found[(*path, key)] = value
    return found


def footprint(
    small: object,
    large: object,
    sizes: tuple[int, int],
    reset: Callable[[], None],
    first: Sequence[KeyPath],
    trials: int,
) -> Footprint:
    """Find out what a reset writes, by resetting ``small`` ``trials`` times and comparing.

    Args:
        small: simulator with few rows, cheap to reset.
        large: the same with another number of rows. The row dimension of a tensor is the one that differs.
        sizes: rows of ``small`` and of ``large``.
        reset: resets all rows of ``small``.
        first: see :func:`walk`.
        trials: a choice among ``k`` values goes unnoticed with probability ``k ** -trials``.
    """
    in_place: dict[KeyPath, bool] = {}
    shared: dict[KeyPath, None] = {}
    before, python_before = _tensors(small, first), _python(small, first)
    for _ in range(trials):
        reset()
        after, python_after = _tensors(small, first), _python(small, first)
        for path, (tensor, version) in after.items():
            old, old_version = before.get(path, (None, None))
            if tensor is not old:
                in_place[path] = False
            elif version != old_version:
                in_place.setdefault(path, True)
        for path, value in python_after.items():
            if path in python_before and python_before[path] != value:
                shared[path] = None
        before, python_before = after, python_after
    others = _tensors(large, first)
    rows = []
    for path, inside in in_place.items():
        if path not in before or path not in others:
            continue
        tensor, other = before[path][0], others[path][0]
        if tensor.dim() != other.dim():
            continue
        dims = [d for d in range(tensor.dim()) if (tensor.shape[d], other.shape[d]) == sizes]
        if dims:
            rows.append(Row(path, dims[0], inside))
        else:
            shared[path] = None
    return Footprint(tuple(rows), tuple(shared))


RowChoice = Callable[[Sequence[Tensor], tuple[int, ...]], Sequence[Tensor]]
"""From which rows are chosen, ``[N]`` bool, and tensors two by two, and the dimension of each two that counts rows, to
each two's tensor with the chosen rows of the first and the others of the second."""


def choose_rows(given: Sequence[Tensor], dims: tuple[int, ...]) -> list[Tensor]:
    """RowChoice rows, see :data:`RowChoice`: one kernel for each tensor, where indexing takes two."""
    chosen, *both = given
    twos = zip(both[::2], both[1::2], dims, strict=True)
    return [torch.where(chosen.view(-1, *(1,) * (old.dim() - dim - 1)), new, old) for new, old, dim in twos]


class PlayedChoice:
    """The same, recorded once and played, see :class:`hetrl.graph.Played`; results stay until the next call alone.

    Args:
        what: what a line that says why it is not played calls it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._played: dict[tuple[int, ...], Played] = {}

    def __call__(self, given: Sequence[Tensor], dims: tuple[int, ...]) -> Sequence[Tensor]:
        """RowChoice rows."""
        if dims not in self._played:
            self._played[dims] = Played(partial(choose_rows, dims=dims), list, self._what)
        return self._played[dims](given)


def copy_rows(
    rows: Sequence[Row], source: object, target: object, chosen: Tensor, choose: RowChoice = choose_rows
) -> None:
    """Give ``target`` the rows of ``source`` where ``chosen`` (``[N]`` bool) is set, in every tensor of ``rows``.

    What the reset wrote in place is written in place, what it replaced is replaced, and slots that held one tensor
    hold one tensor afterwards: exactly the sharing that a reset leaves. Other rows keep their bits.
    """
    holders: dict[KeyPath, tuple[Any, Any] | None] = {}
    twos: dict[tuple[int, int], tuple[Tensor, Tensor, Row]] = {}
    slots: list[tuple[Row, Any, tuple[int, int]]] = []
    for row in rows:
        path, key = row.path[:-1], row.path[-1]
        if path not in holders:
            holders[path] = _both(source, target, path)
        pair = holders[path]
        if pair is None or not (_has(pair[0], key) and _has(pair[1], key)):
            continue  # made by a first step that the target has yet to take
        new, old = _child(pair[0], key), _child(pair[1], key)
        if not isinstance(new, Tensor) or not isinstance(old, Tensor) or new.shape != old.shape:
            continue
        same = (id(new), id(old))
        twos.setdefault(same, (new, old, row))
        slots.append((row, pair[1], same))
    given = [tensor for new, old, _ in twos.values() for tensor in (new, old)]
    results = choose([chosen, *given], tuple(row.dim for *_, row in twos.values()))
    found = dict(zip(twos, results, strict=True))
    inside = [same for same, (_, old, row) in twos.items() if row.in_place and _is_dense(old)]
    if inside:
        torch._foreach_copy_([twos[same][1] for same in inside], [found[same] for same in inside])
    for row, holder, same in slots:
        if same in inside:
            continue
        if isinstance(holder, tuple):
            put(target, row.path, found[same])
        else:
            _assign(holder, row.path[-1], found[same])


def _is_dense(tensor: Tensor) -> bool:
    return all(stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)


def _both(source: object, target: object, path: KeyPath) -> tuple[Any, Any] | None:
    try:
        return get(source, path), get(target, path)
    except (KeyError, IndexError):
        return None


def copy_shared(paths: Sequence[KeyPath], source: object, target: object, first: Sequence[KeyPath]) -> None:
    """Give ``target`` what ``source`` has in the slots ``paths``; a reference becomes the target's own object."""
    if not paths:
        return
    names = {id(node): path for path, node in walk(source, first) if not isinstance(node, (list, deque, tuple, dict))}
    for path in paths:
        pair = _both(source, target, path)
        if pair is None:
            continue
        value = pair[0]
        if isinstance(value, Tensor):
            value = value.clone()
        elif id(value) in names:
            value = get(target, names[id(value)])
        put(target, path, value)
