from dataclasses import replace

import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.team import Agent, Box, Discrete, Team

ARM = Box((-1.0, 0.0), (1.0, 5.0))
A0, A1 = (Agent(f"a{i}", "arms", i, 4, ARM, "arms") for i in range(2))
B0 = Agent("b0", "legs", 0, 4, Discrete((3, 2)), "legs")
TEAM = Team((A1, B0, A0), 12)


def test_spaces():
    assert (ARM.size, str(ARM)) == (2, "continuous[2]")
    assert (B0.action.size, str(B0.action)) == (2, "discrete[3, 2]")


def test_bounds_are_floats_and_in_order():
    whole = Box((-1, 0), (1, 2))
    assert whole == Box((-1.0, 0.0), (1.0, 2.0)) and all(isinstance(each, float) for each in whole.low + whole.high)
    with pytest.raises(RecipeError, match=r"^dimension 1 of a continuous action goes from 0 to 0; its low must be"):
        Box((-1.0, 0.0), (1.0, 0.0))
    with pytest.raises(RecipeError, match="goes from nan to 1"):
        Box((float("nan"),), (1.0,))
    with pytest.raises(RecipeError, match="1 lows and 2 highs"):
        Box((0.0,), (1.0, 1.0))


def test_agents_by_name():
    assert (len(TEAM), TEAM.names, TEAM["b0"]) == (3, ("a1", "b0", "a0"), B0)
    with pytest.raises(KeyError, match="no agent 'b1'"):
        TEAM["b1"]


def test_layout_groups_are_by_index_and_sharing_groups_in_team_order():
    assert TEAM.layout == {"arms": (A0, A1), "legs": (B0,)}
    assert TEAM.bodies == {"arms": (A1, A0), "legs": (B0,)}


def test_the_state_is_in_team_order():
    """a1, b0, a0; one layout group in the team's order is a view, in another order it is not taken for it."""
    arms, legs = torch.arange(16.0).view(2, 2, 4), torch.full((2, 1, 4), 9.0)
    state = TEAM.state({"arms": arms, "legs": legs})
    assert torch.equal(state, torch.cat([arms[:, 1], legs[:, 0], arms[:, 0]], -1))
    assert torch.equal(Team((A1, A0), 8).state({"arms": arms}), torch.cat([arms[:, 1], arms[:, 0]], -1))
    whole = Team((A0, A1), 8).state({"arms": arms})
    assert torch.equal(whole, arms.flatten(1)) and whole.data_ptr() == arms.data_ptr()


def test_a_state_that_one_agent_sees_in_a_row_is_a_view():
    """Entries 1 to 3 of a1, as one finds them one by one; others are gathered, with what finds them made once."""
    arms, legs = torch.arange(24.0).view(3, 2, 4), torch.full((3, 1, 4), 9.0)
    seen = {"arms": arms, "legs": legs}
    team = replace(TEAM, state_size=3, state_from=((0, 1), (0, 2), (0, 3)))
    state = team.state(seen)
    assert torch.equal(state, arms[:, 1, 1:]) and state.data_ptr() == arms[:, 1, 1:].data_ptr()
    assert team.state({"arms": arms.view(3, 1, 2, 4), "legs": legs.view(3, 1, 1, 4)}).shape == (3, 1, 3)
    for others in [((0, 1), (0, 3)), ((0, 2), (0, 1)), ((0, 1), (2, 2)), ((1, 3), (0, 0), (2, 1))]:
        scattered = replace(TEAM, state_size=len(others), state_from=others)
        every = {0: arms[:, 1], 1: legs[:, 0], 2: arms[:, 0]}
        assert torch.equal(scattered.state(seen), torch.stack([every[p][:, i] for p, i in others], -1))
    _, entries = scattered._watching
    meta = {group: value.to("meta") for group, value in seen.items()}
    assert scattered.state(meta).device.type == "meta"
    kept = entries[torch.device("meta")]
    scattered.state(meta)
    assert entries[torch.device("meta")] is kept and len(entries) == 2


def test_a_view_of_the_state_is_what_gathering_gives(monkeypatch):
    arms = torch.randn(3, 2, 4)
    team = Team((A1, A0), 4, tuple((1, entry) for entry in range(4)))
    view = team.state({"arms": arms})
    gathering = replace(team)
    monkeypatch.setattr(Team, "_span", None)
    gathered = gathering.state({"arms": arms})
    assert torch.equal(view, gathered) and gathered.data_ptr() != view.data_ptr() == arms.data_ptr()


def test_what_the_team_earns():
    reward = {"arms": torch.tensor([[1.0, 2.0]]), "legs": torch.tensor([[6.0]])}
    assert TEAM.reward(reward, "sum").tolist() == [9.0]
    assert TEAM.reward(reward, "mean").tolist() == [3.0]


def test_sharing_groups_replaced():
    shared = TEAM.shared({"x": ["a1"], "y": ["b0"], "z": ["a0"]})
    assert list(shared.bodies) == ["x", "y", "z"]
    assert shared.layout == {"arms": (replace(A0, body="z"), replace(A1, body="x")), "legs": (replace(B0, body="y"),)}
    assert TEAM["a0"].body == "arms"  # the team itself is as it was
    assert list(TEAM.shared({"keys": ["a0", "a1"], "training": ["b0"]}).bodies) == ["keys", "training"]


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ({"x": ["a0", "a1"], "y": ["b0", "b1"]}, "^task.groups.y: no agent 'b1'. Nearest: 'b0'.$"),
        ({"b0": ["a0", "a1"], "y": ["b0"]}, "^task.groups.b0: 'b0' is an agent, and what is logged of both would be"),
        ({"x": ["a0", "a1"]}, r"^task.groups: agents \['b0'\] are in no group; name every agent once.$"),
        ({}, r"^task.groups: agents \['a1', 'b0', 'a0'\] are in no group"),
        ({"x": ["a0", "a1"], "y": ["a0", "b0"]}, "^task.groups: agent 'a0' is in both 'x' and 'y'; keep one.$"),
        (
            {"x": ["a0", "b0"], "y": ["a1"]},
            r"^task.groups.x: its agents differ in observation size or action space, ",
        ),
    ],
)
def test_groups_that_cannot_be(groups, text):
    with pytest.raises(RecipeError, match=text):
        TEAM.shared(groups)


def test_a_team_of_alike_and_unlike_agents():
    """Groups are named after what their members' names have in common, unless another group has that too."""
    alike = Team.of(["a 1", "a-1"], [4, 4], [ARM, ARM])
    assert [(a.name, a.group, a.index, a.body) for a in alike.agents] == [
        ("a_1", "agents", 0, "agents"),
        ("a_1_2", "agents", 1, "agents"),
    ]
    unlike = Team.of(["wolf_0", "sheep_0", "wolf_1", "sheep_1"], [4, 4, 4, 5], [ARM, Discrete((3,)), ARM, ARM])
    assert [(a.group, a.index) for a in unlike.agents] == [("wolf", 0), ("sheep_0", 0), ("wolf", 1), ("sheep_1", 0)]
    assert unlike.state_size == 17
    assert unlike.sizes == "2 wolf: 4 -> continuous[2]; 1 sheep_0: 4 -> discrete[3]; 1 sheep_1: 5 -> continuous[2]"


def test_what_an_agent_sees_has_a_shape_and_a_type():
    """Flat float32 numbers unless it says otherwise; a flat shape follows the size."""
    flat = Agent("a", "agents", 0, 4, ARM, "agents")
    assert (flat.observation_shape, flat.observation_dtype, flat.sees) == ((4,), torch.float32, "4")
    assert replace(flat, observation_size=7).observation_shape == (7,)
    eye = Agent("a", "agents", 0, 24, ARM, "agents", (2, 4, 3), torch.uint8)
    assert (eye.sees, eye.seeing(5)) == ("2x4x3 uint8", replace(flat, observation_size=5))
    assert hash(eye) != hash(flat)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"observation_shape": (2, 3)}, r"^agent 'a' has an observation of shape \[2, 3\], which is 6 numbers, and "),
        (
            {"observation_dtype": torch.float64},
            r"^agent 'a' has observations of torch.float64; make them torch.float32",
        ),
    ],
)
def test_shapes_and_types_that_are_none_are_refused(words, message):
    with pytest.raises(RecipeError, match=message):
        Agent("a", "agents", 0, 4, ARM, "agents", **words)


def test_layout_groups_are_by_shape_and_type():
    """Four numbers in a row, four in a square, and a square of bytes are three kinds of agents."""
    byte, number = torch.uint8, torch.float32
    team = Team.of(
        ["r_0", "s_0", "s_1", "b_0"], [4, (2, 2), (2, 2), (2, 2)], [ARM] * 4, dtypes=[number, number, number, byte]
    )
    assert {group: [agent.name for agent in agents] for group, agents in team.layout.items()} == {
        "r": ["r_0"], "s": ["s_0", "s_1"], "b": ["b_0"],
    }  # fmt: skip
    assert (team.state_size, team.sizes) == (16, f"1 r: 4 -> {ARM}; 2 s: 2x2 -> {ARM}; 1 b: 2x2 uint8 -> {ARM}")
    with pytest.raises(RecipeError, match="differ in observation size or action space"):
        team.shared({"x": ["s_0", "b_0"], "y": ["r_0", "s_1"]})


def test_the_state_of_images_is_bytes_and_among_numbers_counts_from_0_to_1():
    images = Team.of(["a", "b"], [(1, 2)] * 2, [ARM] * 2, dtypes=[torch.uint8] * 2)
    seen = torch.tensor([[[255, 0], [51, 102]]], dtype=torch.uint8)
    assert images.state_dtype == torch.uint8
    assert torch.equal(images.state({"agents": seen}), seen.flatten(1))
    mixed = Team.of(["a", "b"], [(1, 2), 1], [ARM] * 2, dtypes=[torch.uint8, torch.float32])
    state = mixed.state({"a": seen[:, 1:], "b": torch.full((1, 1, 1), 7.0)})
    assert mixed.state_dtype == torch.float32
    torch.testing.assert_close(state, torch.tensor([[0.2, 0.4, 7.0]]))


def test_a_state_of_the_environments_own_has_a_shape():
    own = replace(TEAM, state_size=6, state_shape=(2, 3))
    assert (own.state_dtype, TEAM.state_shape) == (torch.float32, ())
    with pytest.raises(RecipeError, match=r"^the state's shape \[2, 4\] is 8 numbers, and state_size = 12"):
        replace(TEAM, state_shape=(2, 4))
