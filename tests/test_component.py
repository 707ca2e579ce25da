"""Tables, wiring, and the TensorDict side of a component."""

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictSequential
from torch import Tensor

from hetrl.component import Component, Table
from hetrl.errors import ComponentError, HetrlError, RecipeError
from hetrl.loss.clipped_surrogate import ClippedSurrogate
from hetrl.loss.huber_value import HuberValue
from hetrl.weight.unit_factor import UnitFactor


class Gather(Component):
    """Sum of everyone's x and y times this agent's."""

    reads = {"x": "agents.x", "y": "agent.y", "scale": "scale"}
    writes = {"total": "agent.total", "loss": "loss.agent.total"}

    def compute(self, x: tuple[Tensor, ...], y: Tensor, scale: Tensor | None = None) -> dict[str, Tensor]:
        total = sum(x) * y * (1 if scale is None else scale)
        return {"total": total, "loss": -total}


def number(value):
    return torch.tensor([float(value)])


def batch(**more):
    return TensorDict(
        {"a": {"x": number(1), "y": number(10)}, "b": {"x": number(2), "y": number(100)},
         "next": {"a": {"x": number(5), "y": number(7)}, "b": {"x": number(6), "y": number(8)}}, **more}, [1]
    )  # fmt: skip


# ----- tables


def test_a_signature_must_be_the_table():
    with pytest.raises(ComponentError, match=r"compute takes \['b', 'a'\], but its table reads \['a', 'b'\]; name the"):

        class Wrong(Component):
            reads = {"a": "a", "b": "b"}
            writes = {"c": "c"}

            def compute(self, b, a):
                return {"c": a + b}


def test_called_networks_come_after_the_roles():
    with pytest.raises(ComponentError, match=r"but its table reads \['a', 'q'\]"):

        class Wrong(Component):
            reads = {"a": "a"}
            writes = {"c": "c"}
            calls = {"q": "q.min"}

            def compute(self, q, a):
                return {"c": a}


def test_keys_of_a_table_must_be_keys():
    with pytest.raises(RecipeError, match=r"'agent..x' is not a key"):

        class Wrong(Component):
            reads = {"a": "agent..x"}
            writes = {"c": "c"}

            def compute(self, a):
                return {"c": a}


def test_roles_with_a_default_are_optional():
    assert Gather.table.optional == {"scale"}
    assert HuberValue.table.optional == {"old_value"}


def table():
    return Table.of(Gather.compute, Gather.reads, Gather.writes)


def test_renaming():
    renamed = table().renamed({"y": "agent.z"}, {}, {}, None)
    assert renamed.reads == {"x": "agents.x", "y": "agent.z", "scale": "scale"}
    renamed = table().renamed({}, {"scale": "factor"}, {"total": "agent.sum"}, None)
    assert renamed.reads["scale"] == "factor" and renamed.writes["total"] == "agent.sum"
    assert renamed.optional == frozenset()  # who names its key wants it read


def test_renaming_a_role_that_is_read_and_written_does_both():
    both = Table.of(lambda a: None, {"a": "x"}, {"a": "x"})
    assert both.renamed({"a": "y"}, {}, {}, None) == Table({"a": "y"}, {"a": "y"}, {}, frozenset())
    assert both.renamed({}, {}, {"a": "y"}, None) == Table({"a": "x"}, {"a": "y"}, {}, frozenset())


def test_moving_to_the_next_step_leaves_outputs_and_named_keys():
    moved = table().renamed({"y": "agent.z"}, {}, {}, "next")
    assert moved.reads == {"x": "next.agents.x", "y": "agent.z", "scale": "next.scale"}
    assert moved.writes == {"total": "next.agent.total", "loss": "loss.agent.total"}


@pytest.mark.parametrize(
    ("both", "reads", "writes", "text"),
    [
        ({"z": "a"}, {}, {}, "no role 'z'. There are: "),
        ({}, {"total": "a"}, {}, "no role 'total'"),
        ({}, {}, {"scal": "a"}, "no role 'scal'"),
        ({"scal": "a"}, {}, {}, "Nearest: 'scale'"),
        ({"y": "a b"}, {}, {}, "'a b' is not a key"),
    ],
)
def test_renaming_what_is_not_there(both, reads, writes, text):
    with pytest.raises(RecipeError, match=text):
        table().renamed(both, reads, writes, None)


# ----- wiring


def test_wired_to_an_agent():
    """(1 + 2) * 10 for a, (1 + 2) * 100 for b."""
    component = Gather().wire(agent="a", agents=["a", "b"])
    assert component.in_keys == [("a", "x"), ("b", "x"), ("a", "y")]
    assert component.out_keys == [("a", "total"), ("loss", "a", "total")]
    values = batch()
    assert component(values) is values
    assert values["a", "total"].item() == 30 and values["loss", "a", "total"].item() == -30
    assert component.wire(agent="b", agents=["a", "b"])(batch())["b", "total"].item() == 300


def test_an_optional_role_is_used_where_it_is_written():
    component = Gather().wire(agent="a", agents=["a", "b"])
    assert component(batch(scale=number(2)))["a", "total"].item() == 60
    assert ("scale",) not in component.in_keys and "scale" not in component.in_keys


def test_renamed_and_moved_wiring():
    component = Gather().wire(agent="a", agents=["a", "b"], renamed={"total": "agent.sum"})
    assert component(batch())["a", "sum"].item() == 30


def test_wiring_moved_to_the_next_step():
    """(5 + 6) * 7 = 77."""
    component = Gather().wire(agent="a", agents=["a", "b"], at="next")
    assert component(batch())["next", "a", "total"].item() == 77


def test_wiring_a_role_to_everyone():
    """A role of the team bound to ``agents.`` receives a tuple, whatever the class says."""

    class Sum(Component):
        """Sum."""

        reads = {"x": "x"}
        writes = {"y": "y"}

        def compute(self, x) -> dict[str, Tensor]:
            return {"y": sum(x)}

    component = Sum().wire(agent="a", agents=["a", "b"], renamed={"x": "agents.x"})
    assert component(batch())["y"].tolist() == [3.0]


def test_unwired_keys_keep_the_word_agent():
    assert ClippedSurrogate().in_keys == [
        ("agent", "log_prob"), ("agent", "old_log_prob"), "advantage", "factor"
    ]  # fmt: skip


def test_works_in_a_sequence_of_tensordict_modules():
    """log 1.5 with factor 1, A = 1: -1.2."""
    steps = TensorDictSequential(UnitFactor(), ClippedSurrogate(clip=0.2).wire(agent="a"))
    assert "factor" not in steps.in_keys
    values = TensorDict(
        {"advantage": number(1), "a": {"log_prob": number(1.5).log(), "old_log_prob": number(0)}}, batch_size=[1]
    )
    assert steps(values)["loss", "a", "surrogate"].item() == pytest.approx(-1.2)


def test_a_component_that_calls_a_network_does_not_run_alone():
    class Ask(Component):
        """Ask."""

        reads = {"x": "x"}
        writes = {"y": "y"}
        calls = {"q": "q.min"}

        def compute(self, x, q) -> dict[str, Tensor]:
            return {"y": q(x)["q"]}

    with pytest.raises(ComponentError, match="Ask calls a network; it runs inside a recipe, not alone"):
        Ask()(TensorDict({"x": number(1)}, [1]))


def test_a_missing_key_says_its_name():
    with pytest.raises((KeyError, HetrlError), match="log_prob"):
        ClippedSurrogate().wire(agent="a")(TensorDict({"advantage": number(1), "factor": number(1)}, [1]))


def test_constructors_are_checked_however_they_are_called():
    class Child(Component):
        """Child."""

        reads = {"x": "x"}
        writes = {"y": "y"}

        def __init__(self, *, count: int = 1) -> None:
            super().__init__()
            self.count = count

        def compute(self, x) -> dict[str, Tensor]:
            return {"y": x}

    with pytest.raises(RecipeError, match=r"^Child: count = 'a': "):
        Child(count="a")
    assert Child(count=3).count == 3
