"""The two-step game of Rashid et al. 2018, arXiv:1803.11485, section 6.1: its tables, and what is learned of it.

In the first state only the first agent's action counts: it chooses between a game that pays 7 whatever is done, and one
that pays 8 for one joint action, 1 or 0 for the others. Then the episode is over.
"""

import warnings
from collections.abc import Sequence

import lightning as L
import torch
from torch import Tensor

import hetrl
from hetrl import catalog
from hetrl.arguments import Count, Seed, checked
from hetrl.catalog import component
from hetrl.env.finite_game import FiniteGame
from hetrl.env.team_env import Reward
from hetrl.net.mixer import Mixer
from hetrl.net.utility import Utility
from hetrl.team import Agent, Discrete, Team

GAMMA = 0.99
SAFE = [[7.0, 7.0], [7.0, 7.0]]
RISKY = [[0.0, 1.0], [1.0, 8.0]]
ADDITIVE = [[-1.5, 2.5], [2.5, 6.5]]
"""The nearest table to RISKY, in squares, that is a sum of one number for each agent's action: its mean is 2.5, and an
action moves it by 2 down or up."""


def tables() -> tuple[Tensor, Tensor, Tensor]:
    """Return transitions ``[3, 2, 2, 3]``, rewards ``[3, 2, 2]``, and where episodes begin ``[3]``."""
    transition = torch.zeros(3, 2, 2, 3, dtype=torch.float64)
    transition[0, 0, :, 1] = transition[0, 1, :, 2] = transition[1:, :, :, 0] = 1
    reward = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], SAFE, RISKY], dtype=torch.float64)
    return transition, reward, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)


class TwoStepGame(FiniteGame):
    """The game as an environment: two steps, the second of which terminates."""

    def __init__(
        self, *, n_envs: Count = 8, horizon: Count = 2, reward: Reward = "mean", seed: Seed = 0, device: str = "cpu"
    ) -> None:
        super().__init__(
            *tables(), n_envs=n_envs, horizon=horizon, one_shot=True, reward=reward, seed=seed, device=device
        )

    __init__ = checked(__init__, "env/hetrl_tests.two_step_game")


TEAM = Team(tuple(Agent(f"agent_{i}", "agents", i, 3, Discrete((2,)), "agents") for i in range(2)), state_size=6)


def rows() -> dict[str, Tensor]:
    """Return every state with every joint action, ``[12]``, and how often uniform play comes there."""
    transition, reward, _ = tables()
    state, first, second = torch.cartesian_prod(*map(torch.arange, (3, 2, 2))).unbind(-1)
    return {
        "state": state,
        "action": torch.stack([first, second], -1),
        "reward": reward[state, first, second],
        "next": transition[state, first, second].argmax(-1),
        "terminated": state > 0,
        "weight": torch.where(state == 0, 1.0, 0.5),
    }


class Learner:
    """Utilities of two agents, each a table, and what mixes them; updated on all rows at once, weighed as uniform play.

    The parts are those of the recipes, put together by hand; only sampling is gone.

    Args:
        mixing: widths of the mixing layers; None for the sum.
        seed: of the first weights.
        rate: of learning.
    """

    def __init__(self, mixing: Sequence[int] | None, seed: int, rate: float) -> None:
        torch.manual_seed(seed)
        self.utilities = [Utility(agent, TEAM, hidden=[]).double() for agent in TEAM.agents]
        if mixing is None:
            self.mix = lambda state, utility: component("estimate/sum_of_utilities").compute(utility)["q"]
            own = []
        else:
            mixer = Mixer(TEAM.agents[0], TEAM, hidden=list(mixing), hyper=[16]).double()
            self.mix = lambda state, utility: mixer.total(state, utility)["q"]
            own = list(mixer.parameters())
        parameters = [each for net in self.utilities for each in net.parameters()]
        self.optimizer = torch.optim.Adam([*parameters, *own], lr=rate)
        self.td, self.target = component("loss/single_td"), component("estimate/td_target")

    def total(self, state: Tensor, action: Tensor) -> Tensor:
        """Return q_total of joint actions ``[B, 2]``."""
        seen = torch.eye(3, dtype=torch.float64)[state]
        chosen = [
            net.chosen(seen, each)["utility"] for net, each in zip(self.utilities, action.split(1, -1), strict=True)
        ]
        return self.mix(torch.cat([seen, seen], -1), tuple(chosen))

    def best(self, state: Tensor) -> Tensor:
        """Return everybody's own best action, ``[B, 2]``."""
        seen = torch.eye(3, dtype=torch.float64)[state]
        return torch.cat([net.greedy(seen) for net in self.utilities], -1)

    def update(self, batch: dict[str, Tensor]) -> None:
        """Take one step towards the targets of what is known now."""
        with torch.no_grad():
            q = self.total(batch["next"], self.best(batch["next"]))
            given = torch.full_like(batch["reward"], GAMMA), batch["terminated"], q
            target = self.target.compute(batch["reward"], *given)["target"]
        loss = self.td.compute(self.total(batch["state"], batch["action"]), target)["loss"]
        self.optimizer.zero_grad()
        (loss * batch["weight"]).sum().backward()
        self.optimizer.step()

    def tables(self) -> Tensor:
        """Return q_total of every state and joint action, ``[3, 2, 2]``."""
        batch = rows()
        with torch.no_grad():
            return self.total(batch["state"], batch["action"]).view(3, 2, 2)

    def play(self) -> float:
        """Return what the greedy policies earn."""
        _, reward, _ = tables()
        with torch.no_grad():
            first = self.best(torch.zeros(1, dtype=torch.int64))[0]
            state = 1 + first[:1]
            return reward[state, *self.best(state)[0]].item()


def learned(mixing: Sequence[int] | None, *, seed: int = 0, updates: int, rate: float) -> Learner:
    """Return a learner after its updates."""
    learner, batch = Learner(mixing, seed, rate), rows()
    for _ in range(updates):
        learner.update(batch)
    return learner


def register() -> str:
    """Return the name under which a recipe has the game as its task."""
    name = "env/hetrl_tests.two_step_game"
    catalog.register(name, TwoStepGame)
    return name


def trained(recipe: str, seed: int, *overrides: str) -> tuple[float, Tensor]:
    """Train a recipe on the game, exploring all the time; return what its policies earn, and their utilities.

    The utilities are ``[3, 2, 2]``: states by agents by options.
    """
    module, data = hetrl.load(
        recipe, f"task={{use: {register()}, n_envs: 8}}", "nets.utility.hidden=[]",
        "nets.utility.per=agent", "nets.utility.epsilon=1.0",
        "data={use: data/replay, capacity: 4000, batch: 64, warmup: 64, n_step: 1, gamma: 0.99}",
        f"run={{frames: 16_000, device: cpu, threads: 1, seed: {seed}, n_eval_episodes: 8}}", *overrides,
    ).build()  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice for other kinds of training
        L.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, data)  # fmt: skip
    seen = torch.eye(3)
    with torch.no_grad():
        each = [module.linked.policy((agent,)).all(seen)["utility"] for agent in module.linked.team.agents]
    return module.evaluation.run()["eval/return"], torch.stack(each, 1)
