"""Work that is recorded and played: what comes of it, and of what else it moves, is what the function gives."""

from contextlib import contextmanager

import pytest
import torch

from hetrl import graph
from hetrl.env.capture.alternating import Alternating
from hetrl.testing.tape import Tape
from hetrl.testing.tape import _Scribe as Scribe
from hetrl.testing.tape import _tensors as tensors


@pytest.fixture(params=[graph.Called, Tape])
def recorder(request, monkeypatch):
    """Record on the CPU, in either way."""
    monkeypatch.setitem(graph.RECORDERS, "cpu", request.param)
    return request.param


@pytest.fixture
def taped(monkeypatch):
    """Record on the CPU as a GPU does."""
    monkeypatch.setitem(graph.RECORDERS, "cpu", Tape)


@pytest.mark.parametrize(
    ("word", "device", "expected"),
    [("auto", "cuda", True), ("auto", "cpu", False), (True, "cpu", True), (False, "cuda", False)],
)
def test_when_work_is_played(word, device, expected):
    assert graph.plays(word, torch.device(device)) is expected


class Walk:
    """A function that draws, differentiates, and writes to its own state; and what it does without a recording."""

    def __init__(self):
        self.weight = torch.randn(3, 3, requires_grad=True)
        self.count = torch.zeros(2)
        self.generator = torch.Generator().manual_seed(1)

    def state(self):
        return [self.weight, self.count]

    def __call__(self, given):
        (x,) = given
        noise = torch.randn(x.shape[0], 3, generator=self.generator) + torch.rand(3)
        loss = (torch.relu(x @ self.weight) + noise).square().mean()
        (gradient,) = torch.autograd.grad(loss, [self.weight])
        self.count.add_(1)
        return [loss.detach(), gradient, x.view(-1)[:2] * self.count]

    def played(self):
        return graph.Played(self, self.state, "a walk", [self.generator])


def two_walks():
    torch.manual_seed(3)
    first = Walk()
    torch.manual_seed(3)
    return first, Walk()


def test_what_is_played_is_what_is_called(recorder):
    plain, walk = two_walks()
    played, batches = walk.played(), [torch.randn(size, 3) for size in (4, 4, 5, 4, 5)]
    torch.manual_seed(7)
    expected = [plain([batch]) for batch in batches]
    torch.manual_seed(7)
    for batch, those in zip(batches, expected, strict=True):
        assert all(map(torch.equal, played([batch]), those))
    assert torch.equal(walk.count, plain.count) and played.refused is None
    assert torch.equal(walk.generator.get_state(), plain.generator.get_state())


def test_python_is_left_out(taped):
    calls = []

    def double(given):
        calls.append(1)
        return [2 * given[0]]

    played = graph.Played(double, list, "doubling")
    for number in range(5):
        assert played([torch.tensor([float(number)])])[0].item() == 2 * number
    assert len(calls) == 3  # as it is, before the recording, and recorded


def test_results_are_in_their_places_until_the_next_call(recorder):
    played = graph.Played(lambda given: [given[0] + 1], list, "adding")
    first = played([torch.zeros(2)])[0]
    second = played([torch.ones(2)])[0]
    assert first is second and first.tolist() == [2, 2]


def test_recorded_anew_where_the_state_has_moved(taped):
    held = {"weight": torch.ones(2)}
    played = graph.Played(lambda given: [given[0] * held["weight"]], lambda: list(held.values()), "scaling")
    assert played([torch.ones(2)])[0].tolist() == [1, 1]
    held["weight"].fill_(3)
    assert played([torch.ones(2)])[0].tolist() == [3, 3]
    held["weight"] = torch.full((2,), 5.0)
    assert played([torch.ones(2)])[0].tolist() == [5, 5]


def asks(given):
    return [given[0] if given[0].sum() > 0 else -given[0]]


def picks(given):
    return [given[0][given[0] > 0]]


class Counts:
    """Counts on the host, which a recording does not see."""

    def __init__(self):
        self.number = 0

    def __call__(self, given):
        self.number += 1
        return [given[0] * self.number]


class Swaps:
    """Puts another tensor in the place of its own."""

    def __init__(self):
        self.held = torch.zeros(2)

    def __call__(self, given):
        self.held = self.held + given[0]
        return [self.held * 1]


SWAPS = Swaps()
REFUSED = {
    "_local_scalar_dense waits for the device while it is recorded": (asks, list),
    "index waits for the device while it is recorded": (picks, list),
    "played, it differs by 2.0e+00": (Counts(), list),
    "it puts other tensors in the place of its own": (SWAPS, lambda: [SWAPS.held]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_played_runs_as_it_is_and_says_why(taped, reason):
    function, state = REFUSED[reason]
    played = graph.Played(function, state, "run.graphs: update.actors")
    with pytest.warns(UserWarning) as said:
        played([torch.ones(2)])
    assert str(said[0].message) == f"run.graphs: update.actors runs operation by operation: {reason}."
    assert played.refused == reason and played([torch.full((2,), 3.0)])[0].shape == (2,)


def test_a_refused_call_moves_everything_on_by_one(taped):
    counted, generator = torch.zeros(2), torch.Generator().manual_seed(0)

    def step(given):
        counted.add_(1)
        return [torch.randn(2, generator=generator) if given[0].sum() > 0 else given[0]]

    expected = [torch.randn(2, generator=torch.Generator().manual_seed(0))]
    played = graph.Played(step, lambda: [counted], "a step", [generator])
    with pytest.warns(UserWarning, match="a step runs operation by operation"):
        found = played([torch.ones(2)])
    assert torch.equal(found[0], expected[0]) and counted.tolist() == [1, 1]


def test_a_difference_is_a_part_of_the_largest():
    assert graph.difference([torch.tensor([1.0, 100.0])], [torch.tensor([1.0, 101.0])]) == pytest.approx(1 / 101)
    assert graph.difference([torch.tensor([torch.nan, 1.0])], [torch.tensor([torch.nan, 1.0])]) == 0
    assert graph.difference([torch.tensor([torch.nan])], [torch.tensor([1.0])]) == torch.inf
    assert graph.difference([torch.zeros(0), torch.tensor(True)], [torch.zeros(0), torch.tensor(False)]) > 1


# ----- two sets of places


def turn(given):
    """Return the next state of two numbers, which trade places, and what they are told."""
    push, a, b = given
    return [a + b, b * 0.5 + push, a - 1]


def test_two_sets_take_turns(recorder):
    a, b = torch.randn(2, 3)
    sets = Alternating(turn, [torch.zeros(3), a, b], {1: 1, 2: 2})
    mine, theirs = [a, b], [a.clone(), b.clone()]
    for number in range(7):
        push = torch.full((3,), float(number))
        told, *mine = sets([push, *mine])
        sets.taken()
        expected, *theirs = turn([push, *theirs])
        assert torch.equal(told, expected) and all(map(torch.equal, mine, theirs))
        if number == 3:  # a reset
            mine[0] = theirs[0] = torch.ones(3)
        if number == 4:  # two tensors change places
            mine.reverse()
            theirs.reverse()


def test_what_is_not_taken_leaves_the_inputs_alone(recorder):
    state = list(torch.randn(2, 3))
    sets = Alternating(turn, [torch.zeros(3), *state], {1: 1, 2: 2})
    _, *state = sets([torch.zeros(3), *state])
    sets.taken()
    before = [value.clone() for value in state]
    sets([torch.full((3,), 9.0), *state])
    assert all(map(torch.equal, state, before))
    expected = turn([torch.zeros(3), *before])
    assert all(map(torch.equal, sets([torch.zeros(3), *state]), expected))


def test_no_copies_of_what_lies_there_already(taped, monkeypatch):
    copied = []
    copy = torch._foreach_copy_
    monkeypatch.setattr(torch, "_foreach_copy_", lambda to, source: copied.append(len(to)) or copy(to, source))
    state = list(torch.randn(2, 3))
    sets = Alternating(turn, [torch.zeros(3), *state], {1: 1, 2: 2})
    copied.clear()
    push = torch.zeros(3)
    for _ in range(3):
        _, *state = sets([push, *state])
        sets.taken()
    assert copied == [3, 1, 1]  # everything at first, then what is told from outside


# ----- the calls of CUDA, in their order


class FakeGraph:
    """A CUDA graph that is a tape; it tells what is done with it."""

    told: list[str]

    def register_generator_state(self, generator):
        self.told.append("register")

    def capture_begin(self, pool):
        self.told.append(f"begin in {pool}")
        self._writer = Scribe()
        self._writer.__enter__()

    def capture_end(self):
        self._writer.__exit__(None, None, None)
        self.told.append("end")

    def replay(self):
        for operation, args, kwargs, results in self._writer.lines:
            for place, result in zip(results, tensors(operation(*args, **kwargs)), strict=True):
                place.copy_(result)


@pytest.fixture
def cuda(monkeypatch):
    """Stand-ins for what a recording asks of torch.cuda, and what was asked, in order."""
    told = []

    class Stream:
        def __init__(self, device):
            told.append("a stream")

        def wait_stream(self, other):
            told.append("wait")

    @contextmanager
    def on(stream):
        told.append("on")
        try:
            yield
        finally:
            told.append("off")

    here = Stream(None)
    told.clear()
    fakes = {
        "Stream": Stream, "stream": on, "current_stream": lambda device: here, "graph_pool_handle": lambda: "the pool",
        "synchronize": lambda device: told.append("synchronize"),
        "CUDAGraph": type("Fake", (FakeGraph,), {"told": told}),
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(graph.CudaGraph, "_shared", {})
    return told


def test_a_cuda_graph_is_recorded_and_played(cuda):
    calls, held = [], torch.zeros(2)

    def add(given):
        calls.append(1)
        return [held.add_(given[0]) * 2]

    place, generator = torch.ones(2), torch.Generator()
    recording = graph.CudaGraph(add, [place], [generator])
    warm = ["wait", "on", "off", "synchronize"]
    assert cuda == ["a stream", *warm, "register", "on", "begin in the pool", "end", "off", "wait"] and len(calls) == 4
    held.zero_(), place.fill_(3), recording.play()
    assert recording.outputs[0].tolist() == [6, 6] and len(calls) == 4
    recording.play()
    assert recording.outputs[0].tolist() == [12, 12] and held.tolist() == [6, 6]
    cuda.clear()
    graph.CudaGraph(add, [place])
    assert "a stream" not in cuda  # one for all of a device


def test_a_recording_that_fails_ends_and_leaves_its_stream(cuda):
    def fails(given):
        if "begin in the pool" in cuda:
            raise RuntimeError("not while it is recorded")
        return given

    with pytest.raises(RuntimeError, match="not while it is recorded"):
        graph.CudaGraph(fails, [torch.ones(2)])
    assert cuda[-3:] == ["begin in the pool", "end", "off"]
