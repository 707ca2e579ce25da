"""The check of networks notices what breaks the contract of a mode, in one line."""

from typing import Annotated

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hetrl.arguments import SCHEDULABLE, Count
from hetrl.errors import RecipeError
from hetrl.network import Network, Policy, mode
from hetrl.team import Discrete
from hetrl.testing import check_net

TABLE = {"reads": {"state": "state"}, "writes": {"value": "value"}}


class Sound(Network):
    """A value.

    Args:
        size: of its layer.
    """

    def __init__(self, agent, team, *, size: Count = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(team.state_size, size), nn.Tanh(), nn.Linear(size, 1))
        self.register_buffer("mean", torch.zeros(1))

    @mode(**TABLE)
    def value(self, state: Float[Tensor, "*batch size"]) -> dict[str, Tensor]:
        return {"value": self.body(state).squeeze(-1)}


def broken(function, **options):
    """Return ``Sound`` with another mode, under the name Broken."""
    return type("Broken", (Sound,), {"__doc__": Sound.__doc__, "value": mode(**TABLE, **options)(function)})


def one_number(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).mean()}


def one_repeated(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).mean().expand(state.shape[:-1])}


def pooled(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state - state.mean(0)).squeeze(-1)}


def by_place(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).squeeze(-1) * torch.arange(len(state))}


def pooled_and_random(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state - state.mean(0)).squeeze(-1) + torch.rand(len(state))}


def first_dim(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).flatten(1).sum(1)}


def detached(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).detach().squeeze(-1)}


def half_detached(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state.detach()).squeeze(-1)}


def learned_after_all(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).squeeze(-1)}


def single(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).squeeze(-1).float()}


def other_role(self, state: Float[Tensor, "*batch size"]):
    return {"v": self.body(state).squeeze(-1)}


def unsqueezed(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state)}


def a_tensor(self, state: Float[Tensor, "*batch size"]):
    return self.body(state).squeeze(-1)


def infinite(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).squeeze(-1) / 0}


def a_number(self, state: Float[Tensor, "*batch size"]):
    return {"value": 1.0}


def failing(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state @ torch.ones(99))}


def branching(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).squeeze(-1) if state.sum() < 1e9 else state[..., 0]}


def two_minded(self, state: Float[Tensor, "*batch size"]):
    return {"value": self.body(state).squeeze(-1) / (2 if torch.compiler.is_compiling() else 1)}


def without_a_layer(self, state: Float[Tensor, "*batch size"]):
    return {"value": state @ self.body[0].weight[0]}


def test_a_sound_network_passes():
    check_net(Sound)
    check_net(Sound, size=2)
    statistics = mode(reads={"x": "x"}, writes={"y": "y"}, learned=False)(running)
    check_net(type("Normalized", (Sound,), {"__doc__": Sound.__doc__, "normalize": statistics}))


def running(self, x: Float[Tensor, "*batch"]):
    """A mode that is not learned may take the batch into statistics."""
    with torch.no_grad():
        self.mean.copy_(0.9 * self.mean + 0.1 * x.mean())
    return {"y": x - self.mean}


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (one_number, r"output 'value' has shape \[\] for 7 rows and \[\] for 5; return one value for each row"),
        (one_repeated, "output 'value' of a row depends on the other rows of the batch, or on its place"),
        (pooled, "output 'value' of a row depends on the other rows of the batch"),
        (by_place, "output 'value' of a row depends on the other rows of the batch, or on its place"),
        (
            pooled_and_random,
            "output 'value' of a row depends on the other rows of the batch; make it of that row",
        ),
        (first_dim, r"output 'value' is another one where the rows have two dimensions|failed on rows in two dim"),
        (detached, "no gradient reaches a parameter, and the mode is said to be learned"),
        (half_detached, r"output 'value' changes with 'state' at a rate of .*; detach nothing, .*\['value.state'\]"),
        (single, "output 'value' is torch.float32 where the inputs are torch.float64"),
        (other_role, r"it returns \['v'\], but its table writes \['value'\]"),
        (
            unsqueezed,
            r"output 'value' has shape \[7, 1\] for rows of \[7\], and is one number for each row; squeeze its last",
        ),
        (a_tensor, "it returns a Tensor, not a dict; return {'value': ...}.$"),
        (infinite, "output 'value' is not finite"),
        (a_number, "output 'value' is a float, not a tensor"),
        (failing, "failed in torch.float32: RuntimeError"),
        (branching, "torch.compile makes no single graph of it: .* Branch on no tensor's value"),
        (two_minded, "output 'value' is another one when compiled"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_notices_a_broken_mode(function, problem):
    with pytest.raises(AssertionError, match=rf"^Broken: mode 'value'.*{problem}") as caught:
        check_net(broken(function))
    assert "\n" not in str(caught.value)


def test_one_number_for_each_row_where_the_annotation_says_so():
    """The key is no word of hetrl's."""

    def score(self, state: Float[Tensor, "*batch size"]) -> dict[str, Float[Tensor, "*batch"]]:
        return {"score": self.body(state)}

    def scores(self, state: Float[Tensor, "*batch size"]) -> dict[str, Float[Tensor, "*batch one"]]:
        return {"score": self.body(state)}

    one, several = (mode(reads={"state": "state"}, writes={"score": "score"})(each) for each in (score, scores))
    check_net(type("Scored", (Sound,), {"__doc__": Sound.__doc__, "scores": several}))
    with pytest.raises(AssertionError, match=r"^Scored: mode 'score': output 'score' has shape \[7, 1\] for rows of"):
        check_net(type("Scored", (Sound,), {"__doc__": Sound.__doc__, "score": one}))


def test_a_mode_that_another_one_reads_is_blamed_itself():
    """Its output is wrong, and the other mode's inputs are made of it."""
    made = mode(reads={"state": "state"}, writes={"made": "made"})(lambda self, state: self.body(state).squeeze(-1))
    reading = mode(reads={"made": "made"}, writes={"same": "same"}, learned=False)(lambda self, made: {"same": made})
    cls = type("Broken", (Sound,), {"__doc__": Sound.__doc__, "first_read": reading, "made": made})
    with pytest.raises(AssertionError, match=r"^Broken: mode 'made': it returns a Tensor, not a dict"):
        check_net(cls)


def test_a_mode_that_is_not_learned_reaches_no_parameter():
    with pytest.raises(AssertionError, match=r"mode 'value': a gradient reaches a parameter, and .* learned=False"):
        check_net(broken(learned_after_all, learned=False))


def test_a_published_stop_is_named():
    check_net(broken(half_detached), stopped=["value.state"])


def test_state_is_kept_in_buffers():
    def init(self, agent, team, *, size: Count = 4) -> None:
        Sound.__init__(self, agent, team, size=size)
        self.scale = 0.5 + torch.rand(())

    def value(self, state: Float[Tensor, "*batch size"]):
        return {"value": self.body(state).squeeze(-1) * self.scale}

    cls = type("Broken", (Sound,), {"__doc__": Sound.__doc__, "__init__": init, "value": mode(**TABLE)(value)})
    with pytest.raises(AssertionError, match="output 'value' is another one after a state_dict round trip; keep state"):
        check_net(cls)


def test_what_may_follow_a_schedule_is_kept_under_its_name():
    def init(self, agent, team, *, size: Annotated[float, SCHEDULABLE] = 4.0) -> None:
        Sound.__init__(self, agent, team, size=int(size))

    cls = type("Broken", (Sound,), {"__doc__": Sound.__doc__, "__init__": init})
    with pytest.raises(AssertionError, match=r"argument 'size' is not kept as self.size; a schedule could not replace"):
        check_net(cls)


def test_every_parameter_has_a_use():
    with pytest.raises(AssertionError, match=r"Broken: no mode's gradient reaches the parameter 'body.0.bias'; use it"):
        check_net(broken(without_a_layer))


def test_a_part_that_is_no_network_is_refused():
    with pytest.raises(AssertionError, match=r"^Linear: it is no Network, as every net/\.\.\. is\.$"):
        check_net(nn.Linear)


def test_arguments_are_explained():
    with pytest.raises(AssertionError, match=r"Bare: the docstring has no line that starts with 'Args:'"):
        check_net(type("Bare", (Sound,), {"__doc__": "A value."}))


class Chooses(Policy):
    """A softmax."""

    serves = (Discrete,)

    def __init__(self, agent, team) -> None:
        super().__init__()
        self.size = agent.action.choices[0]
        self.body = nn.Linear(agent.observation_size, self.size)

    @mode(reads={"observation": "agent.observation"}, writes={"distribution": "agent.distribution"})
    def distribution(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Tensor]:
        return {"distribution": self.body(observation)}

    def noise(self, shape, generator):
        return torch.rand(*shape, self.size, generator=generator)

    def draw(self, observation, noise, action_mask=None):
        return self._best(self.body(observation) + noise, action_mask)

    def greedy(self, observation, action_mask=None):
        return self._best(self.body(observation), action_mask)

    def _best(self, score, mask):
        return (score if mask is None else score.masked_fill(~mask, -1e9)).argmax(-1, keepdim=True)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"_best": lambda self, score, mask: score.argmax(-1, keepdim=True)}, "chooses an option that action_mask rul"),
        ({"_best": lambda self, score, mask: score.argmax(-1)}, r"draw\(\) gives \[6\], not an action for each row, "),
        ({"_best": lambda self, score, mask: score[..., :1]}, r"draw\(\) gives torch.float32 where the action is dis"),
        ({"_best": lambda self, score, mask: score.argmax(-1, keepdim=True).sort(0)[0]}, "depends on the other rows"),
        ({"noise": lambda self, shape, generator: torch.zeros(*shape, self.size)}, r"noise\(\) is the same at every"),
        ({"noise": lambda self, shape, generator: torch.rand(self.size)}, r"noise\(\(6,\)\) has shape \[3\], not rows"),
        ({"greedy": lambda self, seen, mask=None: self._best(self.body(seen), mask) if seen.sum() else None},
         r"acting failed in one batched call \(torch.vmap over the agents' weights\)"),
    ],
)  # fmt: skip
def test_notices_what_cannot_act(changed, problem):
    check_net(Chooses) if "_best" not in changed else None
    with pytest.raises(AssertionError, match=problem) as caught:
        check_net(type("Broken", (Chooses,), {"__doc__": Chooses.__doc__, **changed}))
    assert "\n" not in str(caught.value)


class Steers(Policy):
    """It wants bounds, and does not keep to them."""

    def __init__(self, agent, team) -> None:
        super().__init__()
        if not agent.action.bounded:
            raise RecipeError("no bounds.")
        self.size, self.body = agent.action.size, nn.Linear(agent.observation_size, agent.action.size)

    @mode(reads={"observation": "agent.observation"}, writes={"proposal": "agent.proposal"})
    def act(self, observation: Float[Tensor, "*batch seen"]) -> dict[str, Tensor]:
        return {"proposal": self.body(observation)}

    def noise(self, shape, generator):
        return torch.rand(*shape, self.size, generator=generator)

    def draw(self, observation, noise, action_mask=None):
        return self.body(observation) + 3 * noise

    def greedy(self, observation, action_mask=None):
        return self.body(observation).tanh()


def test_notices_actions_beyond_the_bounds():
    with pytest.raises(
        AssertionError, match=r"^Steers: draw\(\) gives actions beyond the bounds, and it asks for bounds"
    ):
        check_net(Steers)


class Remembers(Network):
    """It forgets to start its chunks from the stored memory."""

    chunk, memory = 2, 3

    def __init__(self, agent, team) -> None:
        super().__init__()
        self.body = nn.Linear(team.state_size, 3)

    @classmethod
    def chunk_of(cls, values):
        return 2

    def remember(self, seen, memory):
        return self.body(seen) + memory

    @mode(reads={"state": "state", "memory": "memory", "is_init": "is_init"}, writes={"value": "value"})
    def value(
        self, state: Float[Tensor, "time *batch size"], memory: Float[Tensor, "time *batch units"], is_init: Tensor
    ) -> dict[str, Tensor]:
        return {"value": (self.body(state).cumsum(0) + memory).sum(-1)}


def test_notices_chunks_that_depend_on_each_other():
    with pytest.raises(AssertionError, match=r"output 'value' of a chunk of steps depends on the chunk before; start"):
        check_net(Remembers)
    with pytest.raises(AssertionError, match=r"chunk_of\(\) says 3, and the network has chunk = 2"):
        check_net(type("Broken", (Remembers,), {"__doc__": "Wrong.", "chunk_of": classmethod(lambda cls, values: 3)}))
