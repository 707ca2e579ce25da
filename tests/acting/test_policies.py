"""Policies to act with: what the evaluation does, one agent at a time, for every kind; and what they refuse."""

import numpy as np
import pytest
import torch
from policy_kinds import KINDS, played, run_of

from hetrl.acting.agent_policy import within
from hetrl.acting.policies import Policies
from hetrl.engine.reading import Lenses
from hetrl.errors import HetrlError, RunError, UnknownNameError
from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.team import Box, Discrete, Team

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


@pytest.mark.parametrize("stochastic", [False, True], ids=["deterministic", "drawn"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_loop_returns_what_the_evaluation_does_bit_for_bit(kind, stochastic):
    run = run_of(kind)
    team = run.policies(stochastic=stochastic, seed=run.recipe.run.seed)

    def act(seen, masks, ended):
        if ended is not None:
            team.reset(ended)
        return team(seen, masks)

    assert torch.equal(played(run, act), run.evaluate(stochastic=stochastic).returns)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_and_in_a_batch_and_of_numpy_and_torch(kind):
    """One row is the batch's row to rounding, and what comes out is what went in."""
    for name, policy in run_of(kind).policies().items():
        seen = torch.randn(5, policy.agent.observation_size)
        batch = policy(seen)
        policy.reset()
        arrays = policy(seen.numpy())
        assert isinstance(batch, torch.Tensor) and isinstance(arrays, np.ndarray)
        assert torch.equal(torch.from_numpy(arrays), batch)
        policy.reset()
        alone = policy(seen[2].tolist())
        assert np.shape(alone) == tuple(batch.shape[1:])
        if isinstance(policy.agent.action, Box):
            assert arrays.dtype == np.float32
            np.testing.assert_allclose(alone, arrays[2], atol=1e-5)
        else:
            assert arrays.dtype == np.int64 and np.array_equal(alone, arrays[2])
            assert isinstance(alone, np.integer if policy.agent.action.size == 1 else np.ndarray)
        assert name == policy.agent.name


def two(policies, space, size=3):
    team = Team.of(["a", "b"], [size, size], [space, space])
    nets = {agent.name: policies(agent, team, hidden=[8]) for agent in team.agents}
    return team, lambda lane: nets[lane[0].name]


BOX = Box((-0.1, -0.2), (0.1, 0.05))


def test_actions_keep_to_their_bounds():
    """A Gaussian's mean and draws lie anywhere; what is done does not."""
    team, policy = two(GaussianPolicy, BOX)
    with torch.no_grad():
        policy(team.agents).head.body.last.weight.mul_(1000)
    for seed in (None, 0):
        action = Policies(team, policy, seed)["a"](torch.randn(100, 3))
        low, high = torch.tensor(BOX.low), torch.tensor(BOX.high)
        assert ((action >= low) & (action <= high)).all()
        assert (action == low).any() and (action == high).any()
    assert within(BOX, torch.tensor([[5.0, 0.01]])).tolist() == torch.tensor([[0.1, 0.01]]).tolist()


def test_unbounded_actions_stay_as_they_are():
    inf = float("inf")
    team, policy = two(GaussianPolicy, Box((-inf, -1.0), (inf, inf)))
    seen = torch.randn(6, 3)
    with torch.no_grad():
        expected = policy(team.agents).greedy(seen)
    expected[:, 1].clamp_(min=-1.0)
    torch.testing.assert_close(Policies(team, policy)["a"](seen), expected)


def test_the_same_seed_draws_the_same_and_each_agent_its_own():
    team, policy = two(GaussianPolicy, BOX)
    shared = policy(team.agents)
    seen = torch.randn(4, 3)
    drawn = [[each["a"](seen) for _ in range(2)] for each in (Policies(team, policy, 3), Policies(team, policy, 3))]
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))
    assert not torch.equal(*drawn[0])
    assert not torch.equal(Policies(team, policy, 4)["a"](seen), drawn[0][0])
    both = Policies(team, lambda lane: shared, 3)
    assert not torch.equal(both["a"](seen), both["b"](seen))


def test_a_memory_is_kept_for_each_row_and_agent():
    team = run_of("recurrent").policies()
    name, policy = next(iter(team.items()))
    seen = torch.randn(3, 2, policy.agent.observation_size)

    def states():
        return policy._memory.clone()

    policy(seen[0])
    first = states()
    policy(seen[1])
    assert not torch.equal(states(), first)
    policy.reset(torch.tensor([True, False]))
    kept = states()
    assert (kept[0] == 0).all() and (kept[1] != 0).any()
    policy(seen[0])
    torch.testing.assert_close(states()[0], first[0])  # as at the beginning
    assert not torch.allclose(states()[1], first[1])
    with pytest.raises(RunError, match=f"^the policy of '{name}' remembers 2 rows, and was given 3; reset\\(\\) it"):
        policy(torch.randn(3, policy.agent.observation_size))
    with pytest.raises(RunError, match=f"^reset of '{name}': of 2 rows, no such rows"):
        policy.reset([5])
    policy.reset()
    policy(torch.randn(3, policy.agent.observation_size))
    other = next(each for each in team.values() if each is not policy)
    assert other._memory is None  # nobody's but its own
    team.reset()
    assert policy._memory is None


def test_masks_are_kept_to():
    team, policy = two(CategoricalPolicy, Discrete((3, 2)))
    for seed in (None, 0):
        act = Policies(team, policy, seed)["a"]
        mask = torch.tensor([[False, True, False, True, False], [False, False, True, False, True]])
        for _ in range(5):
            assert act(torch.randn(2, 3), mask).tolist() == [[1, 0], [2, 1]]
        assert act(np.zeros(3), np.array([0, 0, 1, 0, 1], dtype=np.int8)).tolist() == [2, 1]
        assert set(act(torch.randn(200, 3))[:, 1].tolist()) <= {0, 1}


SIZE = r"takes an observation of shape \[3\], or a batch \[B, 3\]; it was given"
REFUSED = {
    "size": (lambda p: p(np.zeros(4)), rf"^the policy of 'a' {SIZE} \[4\]\.$"),
    "size_of_a_batch": (lambda p: p(torch.zeros(2, 4)), rf"{SIZE} \[2, 4\]\.$"),
    "too_many_dimensions": (lambda p: p(torch.zeros(2, 2, 3)), rf"{SIZE} \[2, 2, 3\]\.$"),
    "number": (lambda p: p(3.0), rf"{SIZE} \[\]\.$"),
    "nan": (lambda p: p([[0, 0, 0], [0, float("nan"), 0]]), r"an observation with nan \(row 1, entry 1\)\.$"),
    "infinity": (lambda p: p(np.array([0, 0, np.inf])), r"an observation with inf \(row 0, entry 2\)\.$"),
    "too_large_for_float32": (lambda p: p(np.array([0, 0, 1e300])), r"an observation with inf \(row 0, entry 2\)\.$"),
    "text": (lambda p: p("left"), r"an observation that is no array of numbers, a str\.$"),
    "nothing": (lambda p: p(None), r"an observation that is no array of numbers, a NoneType\.$"),
    "ragged": (lambda p: p([[0, 0, 0], [0]]), r"an observation that is no array of numbers, a list\.$"),
    "mask_length": (
        lambda p: p(np.zeros(3), [True, True]),
        r"^the policy of 'a' has 3 options \(discrete\[3\]\): its action_mask beside this observation has shape \[3\]; "
        r"it was given \[2\]\.$",
    ),
    "mask_rows": (lambda p: p(np.zeros((2, 3)), [True] * 3), r"has shape \[2, 3\]; it was given \[3\]\.$"),
    "all_masked": (
        lambda p: p(np.zeros((2, 3)), [[True] * 3, [False] * 3]),
        r"an action_mask that leaves none of the options in row 1\.$",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    call, text = REFUSED[case]
    team, policy = two(CategoricalPolicy, Discrete((3,)))
    with pytest.raises(RunError, match=text) as refused:
        call(Policies(team, policy)["a"])
    assert "\n" not in str(refused.value)


def test_a_mask_for_who_steers_and_one_that_shuts_a_choice():
    team, policy = two(GaussianPolicy, BOX)
    with pytest.raises(RunError, match=r"^the policy of 'a' steers \(continuous\[2\]\), and takes no action_mask"):
        Policies(team, policy)["a"](np.zeros(3), [True])
    team, policy = two(CategoricalPolicy, Discrete((3, 2)))
    with pytest.raises(RunError, match=r"leaves none of the options of choice 1 in row 0\.$"):
        Policies(team, policy)["a"](np.zeros(3), [True, True, True, False, False])


def test_an_unknown_agent_is_named_with_the_nearest():
    team = run_of("gaussian").policies()
    for asked in (lambda: team["agnet_0"], lambda: team({"agnet_0": np.zeros(2)})):
        with pytest.raises(UnknownNameError, match=r"^no agent 'agnet_0'\. Nearest: 'agent_0'\.$") as refused:
            asked()
        assert isinstance(refused.value, KeyError) and isinstance(refused.value, HetrlError)
    with pytest.raises(UnknownNameError, match=r"^a mask of 'agent_1', who sees nothing"):
        team({"agent_0": np.zeros(team["agent_0"].agent.observation_size)}, {"agent_1": [True]})
    assert "agnet_0" not in team and team.get("agnet_0") is None and list(team) == ["agent_0", "agent_1"]


def test_an_image_has_its_shape_or_is_flat_and_keeps_its_bytes():
    team = Team.of(["a"], [(2, 3)], [Discrete((3,))], dtypes=[torch.uint8])
    net = Lenses.of(team, None).before(CategoricalPolicy(team.agents[0], team, hidden=[8]), team.agents[0])
    policy = Policies(team, lambda lane: net)["a"]
    image = np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3)
    assert policy(image) == policy(image.ravel()) == policy(np.stack([image] * 2))[1]
    assert policy(image) == net.greedy(torch.from_numpy(image).reshape(1, 6))[0, 0]
    with pytest.raises(RunError, match=r"^the policy of 'a' sees images, bytes from 0 to 255 \(uint8\); it was given"):
        policy(image / 255)


def test_what_a_policy_says_of_itself():
    lines = repr(run_of("recurrent").policies(stochastic=True)).splitlines()
    assert lines[0].startswith("<policy of discrete_0: ") and lines[0].endswith(", drawn, memory 8>")
    assert repr(run_of("gaussian").policies()["agent_0"]).endswith("-> continuous[2], deterministic>")
