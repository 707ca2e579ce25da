"""A simulator's step as one tensor program: inputs and outputs are the simulator's own tensors, by path."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._functorch.compile_utils import fx_graph_cse
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx

from hetrl.env.capture.contacts import contacts
from hetrl.env.capture.places import RefusalError
from hetrl.env.capture.tracing import Draw, Event, Listener
from hetrl.env.simulator_state import KeyPath, put, python_values, slots
from hetrl.team import Grouped

StepFunction = Callable[[Any, Mapping[str, Tensor]], tuple[Grouped, Grouped, Tensor]]
"""A step in Python: (simulator, actions) -> observations, rewards, terminated. What it leaves in the simulator is the
state."""
_DEPENDENT = ("nonzero", "masked_select", "unique", "_local_scalar_dense", "bernoulli", "multinomial")


@dataclass(frozen=True)
class TracedStep:
    """A traced step. Slots are places in the simulator that hold a tensor."""

    graph: fx.GraphModule
    """Flat: actions, drawn numbers and slots, those that are read, to the outputs."""
    examples: tuple[Tensor, ...]
    """Inputs that it can be called with."""
    groups: tuple[str, ...]
    """Layout groups of actions that are read."""
    draws: tuple[Draw, ...]
    """What a step draws, in its order."""
    read_draws: tuple[int, ...]
    """Which of them are read."""
    reads: tuple[KeyPath, ...]
    """Slots that are read."""
    aliases: tuple[tuple[KeyPath, ...], ...]
    """Slots that hold one tensor that the step writes in place: they have to hold one when the traced step starts."""
    observations: dict[str, int]
    """Layout group -> which output."""
    rewards: dict[str, int]
    terminated: int
    guard: int | None
    """The output that tells whether the traced path was right; None where no other one is possible."""
    writes: dict[KeyPath, int]
    """Slot -> the output it holds afterwards."""
    moves: dict[KeyPath, KeyPath]
    """Slot -> the slot whose tensor of before the step it holds afterwards."""
    python: dict[KeyPath, Any]
    """Everything in the simulator that is no tensor: what the trace took for granted."""
    script: tuple[Event, ...]
    turns: dict[str, int]

    @property
    def n_operations(self) -> int:
        """Operations of the graph."""
        return sum(node.op == "call_function" for node in self.graph.graph.nodes)


def trace(
    simulator: Any,
    step: StepFunction,
    actions: Mapping[str, Tensor],
    turns: dict[str, int],
    packed: bool,
    first: Sequence[KeyPath],
) -> TracedStep:
    """Trace one step of ``simulator``, which is of no use afterwards.

    Args:
        simulator: in a state from which the step makes no attribute that it does not have.
        step: the step.
        actions: example of its argument.
        turns: see :class:`~hetrl.env.capture.tracing.Listener`.
        packed: see :class:`~hetrl.env.capture.tracing.Listener`.
        first: see :func:`~hetrl.env.simulator_state.walk`.

    Raises:
        RefusalError: the step cannot be a tensor program.
    """
    before = slots(simulator, first)
    heard = Listener(turns, packed)
    versions = {path: tensor._version for path, tensor in before.items()}
    with torch.no_grad(), contacts(simulator.world, heard), heard:
        step(simulator, actions)
    written = {path for path, tensor in before.items() if tensor._version != versions[path]}
    for path, tensor in before.items():
        put(simulator, path, tensor)
    python = python_values(simulator, first)
    inputs = _inputs(before, written)
    examples = [*actions.values(), *heard.drawn, *(before[path] for path in inputs)]
    cloned = [example.detach().clone(memory_format=torch.contiguous_format) for example in examples]
    n_actions, n_draws = len(actions), len(heard.drawn)
    found: dict[str, list[Any]] = {}

    def flat(*tensors: Tensor) -> list[Tensor]:
        copies = [tensor.clone() for tensor in tensors]
        own = dict(zip(inputs, copies[n_actions + n_draws :], strict=True))
        for path, tensor in own.items():
            for slot in inputs[path]:
                put(simulator, slot, tensor)
        listener = Listener(turns, packed, heard.heard, copies[n_actions : n_actions + n_draws])
        with contacts(simulator.world, listener), listener:
            observation, reward, terminated = step(simulator, dict(zip(actions, copies, strict=False)))
        if len(listener.heard) != len(heard.heard):
            raise RefusalError("it takes another path from step to step")
        after = slots(simulator, first)
        if after.keys() != before.keys():
            path = next(iter(after.keys() ^ before.keys()))
            raise RefusalError(f"what it holds changes from step to step: {'/'.join(map(str, path))}")
        found["observations"], found["rewards"] = list(observation), list(reward)
        found["kept"] = [path for path in own if path not in written]
        found["guards"] = listener.guards
        # Who holds which tensor: equal numbers may become one node, but two tensors have to stay two.
        found["slots"] = [(path, id(tensor)) for path, tensor in after.items()]
        found["own"] = [(id(tensor), path) for path, tensor in own.items()]
        kept = [own[path] for path in found["kept"]]
        results = [*observation.values(), *reward.values(), terminated, *listener.guards, *kept, *after.values()]
        return [result.contiguous() for result in results]

    with torch.no_grad():
        graph = make_fx(functionalize(flat, remove="mutations"), tracing_mode="real")(*cloned)
    return _traced_step(graph, cloned, tuple(actions), heard.heard, turns, inputs, written, found, python)


def _inputs(tensors: Mapping[KeyPath, Tensor], written: set[KeyPath]) -> dict[KeyPath, tuple[KeyPath, ...]]:
    """Input -> slots that it fills. A tensor that is only replaced may be another one in each of its slots."""
    alike: dict[int, list[KeyPath]] = {}
    storages: dict[int, set[int]] = {}
    for path, tensor in tensors.items():
        alike.setdefault(id(tensor), []).append(path)
        if tensor.numel():
            storages.setdefault(tensor.untyped_storage().data_ptr(), set()).add(id(tensor))
    inputs: dict[KeyPath, tuple[KeyPath, ...]] = {}
    for path, tensor in tensors.items():
        if path not in written:
            inputs[path] = (path,)
            continue
        if len(storages.get(tensor.untyped_storage().data_ptr(), ())) > 1:
            raise RefusalError(f"it writes into a part of another tensor: {'/'.join(map(str, path))}")
        if alike[id(tensor)][0] == path:
            inputs[path] = tuple(alike[id(tensor)])
    return inputs


# --------------------------------------------------------------------------- the graph


def _traced_step(
    traced: fx.GraphModule, examples: list[Tensor], groups: tuple[str, ...], script: list[Event],
    turns: dict[str, int], inputs: dict[KeyPath, tuple[KeyPath, ...]], written: set[KeyPath],
    found: dict[str, list[Any]], python: dict[KeyPath, Any],
) -> TracedStep:  # fmt: skip
    """Prune what nobody reads, and say what the inputs and outputs are."""
    for node in traced.graph.nodes:
        name = str(node.target)
        if node.op == "call_function" and any(f".{word}" in name for word in _DEPENDENT):
            raise RefusalError(f"shapes depend on numbers ({name.removeprefix('aten.')})")
    _drop_copies(traced.graph)
    graph = fx_graph_cse(traced.graph)
    traced = fx.GraphModule(traced, graph)
    _fold(traced)
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    end = next(node for node in graph.nodes if node.op == "output")
    (results,) = end.args
    n_seen, n_paid, n_guards = (len(found[word]) for word in ("observations", "rewards", "guards"))
    n_kept, cut = len(found["kept"]), n_seen + n_paid + 1
    guards, kept = results[cut : cut + n_guards], results[cut + n_guards : cut + n_guards + n_kept]
    after = list(zip(found["slots"], results[cut + n_guards + n_kept :], strict=True))
    n_draws = sum(isinstance(event, Draw) for event in script)
    slot_inputs = dict(zip(placeholders[len(groups) + n_draws :], inputs, strict=True))
    for path, node in zip(found["kept"], kept, strict=True):
        if slot_inputs.get(node) != path:
            raise RefusalError(f"it writes in place at some steps only: {'/'.join(map(str, path))}")

    outputs: list[fx.Node] = []
    numbers: dict[tuple[fx.Node, Any], int] = {}

    def output(node: fx.Node, holder: Any) -> int:
        """The number of an output of its own for each holder of the node's numbers."""
        key = (node, holder)
        if key not in numbers:
            if node.op != "call_function" or node in outputs:
                with graph.inserting_before(end):
                    node = graph.call_function(torch.ops.aten.clone.default, (node,))
            numbers[key] = len(outputs)
            outputs.append(node)
        return numbers[key]

    observations = {group: output(node, group) for group, node in zip(found["observations"], results, strict=False)}
    rewards = {group: output(node, group) for group, node in zip(found["rewards"], results[n_seen:], strict=False)}
    terminated = output(results[cut - 1], None)
    guard = _all_of(traced, graph, end, guards)
    guard_number = None if guard is None else output(guard, None)
    writes, moves, own = {}, {}, dict(found["own"])
    for (path, holder), node in after:
        source = slot_inputs.get(node)
        if source is None or own.get(holder) != source:
            writes[path] = output(node, holder)
        elif path not in inputs[source]:
            moves[path] = source
    end.args = (outputs,)
    _spell_out(traced)
    graph.eliminate_dead_code()
    used = [bool(node.users) for node in placeholders]
    for node, is_used in zip(placeholders, used, strict=True):
        if not is_used:
            graph.erase_node(node)
    graph.lint()
    traced = fx.GraphModule(traced, graph)  # without the constants that nobody reads any more: each is an argument
    first_slot = len(groups) + n_draws
    return TracedStep(
        graph=traced,
        examples=tuple(example for example, is_used in zip(examples, used, strict=True) if is_used),
        groups=tuple(group for group, is_used in zip(groups, used, strict=False) if is_used),
        draws=tuple(event for event in script if isinstance(event, Draw)),
        read_draws=tuple(i for i in range(n_draws) if used[len(groups) + i]),
        reads=tuple(path for path, is_used in zip(inputs, used[first_slot:], strict=True) if is_used),
        aliases=tuple(slots for path, slots in inputs.items() if path in written and len(slots) > 1),
        observations=observations, rewards=rewards, terminated=terminated, guard=guard_number,
        writes=writes, moves=moves, python=python, script=tuple(script), turns=turns,
    )  # fmt: skip


def _drop_copies(graph: fx.Graph) -> None:
    """Nothing is written in place any more, so inputs need no copies; a copy that the step itself makes stays."""
    copies = {torch.ops.aten.clone.default, torch.ops.aten.lift_fresh_copy.default}
    first = [
        node
        for node in graph.nodes
        if node.target in copies and not node.kwargs and node.args[0].op in ("placeholder", "get_attr")
    ]
    for node in first:
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)


def _fold(module: fx.GraphModule) -> None:
    """Compute what depends on constants alone."""
    graph = module.graph
    constants: dict[fx.Node, Tensor] = {}
    for node in list(graph.nodes):
        if node.op == "get_attr":
            constants[node] = getattr(module, str(node.target))
            continue
        sources = node.all_input_nodes
        if node.op != "call_function" or not sources or not all(source in constants for source in sources):
            continue
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), constants.__getitem__)
        value = node.target(*args, **kwargs)
        if not isinstance(value, Tensor) or value.numel() > 1024:
            continue
        name = f"_folded_{len(constants)}"
        module.register_buffer(name, value.clone(memory_format=torch.contiguous_format))
        with graph.inserting_before(node):
            folded = graph.get_attr(name)
        constants[folded] = getattr(module, name)
        node.replace_all_uses_with(folded)
        graph.erase_node(node)


def _spell_out(module: fx.GraphModule) -> None:
    """Write constants of one number as that number, which a kernel need not load."""
    graph = module.graph
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        value = getattr(module, str(node.target))
        number = value.flatten()[0] if value.numel() else None
        if number is None or not (value == number).all():
            continue
        with graph.inserting_before(node):
            options = {"dtype": value.dtype, "device": value.device, "pin_memory": False}
            full = graph.call_function(torch.ops.aten.full.default, (list(value.shape), number.item()), options)
        node.replace_all_uses_with(full)
        graph.erase_node(node)


def _all_of(module: fx.GraphModule, graph: fx.Graph, end: fx.Node, guards: Sequence[fx.Node]) -> fx.Node | None:
    """One node that is true where all guards are; None where all are constants, and true."""
    together: fx.Node | None = None
    for guard in dict.fromkeys(guards):
        if guard.op == "get_attr":
            if not getattr(module, str(guard.target)):
                raise RefusalError("a question whose answer cannot change was answered otherwise")
            continue
        with graph.inserting_before(end):
            together = guard if together is None else graph.call_function(
                torch.ops.aten.logical_and.default, (together, guard)
            )  # fmt: skip
    return together
