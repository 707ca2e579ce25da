"""What replay stores and what it makes of it, row by row."""

from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.data.behaviour import Behaviour
from hetrl.data.random_actions import RandomActions
from hetrl.data.replay import Replay
from hetrl.data.ring import Ring
from hetrl.engine.store import Store
from hetrl.env.cue_game import CueGame
from hetrl.env.transition import Transition
from hetrl.env.vmas import Vmas
from hetrl.errors import RecipeError, RunError
from hetrl.team import Agent, Box, Discrete, Team

TEAM = Team(tuple(Agent(f"a{i}", "agents", i, 2, Box((-1.0,), (1.0,)), "agents") for i in range(2)), 4)
RECIPE = Path(__file__).parents[1] / "train" / "replay.yaml"


class Still:
    """An environment that is asked for its size and nothing else."""

    team, masks = TEAM, {}

    def __init__(self, n_envs: int) -> None:
        self.n_envs = n_envs

    def start(self):
        return {"agents": torch.zeros(self.n_envs, 2, 2)}


def replay(n_envs: int, n_slots: int, reward: str = "mean", **values) -> Replay:
    made = Replay(**{"capacity": n_slots * n_envs, "batch": 1, "warmup": 0, **values})
    made.attach(Still(n_envs), None, reward, 0)
    return made


def put(source: Replay, seen, reward, terminated, truncated, following) -> None:
    """Write a step in which both agents see and earn the same; ``seen`` is ``[N, 2]``, the rest ``[N]``."""
    both = [{"agents": value.unsqueeze(1).expand(-1, 2, *value.shape[1:])} for value in (seen, following, reward)]
    action = {"agents": torch.zeros(len(seen), 2, 1)}
    source.write(both[0], {}, action, Transition(both[1], both[2], terminated, truncated, both[1]))


def stream(source: Replay, rewards, terminated=(), truncated=()) -> None:
    """Write the steps of a single environment; step t sees t and leads to t + 1."""
    for step, reward in enumerate(rewards):
        seen = torch.full((1, 2), float(step))
        put(source, seen, torch.tensor([float(reward)]), torch.tensor([step in terminated]),
            torch.tensor([step in truncated]), seen + 1)  # fmt: skip


# ----- the reference's rows


@pytest.mark.parametrize("name", ["nstep_replay", "nstep_replay_wrapped"])
def test_is_the_references(vectors, name):
    """All rows in ring order, of a ring that is not full and of one that has gone around."""
    file = vectors(name)
    n_envs = int(file["n_threads"])
    source = replay(n_envs, int(file["buffer_size"]) // n_envs, n_step=int(file["n_step"]), gamma=float(file["gamma"]))
    words = ("share_obs", "reward", "done", "term", "next_share_obs")
    for seen, reward, done, term, following in zip(*(file[f"stream_{word}"] for word in words), strict=True):
        done, term = done.squeeze(-1).bool(), term.squeeze(-1).bool()
        put(source, seen, reward.squeeze(-1), term, done & ~term, following)
    rows = file["indices"].long()
    assert torch.equal(rows, torch.arange(len(source.ring)))
    found = source.gather(rows)

    def same(left, right):
        torch.testing.assert_close(left, right.squeeze(-1).to(left.dtype), rtol=1e-8, atol=1e-8)

    same(found["reward"], file["ep_reward"])
    same(found["discount"], file["ep_gamma_n"])
    same(found["done"], file["ep_done"])
    same(found["terminated"], file["ep_term"])
    for time, prefix in ((found, ""), (found["next"], "next_")):
        for agent in range(2):
            torch.testing.assert_close(time["agents", "observation"][:, agent], file[f"ep_{prefix}share_obs"])
        torch.testing.assert_close(time["state"], file[f"ep_{prefix}share_obs"].repeat(1, 2))
    torch.testing.assert_close(found["next", "agents", "observation"].transpose(0, 1), file["ep_next_obs"])
    same(found["agents", "reward"].T.flatten(), file["fp_reward"])  # rows of one agent after the other
    for word, key in (("discount", "gamma_n"), ("done", "done"), ("terminated", "term")):
        same(found[word].repeat(2), file[f"fp_{key}"])


# ----- by hand: gamma 0.5, three steps, rewards 1, 2, 4, 8


def test_the_docstrings_numbers():
    source = replay(1, 8, n_step=3, gamma=0.5)
    stream(source, [1, 2, 4], terminated=[1])
    found = source.gather(torch.tensor([0]))
    assert (found["reward"].item(), found["discount"].item(), found["terminated"].item()) == (2.0, 0.25, True)
    assert found["next", "state"].tolist() == [[2.0] * 4]


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_a_sum_ends_with_its_episode(kind):
    source = replay(1, 8, n_step=3, gamma=0.5)
    stream(source, [1, 2, 4, 8], **{kind: [1]})
    found = source.gather(torch.arange(4))
    assert found["reward"].tolist() == [2.0, 2.0, 8.0, 8.0]
    assert found["discount"].tolist() == [0.25, 0.5, 0.25, 0.5]
    assert found["done"].tolist() == found[kind].tolist() == [True, True, False, False]
    assert not found["truncated" if kind == "terminated" else "terminated"].any()
    assert found["next", "state"][:, 0].tolist() == [2.0, 2.0, 4.0, 4.0]


def test_a_sum_ends_with_the_newest_step():
    source = replay(1, 8, n_step=3, gamma=0.5)
    stream(source, [1, 2, 4, 8])
    found = source.gather(torch.arange(4))
    assert found["reward"].tolist() == [1 + 1 + 1, 2 + 2 + 2, 4 + 4, 8]
    assert found["discount"].tolist() == [0.125, 0.125, 0.25, 0.5]
    assert not found["done"].any()


def test_the_ring_goes_around_and_forgets_the_oldest():
    """Six steps in four slots: 4 5 2 3. A sum runs over the seam, and stops at step 5, not at the older 2."""
    source = replay(1, 4, n_step=3, gamma=0.5)
    stream(source, [1, 2, 4, 8, 16, 32])
    found = source.gather(torch.arange(4))
    assert found["state"][:, 0].tolist() == [4.0, 5.0, 2.0, 3.0]
    assert found["reward"].tolist() == [16 + 16, 32, 4 + 4 + 4, 8 + 8 + 8]
    assert found["next", "state"][:, 0].tolist() == [6.0, 6.0, 5.0, 6.0]


def test_one_step_is_the_step_itself():
    source = replay(1, 8, gamma=0.5)
    stream(source, [1, 2, 4], terminated=[1])
    found = source.gather(torch.arange(3))
    assert found["reward"].tolist() == [1.0, 2.0, 4.0] and found["discount"].tolist() == [0.5] * 3
    assert found["terminated"].tolist() == [False, True, False]


@pytest.mark.parametrize(("kind", "expected"), [("mean", 3.0), ("sum", 6.0), ("per_agent", None)])
def test_the_teams_reward(kind, expected):
    source = replay(1, 8, kind, n_step=3, gamma=0.5)
    stream(source, [1, 2, 4])
    found = source.gather(torch.tensor([0]))
    assert (found["reward"].item() if "reward" in found.keys() else None) == expected  # noqa: SIM118
    assert found["agents", "reward"].tolist() == [[3.0, 3.0]]


def test_environments_are_apart():
    """Two of them, side by side in a row of slots: an end in one ends nothing in the other."""
    source = replay(2, 4, n_step=2, gamma=1.0)
    for step in range(3):
        seen, reward = torch.tensor([[step] * 2, [10 + step] * 2]).float(), torch.tensor([1.0, 10.0])
        put(source, seen, reward, torch.tensor([step == 0, False]), torch.tensor([False, False]), seen + 1)
    found = source.gather(torch.arange(6))
    assert found["state"][:, 0].tolist() == [0, 10, 1, 11, 2, 12]
    assert found["reward"].tolist() == [1, 20, 2, 20, 1, 10]


# ----- drawing


def test_draws_are_uniform_over_what_is_stored():
    """Of 5 slots of 4 environments, once 3 are filled and once the ring has gone around: chi-squared."""
    for n_written, n_rows in ((3, 12), (7, 20)):
        source = replay(4, 5, warmup=12, batch=12)
        source.batch = n_rows
        for step in range(n_written):
            seen = torch.arange(4.0).unsqueeze(-1).expand(-1, 2) + 4 * step
            put(source, seen, torch.ones(4), *(torch.zeros(4, dtype=torch.bool) for _ in range(2)), seen)
        drawn = torch.cat([source.sample()["state"][:, 0] for _ in range(1000)])
        values, counts = drawn.unique(return_counts=True)
        assert values.tolist() == list(range(4 * n_written - n_rows, 4 * n_written))
        assert ((counts - 1000) ** 2 / 1000).sum() < 45  # 19 degrees of freedom: 1 in 1,000


def test_draws_leave_the_global_generator_alone_and_go_on_from_their_own():
    source = replay(1, 8, warmup=8, batch=8)
    stream(source, range(8))
    outside, state = torch.get_rng_state(), source._sampler.get_state()
    first = source.sample()
    assert torch.equal(torch.get_rng_state(), outside)
    assert not torch.equal(first["state"], source.sample()["state"])
    source._sampler.set_state(state)
    assert torch.equal(first["state"], source.sample()["state"])


def test_a_sample_is_a_batch_for_the_phases():
    _, source = start(CueGame(n_cues=2, delay=2, continuous_agents=1, leave=0.3, n_envs=4), warmup=24, n_step=2)
    source.collect()
    batch = source.sample()
    store = Store(source._team, batch)
    provided = Replay.provides(CueGame.provides({"leave": 0.3}))
    agents = source._team.agents
    for key in provided:
        lane = agents[:1] if key.startswith(("agent.", "next.agent.")) else ()
        assert store.has(key, lane), key
        assert store.read(key, lane).shape[0] == 16
    assert store.read("agent.observation", agents[:2]).shape == (16, 2, 3)


# ----- from an environment


def start(env, **values) -> tuple[Behaviour, Replay]:
    """Return untrained policies and a replay of an environment."""
    kinds = {type(agent.action) for agent in env.team.agents}
    net = "net/gaussian_policy" if kinds == {Box} else "net/mixed_policy"
    tree = hetrl.load("happo", f"nets.actor={{use: {net}, hidden: [4]}}")
    linked = hetrl.link(tree, env.team)
    behaviour = Behaviour(linked.team, linked.policy)
    source = Replay(**{"capacity": 4000, "batch": 16, "warmup": 0, **values})
    source.attach(env, behaviour, "mean", 0)
    return behaviour, source


def test_keeps_what_the_last_step_led_to():
    """Horizon 5: the next observation is the one seen next, but at an end, where that one comes after a reset."""
    _, source = start(Vmas(scenario="balance", n_envs=4, horizon=5), frames=48)
    source.collect()
    rows = source.gather(torch.arange(48)).view(12, 4)
    after, seen = rows["next", "agents", "observation"][:-1], rows["agents", "observation"][1:]
    ended = rows["done"][:-1]
    assert ended.any() and rows["truncated"].any()
    assert torch.equal(after[~ended], seen[~ended])
    assert not torch.isclose(after[ended], seen[ended]).all(-1).any()
    longer = Vmas(scenario="balance", n_envs=4, horizon=50)  # the same actions without an end
    observation = longer.start()["agents"]
    assert torch.equal(observation, rows["agents", "observation"][0])
    for step in range(5):
        observation = longer.advance({"agents": rows["agents", "action"][step]}).next_observation["agents"]
    cut = rows["truncated"][4]
    assert cut.any() and torch.equal(observation[cut], rows["next", "agents", "observation"][4][cut])
    assert torch.equal(rows["state"], rows["agents", "observation"].flatten(-2))


@pytest.mark.parametrize("warmup", [0, 64], ids=["policies", "warmup"])
def test_masks_go_with_their_observations(warmup):
    """The flag that it is time to answer says which options there are, now and next; the dead see nothing."""
    env = CueGame(n_cues=3, delay=3, discrete_agents=2, continuous_agents=1, leave=0.2, n_envs=8)
    _, source = start(env, frames=64, warmup=warmup, n_step=2)
    source.collect()
    batch = source.gather(torch.arange(64))
    for time in (batch, batch["next"]):
        flag = time["discrete", "observation"][..., -1] == 1
        mask, active = time["discrete", "action_mask"], time["discrete", "active"]
        assert torch.equal(mask[..., 0], ~flag) and torch.equal(mask[..., 1], flag)
        assert not active.all() and not flag[~active].any()
        assert "action_mask" not in set(time["continuous"].keys())
    assert batch["discrete", "action_mask"].gather(-1, batch["discrete", "action"]).all()
    assert (batch["discrete", "active"] | ~batch["next", "discrete", "active"]).all()  # nobody comes back
    states = [batch["discrete", "observation"].flatten(1), batch["continuous", "observation"].flatten(1)]
    assert torch.equal(batch["state"], torch.cat(states, -1))


def test_the_warm_up_asks_no_policy_and_has_no_samples(monkeypatch):
    behaviour, source = start(Vmas(scenario="balance", n_envs=4, horizon=7), warmup=30, frames=8, updates=3)
    assert source.n_collections(30) == source.n_collections(32) == 1 and source.n_collections(33) == 2
    with monkeypatch.context() as patch:
        patch.setattr(behaviour, "explore", None)
        warmup = source.collect()
    assert (warmup.frames, list(warmup.samples), len(source.ring)) == (32, [], 32)
    assert (warmup.episodes, warmup.lengths) == (4, 28)
    collected = source.collect()
    assert (collected.frames, len(source.ring)) == (8, 40)
    samples = list(collected.samples)
    assert len(samples) == 3 and all(sample.shape == (16,) for sample in samples)
    assert not torch.equal(samples[0]["state"], samples[1]["state"])
    assert source.n_collections(17) == 3 and source.n_collections(0) == 0


def test_without_frames_a_collection_is_one_step():
    _, source = start(Vmas(scenario="balance", n_envs=4, horizon=7), batch=4)
    assert source.collect().frames == 4 and source.n_collections(9) == 3


def test_random_actions_fill_their_bounds_and_the_available_options():
    agents = (
        Agent("left", "boxes", 0, 1, Box((0.0, -3.0), (1.0, 5.0)), "boxes"),
        Agent("right", "boxes", 1, 1, Box((-2.0, 0.0), (-1.0, 0.5)), "boxes"),
        Agent("chooser", "choosers", 0, 1, Discrete((3, 2)), "choosers"),
    )
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([True, False, True, True, True]).expand(20_000, 1, -1)
    drawn = RandomActions(Team(agents, 3), 20_000, generator).draw({"choosers": mask})
    boxes, choices = drawn["boxes"], drawn["choosers"]
    low, high = torch.tensor([[0.0, -3.0], [-2.0, 0.0]]), torch.tensor([[1.0, 5.0], [-1.0, 0.5]])
    assert (boxes >= low).all() and (boxes <= high).all()
    share = ((boxes - low) / (high - low)).sort(0).values
    assert (share - torch.linspace(0, 1, 20_000).view(-1, 1, 1)).abs().max() < 0.014  # Kolmogorov: 1 in 1,000
    assert choices.dtype == torch.int64 and choices.shape == (20_000, 1, 2)
    counts = [choices[:, 0, dim].bincount(minlength=3) / 20_000 for dim in range(2)]
    torch.testing.assert_close(counts[0], torch.tensor([0.5, 0.0, 0.5]), atol=0.012, rtol=0)
    torch.testing.assert_close(counts[1], torch.tensor([0.5, 0.5, 0.0]), atol=0.012, rtol=0)


# ----- errors


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"frames": 6}, r"^data.frames = 6 must be a multiple of task.n_envs = 4; nearest: 8.$"),
        (
            {"capacity": 19, "n_step": 4, "warmup": 0, "batch": 1},
            r"^data.capacity = 19 holds 4 steps of task.n_envs = 4 environments, and data.n_step = 4 needs 5; "
            r"write at least 20.$",
        ),
        ({"warmup": 300}, r"^data.warmup = 300 is more than data.capacity = 240 keeps; lower one, or raise .*"),
        (
            {"batch": 85},
            r"^data.batch = 85 is more than the 84 transitions that are stored at the first update; lower it, or "
            r"raise data.warmup .*",
        ),
        ({"batch": 241, "warmup": 240}, r"more than the 240 transitions"),
        ({"batch": 5, "warmup": 0}, r"more than the 4 transitions"),
        ({"gamma": 1.5}, r"gamma = 1.5"),
        ({"warmup": -1}, r"warmup = -1"),
        ({"capasity": 1}, r"no argument 'capasity'. Nearest: 'capacity'"),
    ],
)
def test_refuses(values, text):
    with pytest.raises(RecipeError, match=text):
        hetrl.check(hetrl.load(RECIPE, *(f"data.{name}={value}" for name, value in values.items())))


def test_refuses_to_draw_more_than_is_stored():
    source = replay(1, 8, batch=1)
    with pytest.raises(RunError, match=r"^data.batch = 1 is more than the 0 transitions stored so far; collect f"):
        source.sample()
    stream(source, [1, 2])
    source.batch = 3
    with pytest.raises(RunError, match=r"data.batch = 3 is more than the 2 transitions"):
        source.sample()


def test_refuses_bounds_that_are_none():
    team = Team((Agent("a", "agents", 0, 1, Box((-1.0,), (float("inf"),)), "agents"),), 1)
    with pytest.raises(
        RecipeError, match=r"data.warmup: the actions of 'a' have no bounds to draw .*; write warmup: 0"
    ):
        RandomActions(team, 1, torch.Generator())


# ----- state


@pytest.mark.parametrize("n_steps", [3, 11], ids=["partly filled", "gone around"])
def test_the_state_is_what_is_filled_and_continues_bit_for_bit(n_steps, tmp_path):
    def make() -> Replay:
        torch.manual_seed(1)
        env = CueGame(n_cues=2, delay=2, continuous_agents=1, leave=0.3, n_envs=4)
        return start(env, capacity=32, batch=8, warmup=8, n_step=3)[1]

    whole, other = make(), make()
    for _ in range(n_steps - 1):
        for _ in whole.collect().samples:
            pass
    path = tmp_path / "state.pt"
    torch.save(whole.state_dict(), path)
    state = torch.load(path, weights_only=True)
    assert state["ring"]["steps"]["terminated"].shape == (min(n_steps, 8), 4)
    other.collect()  # something else is in there
    other.load_state_dict(state)
    for _ in range(12):
        first, second = whole.collect(), other.collect()
        assert first.returns == second.returns and first.episodes == second.episodes
        for left, right in zip(first.samples, second.samples, strict=True):
            for key, value in left.items(True, True):
                assert torch.equal(value, right[key]), key


def test_a_view_is_not_saved_with_all_of_its_memory(tmp_path):
    ring = Ring(1000, 10, torch.device("cpu"))
    ring.write(TensorDict({"x": torch.ones(10, 100)}, [10]))
    torch.save(ring.state_dict(), tmp_path / "ring.pt")
    assert (tmp_path / "ring.pt").stat().st_size < 10_000
    with pytest.raises(RunError, match=r"saved with \[steps, n_envs\] = \[1000, 10\], this replay has \[999, 10\]"):
        Ring(999, 10, torch.device("cpu")).load_state_dict(ring.state_dict())


def test_without_what_was_stored_it_fills_up_with_the_policies(monkeypatch):
    env = Vmas(scenario="balance", n_envs=4, horizon=7)
    with pytest.warns(UserWarning, match=r"data.save is false: .* first collects data.warmup = 16 frames with the pol"):
        _, source = start(env, warmup=16, save=False)
    source.collect()
    state = source.state_dict()
    assert state["ring"] is None
    source.load_state_dict(state)
    assert len(source.ring) == 0 and source.n_collections(17) == 2
    with monkeypatch.context() as patch:
        patch.setattr(source._random_actions, "draw", None)
        again = source.collect()
    assert (again.frames, list(again.samples), len(source.ring)) == (16, [], 16)
    assert len(list(source.collect().samples)) == 1


def test_says_nothing_when_it_takes_its_memory(capfd):
    stream(replay(1, 4), [1.0])
    assert capfd.readouterr() == ("", "")


def test_recurrent_nets_are_refused():
    with pytest.raises(RecipeError, match=r"^nets.actor: Replay keeps no memories of a recurrent net; use data/on_pol"):
        Replay.check_chunk({}, 4, "actor", 2)
