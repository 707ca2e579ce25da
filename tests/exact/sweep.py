"""A sweep over the agents of tabular games, made of hetrl's own order, factor and loss.

The batch is every state and joint action of every game, each with its exact probability, so expectations are sums and
nothing is estimated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

import hetrl
from hetrl.ops.markov_game import MarkovGame, trust_region_coef

UNIT_FACTOR = hetrl.component("weight/unit_factor")
IMPORTANCE_FACTOR = hetrl.component("weight/importance_factor")
SURROGATE = hetrl.component("loss/clipped_surrogate", clip=1e6)
"""So wide a clip that the loss is the theorem's objective."""

Maximiser = Callable[[Tensor, Tensor], Tensor]
"""From an agent's policy and the slope of its surrogate, both ``[*G, S, A_i]``, to its next policy."""


@dataclass
class Sweep:
    """What a sweep did."""

    policies: list[Tensor]
    factor: Tensor
    order: list[int]
    """Agents in the order of their turns."""
    gains: list[Tensor] = field(default_factory=list)
    """For each turn, how much the agent's surrogate rose, ``[*G]`` [reward]."""
    divergences: list[Tensor] = field(default_factory=list)
    """For each turn, max over states of KL(old, new), ``[*G]`` [nat]."""


class Turn:
    """What an agent in turn sees: the surrogate E[rho F A] over visited states and old joint actions."""

    def __init__(self, game: MarkovGame, policies: list[Tensor], advantage: Tensor, factor: Tensor, agent: int) -> None:
        self.game, self.old, self.agent = game, policies[agent], agent
        self.advantage, self.factor = advantage, factor
        visits = game.visitation(policies)
        self.weight = visits.reshape(*visits.shape, *[1] * game.n_agents) * game.joint(policies)

    def surrogate(self, policy: Tensor) -> Tensor:
        """Return E[rho F A], ``[*G]`` [reward], from the loss of hetrl."""
        log_prob, old_log_prob = log_probs(self.game, policy, self.agent), log_probs(self.game, self.old, self.agent)
        loss = SURROGATE.compute(log_prob, old_log_prob, self.advantage, self.factor)["loss"]
        return (self.weight * -loss).flatten(self.game.start.dim() - 1).sum(-1)

    def slope(self) -> Tensor:
        """Return how the surrogate changes with each probability, ``[*G, S, A_i]``; it is linear in them."""
        probability = self.old.clone().requires_grad_()
        return torch.autograd.grad(self.surrogate(probability).sum(), probability)[0]


def log_probs(game: MarkovGame, policy: Tensor, agent: int) -> Tensor:
    """Return an agent's log-probs for every joint action, ``[*G, S, A_1, ..., A_n]``."""
    return game.along(policy, agent).log().expand_as(game.reward)


def sweep(game: MarkovGame, policies: list[Tensor], order: hetrl.Component, maximise: Maximiser) -> Sweep:
    """Give every agent its turn. Within a round nobody sees another's update, as in training."""
    advantage = game.advantage(policies)
    factor = UNIT_FACTOR.compute(advantage)["factor"]
    rounds = order.compute(torch.arange(game.n_agents))["round"].tolist()
    done = Sweep(list(policies), factor, sorted(range(game.n_agents), key=rounds.__getitem__))
    for number in sorted(set(rounds)):
        members = [agent for agent in done.order if rounds[agent] == number]
        for agent in members:
            turn = Turn(game, policies, advantage, done.factor, agent)
            done.policies[agent] = maximise(policies[agent], turn.slope())
            done.gains.append(turn.surrogate(done.policies[agent]) - turn.surrogate(policies[agent]))
            done.divergences.append(divergence(policies[agent], done.policies[agent]).amax(-1))
        for agent in members:
            new, old = (log_probs(game, each[agent], agent) for each in (done.policies, policies))
            done.factor = IMPORTANCE_FACTOR.compute(new, old, done.factor)["factor"]
    return done


def divergence(old: Tensor, new: Tensor) -> Tensor:
    """Return KL(old, new) in every state, ``[*G, S]`` [nat]."""
    return (old * (old.log() - new.log())).sum(-1)


def best_response(policy: Tensor, slope: Tensor) -> Tensor:
    """The maximiser where nothing is held back: all probability on the best action."""
    return torch.nn.functional.one_hot(slope.argmax(-1), policy.shape[-1]).to(policy.dtype)


def trust_region(game: MarkovGame, policies: list[Tensor], caution: float = 1.0) -> Maximiser:
    """The theorem's maximiser, of surrogate - caution * C * max over states of KL(old, new)."""
    coef = caution * trust_region_coef(game.advantage(policies), game.gamma, game.n_agents)
    return lambda policy, slope: penalised(policy, slope, coef)


def blind(maximise: Maximiser) -> Maximiser:
    """A maximiser for agents that cannot tell states apart: one distribution, and the slopes of all states together."""

    def together(policy: Tensor, slope: Tensor) -> Tensor:
        return maximise(policy[..., :1, :], slope.sum(-2, keepdim=True)).expand_as(policy)

    return together


def penalised(policy: Tensor, slope: Tensor, coef: Tensor) -> Tensor:
    """Return the policy that maximises <slope, new> - coef max over states of KL(old, new); all of coef above 0.

    With a radius d for the KL of every state, each state has its own problem, solved by new = l old / (m - slope), with
    l the price of the radius (the slope in d of what the state can gain) and m such that the KL is d; l falls as d
    grows. The best radius is where the states' prices add up to coef. Both are found by bisection in the logarithm.
    """
    gap = slope.amax(-1, keepdim=True) - slope
    spread = gap.amax(-1, keepdim=True)
    moves = (spread > 1e-12 * slope.abs().amax((-2, -1), keepdim=True)).squeeze(-1)  # elsewhere no action is better
    spread = torch.where(moves.unsqueeze(-1), spread, 1.0)

    def at(log_step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the new policies, their KL and their price for m = max slope + spread e^step."""
        above = spread * log_step.exp().unsqueeze(-1) + gap
        price = 1 / (policy / above).sum(-1)
        return price.unsqueeze(-1) * policy / above, (policy * above.log()).sum(-1) - price.log(), price * moves

    def within(log_radius: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (torch.full(policy.shape[:-1], end, dtype=policy.dtype) for end in (-30.0, 20.0))
        for _ in range(28):
            middle = (low + high) / 2
            too_far = at(middle)[1] > log_radius.exp().unsqueeze(-1)
            low, high = torch.where(too_far, middle, low), torch.where(too_far, high, middle)
        new, _, price = at(high)
        return new, price

    low, high = (torch.full(coef.shape, end, dtype=policy.dtype) for end in (-28.0, 3.0))
    for _ in range(28):
        middle = (low + high) / 2
        cheap = within(middle)[1].sum(-1) < coef
        low, high = torch.where(cheap, low, middle), torch.where(cheap, middle, high)
    return torch.where(moves.unsqueeze(-1), within(low)[0], policy)
