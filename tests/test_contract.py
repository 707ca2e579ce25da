"""Every entry of the catalog keeps the contract of its kind, and the check of components notices what breaks it.

That the checks of the other kinds do stands in ``tests/testing``.
"""

import importlib.util
import subprocess
import sys
from typing import Annotated

import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hetrl import catalog
from hetrl.arguments import SCHEDULABLE, NonNegative, Share
from hetrl.component import Component
from hetrl.encoder import Encoding
from hetrl.net.convolutional import Convolutional
from hetrl.team import Agent, Box, Discrete, Listing, Team
from hetrl.testing import (
    N_OTHER,
    N_SAMPLES,
    check_component,
    check_data,
    check_env,
    check_net,
    check_optim,
    check_order,
    fake_batch,
)


def joint_value(state, action):
    """Return a made-up joint value, for what calls a network."""
    return {"q": -(torch.cat(action, -1) - state.sum(-1, keepdim=True)).square().sum(-1)}


COMPONENTS = [name for name in catalog.BUILT_IN if issubclass(catalog.resolve(name), Component)]
VARIANTS = [
    ("order/fixed", {"order": [2, 0, 1]}),
    ("estimate/gae", {"gamma": 0.9, "lmbda": 0.5, "truncation": "discard"}),
    ("estimate/standardize", {"eps": 1e-3}),
    ("estimate/corrected_gae", {"gamma": 0.9, "lmbda": 0.5, "cap": 2.0}),
    ("estimate/td_lambda_target", {"gamma": 0.9, "lmbda": 1.0}),
    ("loss/clipped_surrogate", {"clip": 0.1}),
    ("loss/entropy_bonus", {"coef": 0.5}),
    ("loss/huber_value", {"delta": None, "clip": None, "coef": 0.5}),
    ("loss/huber_value", {"delta": 0.5, "clip": 0.2}),
    ("loss/td", {"delta": 0.5, "coef": 0.5}),
]


@pytest.mark.parametrize("name", COMPONENTS)
def test_keeps_the_contract(name):
    check_component(name, given=dict.fromkeys(catalog.resolve(name).calls, joint_value))


def test_every_row_of_these_kinds_is_checked():
    kinds = [name for name in catalog.BUILT_IN if name.split("/")[0] in ("order", "estimate", "weight", "loss")]
    assert sorted(kinds) == sorted(COMPONENTS)


CHECKS = {"net": check_net, "optim": check_optim, "order": check_order, "data": check_data, "env": check_env}
LISTING = Team(
    tuple(
        Agent(name, "agents", place, 9, Discrete((3,)), "agents", listings=(Listing("units", 2, 3, 2),))
        for place, name in enumerate(("one", "two"))
    ),
    state_size=18,
)
EYES = Team.of(["one", "two"], [(6, 5, 3), (6, 5, 3)], [Box((-1.0, -2.0), (1.0, 0.5))] * 2, dtypes=[torch.uint8] * 2)
CHOOSERS = Team.of(["one", "two"], [(6, 5), 4], [Discrete((3,)), Discrete((3,))])
SMALL_EYE = {"filters": [4, 4], "kernels": [3, 2], "strides": [2, 1], "size": 8}
EYE = Encoding(Convolutional, SMALL_EYE)
BESIDE = {"hidden": [8], "encoder": EYE, "team": EYES}
SMALL = {
    "net/convolutional": [{"team": EYES, **SMALL_EYE}, {"team": CHOOSERS, **SMALL_EYE}],
    "net/entities": [{"own": 2, "entity": 1, "hidden": [8], "size": 8, "heads": 2},
                     {"own": 0, "entity": 2, "team": Team.of(["one"], [4], [Discrete((3,))]), "size": 8},
                     {"own": 2, "entity": 1, "size": 8, "pool": "mean"}],
    "net/units": [{"team": LISTING, "size": 8, "heads": 2}, {"team": LISTING, "size": 4, "layers": 2, "each": 0}],
    "net/squashed_gaussian_policy": [{"hidden": [8]}, BESIDE],
    "net/deterministic_policy": [{"hidden": [8]}, BESIDE],
    "net/categorical_policy": [{"hidden": [8]}, {**BESIDE, "team": CHOOSERS}],
    "net/diffusion_policy": [{"n_steps": 2, "hidden": [8]}],
    "net/chain_policy": [{"n_steps": 2, "hidden": [8]}, {"hidden": [], "n_steps": 1}, BESIDE],
    "net/joint_q": [{"hidden": [8], "normalize": True}, {**BESIDE, "team": CHOOSERS}],
    "net/attention_q": [{"hidden": [8], "entry": [8], "size": 4, "heads": 2, "normalize": True},
                        {**BESIDE, "team": CHOOSERS, "size": 4, "heads": 0}],
    "net/state_value": [{"hidden": [8]}, {"hidden": [8], "normalize": True}, BESIDE],
    "net/local_value": [{"hidden": [8]}, {"hidden": [8], "normalize": True}, {**BESIDE, "team": CHOOSERS}],
    "net/local_q": [{"hidden": [8]}, {**BESIDE, "team": CHOOSERS}],
    "net/recurrent_policy": [{"hidden": [8], "memory": 5, "chunk": 3}, {**BESIDE, "memory": 5, "chunk": 3}],
    "net/recurrent_value": [{"hidden": [8], "memory": 5, "chunk": 3}, {**BESIDE, "memory": 5, "chunk": 3}],
    "net/temperature": [{}, {"fixed": True}],
    "net/gaussian_policy": [{"hidden": [8]}, {"hidden": [8], "std": "state_dependent", "std_map": "sigmoid",
                                              "initial_std": 0.3}, BESIDE],
    "net/mixed_policy": [{"hidden": [8], "continuous": "squashed_gaussian"}, {**BESIDE, "team": CHOOSERS}],
    "optim/adam": [{}, {"max_grad_norm": 1.0, "weight_decay": 0.1}],
    "optim/trust_region": [{}, {"inactive": "count"}],
    "order/fixed": [{}, {"order": [1, 2, 0]}],
    "data/on_policy": [{"frames": 24}],
    "data/replay": [{"capacity": 100, "batch": 5, "warmup": 10, "n_step": 2},
                    {"capacity": 24, "batch": 5, "warmup": 0, "frames": 8, "updates": 3}],
    "env/matrix_game": [{"payoff": "penalty"}, {"payoff": "penalty", "horizon": 3, "reward": "per_agent"}],
    "env/tabular_game": [{"horizon": 5}],
    "env/cue_game": [{"leave": 0.2, "delay": 2, "continuous_agents": 1}],
    "env/battle": [{}, {"map": "2s3z", "enemy": "random", "horizon": 5, "state": "original"},
                   {"map": "smacv2_5_units", "reward": "per_agent", "horizon": 5, "state": "observations"},
                   {"map": "5m2d_vs_8m", "traits": {"marine_0": {"speed": 0.5}}, "horizon": 5}],
    "env/vmas": [{"scenario": "balance", "n_agents": 2, "horizon": 5},
                 {"scenario": "balance", "n_agents": 2, "horizon": 5, "actions": "discrete"}],
    "env/mamujoco": [{"robot": "Ant", "parts": "4x2", "horizon": 5}],
    "env/pettingzoo": [{"name": "simple_spread_v3", "horizon": 5}],
    "env/football_academy": [{"horizon": 5}, {"n_agents": 3, "checkpoints": False, "horizon": 5}],
}  # fmt: skip
"""Arguments, where the defaults are large or there are none; other nets have one hidden layer of 8."""
BUILT_BY_HAND = {"env/football_academy": "gfootball_engine"}
"""What no extra brings, as it is built from source; ``tests/env/test_football_academy.py`` has a stand-in."""
ALONE = ("net/diffusion_policy",)
"""Checked in a process of their own: the shape checks of these tests would break the graph of a nested function."""
ROWS = [
    (name, values)
    for name in catalog.BUILT_IN
    if name.split("/")[0] in CHECKS
    for values in SMALL.get(name, [{"hidden": [8]} if name.startswith("net/") else {}])
]


@pytest.mark.parametrize(("name", "values"), ROWS, ids=[f"{name}-{place}" for place, (name, _) in enumerate(ROWS)])
def test_keeps_the_contract_of_its_kind(name, values):
    if name in BUILT_BY_HAND and importlib.util.find_spec(BUILT_BY_HAND[name]) is None:
        pytest.skip(f"{BUILT_BY_HAND[name]} is not installed; it is built from source")
    if name in ALONE:
        program = f"from hetrl.testing import check_net; check_net({name!r}, **{values!r})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    else:
        CHECKS[name.split("/")[0]](name, **values)


def test_every_row_is_checked():
    assert {name for name, _ in ROWS} | set(COMPONENTS) == set(catalog.BUILT_IN)


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
        extra = 0.0 if each is None else each.mean((0, -1))
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


# --------------------------------------------------------------------------- one broken component for each property


def with_init(init, compute=None, doc="    scale: weight [1].", **changed):
    """Return a component with that constructor, whose argument is explained."""
    doc = f"Halves.\n\n y = x / 2\n\nArgs:\n{doc}\nSource: made up.\nDiffers: nothing."
    return broken(compute or Simple.compute, __init__=init, __doc__=doc, **changed)


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


def fixed_dim(self, x: Float[Tensor, "*batch several"]):
    return {"loss": x.square().sum(1)}


def fixed_size(self, x: Float[Tensor, "*batch"]):
    return {"loss": x * torch.ones(len(x), dtype=x.dtype)}


def detached(self, x: Float[Tensor, "*batch"]):
    return {"loss": x.detach() / 2}


def flat(self, x: Float[Tensor, "*batch"]):
    return {"loss": x * 0}


def half_detached(self, x: Float[Tensor, "*batch"]):
    return {"loss": x * x.detach()}


def to_others(self, x: Float[Tensor, "*batch"]):
    return {"loss": x / 2 + x.mean() - x.mean().detach()}


def steep(self, x: Float[Tensor, "*batch"]):
    return {"loss": (x - x.detach()).abs().sqrt() + x}


def in_place(self, x: Float[Tensor, "*batch"]):
    result = x / 2
    x.data.mul_(2)
    return {"loss": result}


def backward(self, x: Float[Tensor, "*batch"]):
    if x.requires_grad:
        x.sum().backward()
    return {"loss": x / 2}


def single(self, x: Float[Tensor, "*batch"]):
    return {"loss": x.float()}


def rounded(self, x: Float[Tensor, "*batch"]):
    return {"loss": x + 1e8 - 1e8}


def bare(self, x: Tensor):
    return {"loss": x / 2}


def failing(self, x: Float[Tensor, "*batch"]):
    return {"loss": x @ torch.ones(7)}


def number(self, x: Float[Tensor, "*batch"]):
    return {"loss": 1.0}


def kept(self, x: Float[Tensor, "*batch"]):
    self.first = getattr(self, "first", x.detach().sign())
    return {"loss": x / 2 + self.first}


def branching(self, x: Float[Tensor, "*batch"]):
    return {"loss": x / 2 if x.sum() < 1e9 else x}


def two_minded(self, x: Float[Tensor, "*batch"]):
    return {"loss": x / 2 if torch.compiler.is_compiling() else x / 3}


def other_gradient(self, x: Float[Tensor, "*batch"]):
    return {"loss": (x.detach() if torch.compiler.is_compiling() else x) / 2 + x - x}


@pytest.mark.parametrize(
    ("compute", "problem"),
    [
        (wrong_role, r"compute returns \['los'\], but the table writes \['loss'\]"),
        (reduced, r"output 'loss' has shape \[\], not one number per sample \[5\]; leave the mean to the phase"),
        (infinite, "loss 'loss' is not finite"),
        (centred, "output 'loss' of a sample depends on other samples"),
        (by_place, "output 'loss' of a sample depends on other samples"),
        (fixed_dim, "output 'loss' is another one where the batch has two dimensions, as agents that share a net"),
        (fixed_size, r"compute failed on x \[5, 2\] \(a batch of two dimensions, .*\): RuntimeError"),
        (detached, "loss 'loss' sends no gradient"),
        (flat, "gradient of loss 'loss' is 0 for every input"),
        (half_detached, "loss 'loss' changes with 'x' at a rate of .*, and its gradient says .*; detach nothing"),
        (to_others, "loss 'loss' changes with 'x' at a rate of .*, and its gradient says .*; detach nothing"),
        (steep, "the gradient of loss 'loss' is not finite"),
        (in_place, "compute changes its input 'x' in place"),
        (backward, "compute puts a gradient into its input 'x'; leave that to the phase"),
        (single, "output 'loss' is torch.float32 where the inputs are torch.float64"),
        (rounded, "output 'loss' in float32 is not that in float64"),
        (bare, "role 'x' has no shape; annotate it"),
        (failing, r"compute failed on x \[5\]: RuntimeError"),
        (number, "output 'loss' is a float, not a tensor"),
        (kept, "output 'loss' is another one wired to agent 'somebody_else'"),
        (
            branching,
            "torch.compile makes no single graph of compute: .* Branch on no tensor's value, and call no",
        ),
        (two_minded, "output 'loss' is another one when compiled"),
        (other_gradient, "its gradients are others when compiled"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_notices_a_broken_compute(compute, problem):
    with pytest.raises(AssertionError, match=f"^Broken: .*{problem}") as caught:
        check_component(broken(compute))
    assert "\n" not in str(caught.value)


def test_notices_what_does_not_build_from_its_defaults():
    def needs(self, *, scale: float) -> None:
        Component.__init__(self)
        self.scale = scale

    with pytest.raises(AssertionError, match=r"does not build from its defaults: .* 'scale'. Give every argument a d"):
        check_component(with_init(needs))
    check_component(with_init(needs), scale=1.0)
    with pytest.raises(AssertionError, match=r"does not build with {'scale': 'much'}: "):
        check_component(with_init(needs), scale="much")


def test_notices_an_output_that_is_not_finite():
    def compute(self, x: Float[Tensor, "*batch"]):
        return {"y": x / 0}

    with pytest.raises(AssertionError, match="output 'y' is not finite"):
        check_component(broken(compute, writes={"y": "agent.y"}))


def test_notices_an_estimate_that_knows_the_order_of_samples():
    def compute(self, x: Float[Tensor, "*batch"]):
        return {"y": x - x[0]}

    cls = broken(compute, writes={"y": "agent.y"})
    with pytest.raises(AssertionError, match="output 'y' does not follow when the batch is put into another order"):
        check_component(cls)
    check_component(cls, permutes=False)


def test_notices_parameters_and_state_with_a_graph():
    def owns(self, *, scale: float = 1.0) -> None:
        Component.__init__(self)
        self.scale, self.layer = scale, torch.nn.Linear(1, 1)

    with pytest.raises(AssertionError, match=r"owns the parameter 'layer.weight'; a network is a step of the recipe"):
        check_component(with_init(owns))

    def remembers(self, *, scale: float = 1.0) -> None:
        Component.__init__(self)
        self.scale = scale
        self.register_buffer("mean", torch.zeros(()))

    def compute(self, x: Float[Tensor, "*batch"]):
        self.mean = x.mean()
        return {"loss": x / 2}

    with pytest.raises(AssertionError, match="its state 'mean' keeps a gradient's graph"):
        check_component(with_init(remembers, compute))


def test_a_published_stop_is_named():
    check_component(broken(half_detached), stopped=["x"])
    with pytest.raises(AssertionError, match="no role 'z' to stop a gradient at"):
        check_component(Simple, stopped=["z"])


def test_notices_an_optional_role_that_is_needed():
    def compute(self, x: Float[Tensor, "*batch"], y: Float[Tensor, "*batch"] | None = None):
        return {"loss": x * y}

    with pytest.raises(AssertionError, match=r"compute failed on x \[5\] \(its optional y left out\): TypeError"):
        check_component(broken(compute, reads={"x": "agent.x", "y": "agent.y"}))


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


@pytest.mark.parametrize("state", [Simple, lambda: None], ids=["code", "unpicklable"])
def test_notices_state_that_cannot_be_loaded_safely(state):
    changed = {"get_extra_state": lambda self: state, "set_extra_state": lambda self, state: None}
    with pytest.raises(AssertionError, match=r"its state_dict does not load again: .* Keep tensors and plain values"):
        check_component(broken(Simple.compute, **changed))


def test_notices_a_wiring_of_its_own():
    def forward(self, tensordict):
        return tensordict.set(("agent_0", "loss"), tensordict["agent_0", "x"] / 2)

    changed = {"forward": forward, "writes": {"loss": "agent.loss"}}
    with pytest.raises(AssertionError, match="it fails on a TensorDict: KeyError"):
        check_component(broken(Simple.compute, **changed))
    changed["forward"] = lambda self, tensordict: tensordict.set(("agent_0", "loss"), tensordict[self.in_keys[0]] / 2)
    with pytest.raises(AssertionError, match=r"wired to agent 'somebody_else' it does not write 'somebody_else.loss'"):
        check_component(broken(Simple.compute, **changed))


def test_notices_an_argument_that_is_not_kept():
    def init(self, *, scale: float = 1.0) -> None:
        Component.__init__(self)
        self.factor = scale

    with pytest.raises(AssertionError, match=r"argument 'scale' is not kept as self.scale"):
        check_component(with_init(init))


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_notices_a_schedule_that_would_change_nothing(start):
    def init(self, *, scale: Annotated[Share if start else NonNegative, SCHEDULABLE] = start) -> None:
        Component.__init__(self)
        self.scale, self._limit = scale, 1 + scale

    def derived(self, x: Float[Tensor, "*batch"]):
        return {"loss": x * self._limit}

    def direct(self, x: Float[Tensor, "*batch"]):
        return {"loss": x * (1 + self.scale)}

    check_component(with_init(init, direct))
    with pytest.raises(
        AssertionError, match=r"'loss' is another one where a schedule sets self\.scale than where it is"
    ):
        check_component(with_init(init, derived))


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
        ("Halves.\n\ny = x / 2\n\nSource: a.\nDiffers: b.\nRaises: c.", "in another order"),
        ("Halves.\n\ny = x / 2\n\nSource:\n\nDiffers: b.", "'Source:' is empty"),
        ("Halves.\n\ny = x / 2\n\nSource: a.\nDiffers:", "'Differs:' is empty"),
        (
            "Halves.\n\ny = x / 2\n\nSource: FILL IN authors.\nDiffers: b.",
            "a place to fill in: 'Source: FILL IN authors.'",
        ),
    ],
)
def test_notices_a_broken_docstring(doc, problem):
    with pytest.raises(AssertionError, match=problem):
        check_component(broken(Simple.compute, __doc__=doc))


def test_notices_an_argument_without_an_explanation():
    def init(self, *, scale: float = 1.0) -> None:
        Component.__init__(self)
        self.scale = scale

    check_component(with_init(init))
    with pytest.raises(AssertionError, match="Args do not explain 'scale'"):
        check_component(with_init(init, doc="    size: weight [1]."))
    cls = with_init(init)
    cls.__doc__ = cls.__doc__.replace("Args:", "Arguments:")
    with pytest.raises(AssertionError, match="no line that starts with 'Args:'"):
        check_component(cls)


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
    given = torch.arange(1.0, 6.0, dtype=torch.float64)
    check_component(broken(compute), given={"x": given})
    assert given.tolist() == [1, 2, 3, 4, 5] and not given.requires_grad  # it stays the caller's
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
