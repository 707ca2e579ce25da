"""The check of data sources notices what breaks the checker or training, in one line."""

import pytest
import torch

from hetrl.arguments import Count
from hetrl.data.collected import Source
from hetrl.data.on_policy import OnPolicy
from hetrl.testing import check_data


def collecting(change):
    """Return a collection that is changed."""

    def collect(self):
        found = OnPolicy.collect(self)
        return change(self, found) or found

    return collect


def without(key):
    def change(self, found):
        found.samples = [sample.exclude(key) for sample in found.samples]

    return collecting(change)


def turned(self, found):
    found.samples = [sample.flip(0) if hasattr(sample, "flip") else sample[torch.arange(len(sample)).flip(0)]
                     for sample in found.samples]  # fmt: skip


def one_environment(self, found):
    found.frames //= 4


def a_number(self, found):
    found.episodes = int(found.episodes)


def nothing(self, found):
    return 3


def half_a_state(self):
    return {**OnPolicy.state_dict(self), "generator": torch.Generator().manual_seed(9).get_state()}


def seedless(self, env, behaviour, reward, seed, critic=None):
    OnPolicy.attach(self, env, behaviour, reward, int(torch.randint(1000, ())), critic)


class Bare(Source):
    """A source that does not say where its samples are.

    Args:
        frames: steps per collection.
    """

    in_order = True
    provides = staticmethod(OnPolicy.provides)

    def __init__(self, *, frames: Count = 24) -> None:
        self.steps = OnPolicy(frames=frames)

    def attach(self, env, behaviour, reward, seed, critic=None):
        self.steps.attach(env, behaviour, reward, seed, critic)
        self.where = env.device

    def collect(self):
        return self.steps.collect()

    def n_collections(self, frames):
        return self.steps.n_collections(frames)

    def state_dict(self):
        return self.steps.state_dict()

    def load_state_dict(self, state):
        self.steps.load_state_dict(state)


def test_a_source_says_where_it_is():
    with pytest.raises(AssertionError, match=r"^Bare: it has no device once it is attached; set self.device in attach"):
        check_data(Bare)


def test_a_source_that_never_mentions_its_device(monkeypatch):
    def attach(self, env, behaviour, reward, seed, critic=None):
        self.steps.attach(env, behaviour, reward, seed, critic)

    monkeypatch.setattr(Bare, "attach", attach)
    with pytest.raises(AssertionError, match=r"^Bare: it has no attribute 'device'.*; set self.device in attach\(\).$"):
        check_data(Bare)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"collect": without("state")}, r"provides\(\) tells of \['state'\], and no sample has that"),
        ({"provides": staticmethod(lambda keys: list(keys))}, r"a sample has \['agent.action', .*\], and provides"),
        ({"collect": collecting(turned)}, "it is in_order, and a step does not begin where the one before has led to"),
        ({"collect": collecting(one_environment)}, r"a collection has 6 frames; count the steps of all 4 env|n_coll"),
        ({"collect": collecting(a_number)}, "episodes of a collection is no 0-d tensor; a number would wait for the"),
        ({"collect": collecting(nothing)}, r"collect\(\) returns a int, not Collected"),
        ({"n_collections": lambda self, frames: 1 + frames // 24}, r"n_collections\(0\) is not 0"),
        ({"n_collections": lambda self, frames: frames // 10}, r"n_collections\(1\) is 0, and that takes 1"),
        ({"state_dict": half_a_state}, "goes on otherwise where its state_dict was loaded"),
        ({"state_dict": lambda self: {}}, "its state_dict does not load: KeyError: 'env'"),
        ({"attach": seedless}, "collects other steps with the same seed"),
        ({"check_arguments": staticmethod(lambda arguments, n_envs: 1 / 0)}, "the arguments are refused: ZeroDivision"),
    ],
)  # fmt: skip
def test_notices_what_breaks_a_source(changed, problem):
    cls = type("Broken", (OnPolicy,), {"__doc__": OnPolicy.__doc__, **changed})
    with pytest.raises(AssertionError, match=f"^Broken: .*({problem})") as caught:
        check_data(cls, frames=24)
    assert "\n" not in str(caught.value)


def test_memories_are_kept_or_refused():
    check_data("data/on_policy", frames=8)
    promised = classmethod(lambda cls, arguments, n_envs, net, chunk: None)
    plain = staticmethod(lambda keys: [key for key in OnPolicy.provides(keys) if not key.endswith("is_init")])
    cls = type("Broken", (OnPolicy,), {"__doc__": OnPolicy.__doc__, "check_chunk": promised, "provides": plain})
    with pytest.raises(AssertionError, match=r"a sample has \['is_init', 'next.is_init'\], and provides\(\) does not"):
        check_data(cls, frames=24)


def test_arguments_are_asked_for():
    with pytest.raises(AssertionError, match=r"^data/on_policy: the arguments are refused: RecipeError: .* 'frames'"):
        check_data("data/on_policy")
