"""What collection carries and stores for recurrent nets, and what the program makes of it again."""

from collections.abc import Sequence

import pytest
import torch

import hetrl
from hetrl.data.behaviour import Behaviour, forgotten
from hetrl.data.evaluate import evaluate
from hetrl.data.on_policy import OnPolicy
from hetrl.engine.link import link
from hetrl.engine.linked import Linked
from hetrl.engine.phase import PhaseRunner
from hetrl.engine.store import Store
from hetrl.env.cue_game import CueGame
from hetrl.env.vmas import Vmas
from hetrl.net.recurrent_policy import RecurrentPolicy

CUE = {"n_cues": 3, "delay": 3, "discrete_agents": 2, "continuous_agents": 1, "n_envs": 4}
VMAS = {"scenario": "balance", "n_agents": 3, "n_envs": 4, "horizon": 7}
N_STEPS, CHUNK = 12, 6


def start(env, per: str = "agent", dtype: torch.dtype = torch.float32) -> tuple[Linked, OnPolicy]:
    """Return a linked recipe and its collection; heads are drawn wide, so that memories matter."""
    task = {"use": "env/cue_game", **CUE} if isinstance(env, CueGame) else {"use": "env/vmas", **VMAS}
    sizes = f"hidden: [5], memory: 4, chunk: {CHUNK}"
    recipe = hetrl.load(
        "recurrent_happo", f"nets.actor={{use: net/recurrent_policy, per: {per}, {sizes}}}",
        f"nets.value={{use: net/recurrent_value, {sizes}, normalize: true}}", f"data.frames={4 * N_STEPS}",
        f"task={task}",
    )  # fmt: skip
    linked = link(recipe, env.team).to(dtype)
    with torch.no_grad():
        for name, parameter in linked.named_parameters():
            if ".head." in name and "raw_std" not in name:
                parameter.normal_()
    source = OnPolicy(frames=4 * N_STEPS)
    source.attach(env, Behaviour(linked.team, linked.policy), "mean", 0, linked.critic)
    return linked, source


def cue_game(**changes) -> CueGame:
    return CueGame(**CUE | changes, seed=3)


def section(linked: Linked, phase: str, name: str, lane: Sequence, store: Store) -> None:
    linked.program(linked.recipe.phase(phase).stages[name], lane).run(store, lane)


def test_where_episodes_begin():
    """Four steps each: 0, 4, 8, also when the batches are not whole episodes."""
    _, source = start(cue_game())
    source.frames = 4 * 6
    first, second = source.rollout(), source.rollout()
    begins = torch.cat([first["is_init"], second["is_init"]])
    assert begins.nonzero()[:, 0].unique().tolist() == [0, 4, 8] and begins[[0, 4, 8]].all()
    assert first["next", "is_init"].all()


@pytest.mark.parametrize("per", ["agent", "team"])
@pytest.mark.parametrize("env", [cue_game, lambda: Vmas(**VMAS, seed=3)], ids=["terminated", "truncated"])
def test_memories_are_carried_and_forgotten(env, per):
    env = env()
    if per == "team" and isinstance(env, CueGame):
        per = "group"
    linked, source = start(env, per)
    first = source.rollout()
    both = [first, source.rollout()]
    for group, agents in linked.team.layout.items():
        memory, seen, is_init = (torch.cat([batch[key] for batch in both])
                                 for key in ((group, "memory"), (group, "observation"), ("is_init",)))  # fmt: skip
        assert memory.shape == (2 * N_STEPS, 4, len(agents), 4)
        assert (memory[is_init] == 0).all() and (memory[~is_init] != 0).all()
        for agent in agents:
            with torch.no_grad():
                after = linked.policy((agent,)).remember(seen[:, :, agent.index], memory[:, :, agent.index])
            expected = after[:-1].masked_fill(is_init[1:].unsqueeze(-1), 0.0)
            torch.testing.assert_close(memory[1:, :, agent.index], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["single", "double"])
@pytest.mark.parametrize("leave", [0.0, 0.2])
def test_log_probs_of_the_batch_are_those_of_acting(monkeypatch, dtype, atol, leave):
    """Collected in the middle of episodes, with masks; each is noted as the action is drawn."""
    env = cue_game(continuous_agents=0, leave=leave)
    env._one_hot = env._one_hot.to(dtype)
    linked, source = start(env, "team", dtype)
    source.frames = 4 * 6
    source.rollout()
    source.frames = 4 * N_STEPS
    noted = []
    draw = RecurrentPolicy.draw

    def noting(self, observation, noise, action_mask=None):
        action = draw(self, observation, noise, action_mask)
        noted.append(self.head.log_prob(observation, action, action_mask)["log_prob"])
        return action

    monkeypatch.setattr(RecurrentPolicy, "draw", noting)
    batch = source.rollout()
    assert batch["discrete", "observation"].dtype == dtype
    acted = torch.stack(noted)
    store = Store(linked.team, batch)
    agents = linked.team.agents
    for lane in [agents, agents[:1], agents[1:]]:  # the folded lane, and each agent alone
        with torch.no_grad():
            section(linked, "actors", "prepare", lane, store)
        found = torch.stack([store.read("agent.old_log_prob", (agent,)) for agent in lane], -1)
        expected = acted[..., [agent.index for agent in lane]]
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("env", [cue_game, lambda: Vmas(**VMAS, seed=3)], ids=["terminated", "truncated"])
def test_values_at_next(env):
    """V(next) is one step further from the memory after this one; it is the next row's where no episode ended."""
    linked, source = start(env())
    source.rollout()
    batch = source.rollout()
    assert batch["done"].any()
    store = Store(linked.team, batch)
    for phase in linked.recipe.update[:1]:
        PhaseRunner(phase, linked).run(store, 0.0, torch.Generator(), lambda *_: None)
    net, done = linked.critic, batch["done"]
    with torch.no_grad():
        after = net.remember(batch["state"], batch["memory"])
        torch.testing.assert_close(batch["next", "memory"], after)
        expected = net.head.value(net.remember(batch["next", "state"], after))["value"]
        here = net.head.value(after)["value"]
    found, value = store.read("next.value", ()), store.read("value", ())
    torch.testing.assert_close(value, here)
    torch.testing.assert_close(found, expected)
    on = ~done[:-1]
    torch.testing.assert_close(found[:-1][on], value[1:][on])
    assert not torch.isclose(found[:-1][~on], value[1:][~on], atol=1e-4).any()


def test_own_weights_and_shared_ones_act_alike():
    """A batched call of equal weights is the shared module's."""
    env = cue_game(continuous_agents=0)
    linked, _ = start(env, "agent")
    first, second = linked.nets["actor"].values()
    second.load_state_dict(first.state_dict())
    apart, shared = Behaviour(linked.team, linked.policy), Behaviour(linked.team, lambda _: first)
    observation = env.start()
    memories = [behaviour.remember(observation, behaviour.blank(observation)) for behaviour in (apart, shared)]
    torch.testing.assert_close(*memories)
    masks = env.masks["action_mask"]
    greedy = [each.greedy(memory, masks) for each, memory in zip((apart, shared), memories, strict=True)]
    torch.testing.assert_close(*greedy)


def test_evaluation_remembers_too():
    """A policy made by hand: each agent's hidden state keeps the cue's number, and its head reads it off."""
    env = CueGame(n_cues=2, delay=3, discrete_agents=1, n_envs=16)
    recipe = hetrl.load(
        "recurrent_happo", "nets.actor={use: net/recurrent_policy, hidden: [], memory: 1, chunk: 4}",
        "nets.value={use: net/recurrent_value, chunk: 4}", "data.frames=64",
        "task={use: env/cue_game, n_cues: 2, delay: 3, discrete_agents: 1, n_envs: 16}",
    )  # fmt: skip
    linked = link(recipe, env.team)
    net = linked.policy(env.team.agents)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        # x = (cue 0, cue 1, answer now): n = +-1 where a cue is seen, and only there z is 0, so that h becomes n.
        net.encoder.body[0].weight.copy_(torch.tensor([[0, 0, 0], [-40, -40, 0], [9, -9, 0]]))
        net.encoder.body[0].bias.copy_(torch.tensor([0, 20, 0]))
        net.head.policy.body[0].weight.copy_(torch.tensor([[0.0], [1.0], [-1.0]]))
    episodes = evaluate(env, Behaviour(linked.team, linked.policy), "mean")
    assert episodes.returns.tolist() == [1.0] * 16


def test_forgets_where_an_episode_ended():
    memory = {"a": torch.ones(3, 2, 4)}
    found = forgotten(memory, torch.tensor([True, False, False]), torch.tensor([False, False, True]), {})["a"]
    assert found.sum((1, 2)).tolist() == [0, 8, 0]
    begun = {"a": torch.tensor([[False, False], [True, False], [False, False]])}
    none = torch.zeros(3, dtype=torch.bool)
    assert forgotten(memory, none, none, begun)["a"].sum(-1).tolist() == [[4, 4], [0, 4], [4, 4]]
    assert forgotten({}, none, none, begun) == {}


def test_without_recurrent_nets_nothing_is_added():
    module, data = hetrl.load("happo", "task.n_envs=4", "data.frames=40", "run.device=cpu").build()
    batch = data.source.rollout()
    assert not [key for key, _ in batch.flatten_keys().items() if {"is_init", "memory"} & set(key.split("."))]
    assert module.linked.critic is None


def test_resumes_in_the_middle_of_an_episode():
    sources = []
    for _ in range(2):
        torch.manual_seed(7)
        sources.append(start(cue_game())[1])
    whole, other = sources
    whole.frames = other.frames = 4 * 6
    whole.rollout()
    other.load_state_dict(whole.state_dict())
    for found, expected in zip(*(list(each.rollout().flatten_keys().items()) for each in (other, whole)), strict=True):
        assert found[0] == expected[0] and torch.equal(found[1], expected[1]), found[0]
