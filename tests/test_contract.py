"""Every component of the catalog keeps the contract, and the check itself notices what breaks it."""

import subprocess
import sys

import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl import catalog
from hetrl.component import Component
from hetrl.testing import N_OTHER, N_SAMPLES, check_component, fake_batch

COMPONENTS = [
    name
    for kind in ("order", "estimate", "weight", "loss")
    for name in catalog.names(kind)
    if not getattr(catalog.resolve(name), "calls", {})  # what calls a network is checked with one, in its own test
]
VARIANTS = [
    ("order/fixed", {"order": [2, 0, 1]}),
    ("estimate/gae", {"gamma": 0.9, "lmbda": 0.5, "truncation": "discard"}),
    ("estimate/standardize", {"eps": 1e-3}),
    ("loss/clipped_surrogate", {"clip": 0.1}),
    ("loss/entropy_bonus", {"coef": 0.5}),
    ("loss/huber_value", {"delta": None, "clip": None, "coef": 0.5}),
    ("loss/huber_value", {"delta": 0.5, "clip": 0.2}),
    ("loss/td", {"delta": 0.5, "coef": 0.5}),
]


@pytest.mark.parametrize("name", COMPONENTS)
def test_keeps_the_contract(name):
    check_component(name)


@pytest.mark.parametrize(("name", "values"), VARIANTS)
def test_keeps_the_contract_with_arguments(name, values):
    check_component(name, **values)


class Sound(Component):
    """Half the squared distance of a joint value.

    (sum of x - y)^2 / 2 * scale

    Args:
        scale: weight [1].
    Source: made up.
    Differs: nothing.
    """

    reads = {"x": "agents.x", "y": "agent.y", "active": "agent.active", "each": "agent.each"}
    writes = {"loss": "loss.agent.distance"}

    def __init__(self, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def compute(
        self,
        x: tuple[Float[Tensor, "*batch"], ...],
        y: Float[Tensor, "*batch"],
        active: Bool[Tensor, "*batch"],
        each: Float[Tensor, "ensemble *batch 2"] | None = None,
    ) -> dict[str, Tensor]:
        extra = 0.0 if each is None else each.mean((0, 2))
        return {"loss": (sum(x) - y + extra).square() * self.scale * active / 2}


def broken(compute, **changed):
    """Return ``Sound`` with another compute, or other class attributes, under the name Broken."""
    return type("Broken", (Component,), {**vars(Simple), "compute": compute, **changed})


class Simple(Component):
    """Halves.

    y = x / 2

    Source: made up.
    Differs: nothing.
    """

    reads = {"x": "agent.x"}
    writes = {"loss": "loss.agent.y"}

    def compute(self, x: Float[Tensor, "*batch"]) -> dict[str, Tensor]:
        return {"loss": x / 2}


def test_a_sound_component_passes():
    check_component(Sound)
    check_component(Sound, scale=2.0)
    check_component(Simple)


def test_fake_batches_follow_the_annotations():
    batch = fake_batch(Sound, torch.float64)
    assert [part.shape for part in batch["x"]] == [(N_SAMPLES,)] * N_OTHER
    assert batch["each"].shape == (N_OTHER, N_SAMPLES, 2)
    assert batch["active"].dtype == torch.bool and batch["active"].any()
    assert batch["y"].dtype == torch.float64
    assert fake_batch("estimate/gae")["reward"].shape == (N_OTHER, N_SAMPLES)
    assert torch.equal(fake_batch(Sound)["y"], batch["y"].float())


def wrong_role(self, x: Float[Tensor, "*batch"]):
    return {"los": x}


def reduced(self, x: Float[Tensor, "*batch"]):
    return {"loss": x.mean()}


def infinite(self, x: Float[Tensor, "*batch"]):
    return {"loss": x / 0}


def centred(self, x: Float[Tensor, "*batch"]):
    return {"loss": (x - x.mean()).square()}


def by_place(self, x: Float[Tensor, "*batch"]):
    return {"loss": x * torch.arange(len(x))}


def detached(self, x: Float[Tensor, "*batch"]):
    return {"loss": x.detach() / 2}


def flat(self, x: Float[Tensor, "*batch"]):
    return {"loss": x * 0}


def in_place(self, x: Float[Tensor, "*batch"]):
    result = x / 2
    x.data.mul_(2)
    return {"loss": result}


def single(self, x: Float[Tensor, "*batch"]):
    return {"loss": x.float()}


def bare(self, x: Tensor):
    return {"loss": x / 2}


def failing(self, x: Float[Tensor, "*batch"]):
    return {"loss": x @ torch.ones(7)}


def number(self, x: Float[Tensor, "*batch"]):
    return {"loss": 1.0}


@pytest.mark.parametrize(
    ("compute", "problem"),
    [
        (wrong_role, r"compute returns \['los'\], but the table writes \['loss'\]"),
        (reduced, r"output 'loss' has shape \[\], not one number per sample \[5\]; leave the mean to the phase"),
        (infinite, "loss 'loss' is not finite"),
        (centred, "output 'loss' of a sample depends on other samples"),
        (by_place, "output 'loss' of a sample depends on other samples"),
        (detached, "loss 'loss' sends no gradient"),
        (flat, "gradient of loss 'loss' is 0 for every input"),
        (in_place, "compute changes its input 'x' in place"),
        (single, "output 'loss' is torch.float32 where the inputs are torch.float64"),
        (bare, "role 'x' has no shape; annotate it"),
        (failing, r"compute failed on x \[5\]: RuntimeError"),
        (number, "output 'loss' is a float, not a tensor"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_notices_a_broken_compute(compute, problem):
    with pytest.raises(AssertionError, match=f"^Broken: .*{problem}") as caught:
        check_component(broken(compute))
    assert "\n" not in str(caught.value)


def test_per_sample_can_be_declined():
    check_component(broken(centred), per_sample=False)


def test_a_weight_is_checked_sample_by_sample():
    def compute(self, x: Float[Tensor, "*batch"]):
        return {"loss": x - x.mean()}

    cls = broken(compute, writes={"loss": "agent.y"})
    check_component(cls)  # an estimate may look at the whole batch
    with pytest.raises(AssertionError, match="depends on other samples"):
        check_component(cls, per_sample=True)
    cls.__module__ = "vendor.weight.centred"
    with pytest.raises(AssertionError, match="depends on other samples"):
        check_component(cls)


def test_notices_state_that_state_dict_forgets():
    def compute(self, x: Float[Tensor, "*batch"]):
        self.count = getattr(self, "count", 0) + 1
        return {"loss": x * self.count}

    with pytest.raises(AssertionError, match="output 'loss' is another one after a state_dict round trip"):
        check_component(broken(compute))


def test_notices_an_argument_that_is_not_kept():
    def init(self, *, scale: float = 1.0) -> None:
        Component.__init__(self)
        self.factor = scale

    doc = "Halves.\n\n y = x / 2\n\n Args:\n     scale: weight.\n Source: made up.\n Differs: nothing."
    with pytest.raises(AssertionError, match=r"argument 'scale' is not kept as self.scale"):
        check_component(broken(Simple.compute, __init__=init, __doc__=doc))


@pytest.mark.parametrize(
    ("doc", "problem"),
    [
        (None, "no docstring"),
        ("Halves.", "one summary line, then an empty one"),
        ("Halves\nit.\n\ny = x / 2\n\nSource: a.\nDiffers: b.", "one summary line, then an empty one"),
        ("Halves.\n\nSource: a.\nDiffers: b.", "second paragraph is no formula"),
        ("Halves.\n\nIt halves things\n\nSource: a.\nDiffers: b.", "second paragraph is no formula"),
        ("Halves.\n\ny = x / 2\n\nDiffers: b.", "no line that starts with 'Source:'"),
        ("Halves.\n\ny = x / 2\n\nSource: a.", "no line that starts with 'Differs:'"),
        ("Halves.\n\ny = x / 2\n\nDiffers: b.\nSource: a.", "in another order"),
    ],
)
def test_notices_a_broken_docstring(doc, problem):
    with pytest.raises(AssertionError, match=problem):
        check_component(broken(Simple.compute, __doc__=doc))


def test_notices_an_argument_without_an_explanation():
    doc = Sound.__doc__.replace("        scale: weight [1].\n", "")
    with pytest.raises(AssertionError, match="Args do not explain 'scale'"):
        check_component(type("Broken", (Component,), {**vars(Sound), "__doc__": doc}))
    doc = Sound.__doc__.replace("Args:", "Arguments:")
    with pytest.raises(AssertionError, match="no line that starts with 'Args:'"):
        check_component(type("Broken", (Component,), {**vars(Sound), "__doc__": doc}))


def test_a_called_network_is_given_as_a_function():
    def compute(self, x: Float[Tensor, "*batch"], q):
        return {"loss": q(x)["q"]}

    cls = broken(compute, calls={"q": "q.min"})
    check_component(cls, given={"q": lambda x: {"q": x.square()}})
    with pytest.raises(AssertionError, match="calls 'q'; give a function for it"):
        check_component(cls)


def test_given_values_replace_made_up_ones():
    def compute(self, x: Float[Tensor, "*batch"]):
        return {"loss": x.log()}

    with pytest.raises(AssertionError, match="not finite"):
        check_component(broken(compute))
    check_component(broken(compute), given={"x": torch.arange(1.0, 6.0)})
    with pytest.raises(AssertionError, match="no role 'z'"):
        check_component(Simple, given={"z": torch.ones(5)})


def test_refuses_what_is_no_component():
    with pytest.raises(AssertionError, match="net/state_value is no component"):
        check_component("net/state_value")


PROGRAM = """
import sys
import torch
from hetrl import catalog
from hetrl.testing import fake_batch

for name in sys.argv[1:]:
    batch, results = fake_batch(name), []
    for compiled in (False, True):
        function = catalog.component(name).compute  # anew: some keep a state
        assert not hasattr(function, "__wrapped__"), "the shape checks are on"
        function = torch.compile(function, fullgraph=True) if compiled else function
        leaves = {role: value.clone().requires_grad_(value.is_floating_point()) for role, value in batch.items()}
        out = function(**leaves)
        live = [value for value in out.values() if value.requires_grad]
        wanted = [value for value in leaves.values() if value.requires_grad]
        total = sum(value.sum() for value in live)
        grads = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True) if live else ()
        results.append([*out.values(), *grads])
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-7)
    print(name)
"""


@pytest.mark.slow
def test_losses_and_weights_compile_to_one_graph():
    """In a process of its own: the run-time shape checks of these tests would break the graph."""
    names = [*catalog.names("loss"), *catalog.names("weight")]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names
