"""Finite cooperative Markov games, solved by linear algebra."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class MarkovGame:
    """A finite game of one team: every quantity of tabular policies, exactly.

    V = (I - gamma P_pi)^-1 r_pi,   J = start . V,   Q = r + gamma P V,   A = Q - V

    Games of equal sizes may be stacked in leading dimensions ``*G``; policies then have them too. ``S`` counts states,
    ``A_i`` the actions of agent i. With one state, reward 1 for the first of two actions of a lone agent and 0 for the
    other, gamma 0.5 and both actions equally likely, V = 0.5 / (1 - 0.5) = 1, Q = (1.5, 0.5) and A = (0.5, -0.5).

    Args:
        transition: ``[*G, S, A_1, ..., A_n, S]``, probability of the next state.
        reward: ``[*G, S, A_1, ..., A_n]``, the team's [reward].
        start: ``[*G, S]``, probability of the first state.
        gamma: discount, at least 0 and below 1; a number, or a tensor ``[*G]``.

    Raises:
        ValueError: the shapes do not belong to one game.
    Source: the definitions of Kuba et al. 2022, arXiv:2109.11251.
    """

    def __init__(
        self,
        transition: Float[Tensor, "..."],
        reward: Float[Tensor, "..."],
        start: Float[Tensor, "..."],
        gamma: float | Float[Tensor, "..."],
    ) -> None:
        games, states = start.shape[:-1], start.shape[-1]
        agrees = reward.shape[: start.dim()] == start.shape and transition.shape == (*reward.shape, states)
        if not agrees or reward.dim() <= start.dim():
            raise ValueError(
                f"transition {list(transition.shape)}, reward {list(reward.shape)} and start {list(start.shape)} do "
                "not belong to one game; use [S, A_1, ..., A_n, S], [S, A_1, ..., A_n] and [S]."
            )
        self.transition, self.reward, self.start = transition, reward, start
        self.gamma = torch.as_tensor(gamma, dtype=reward.dtype, device=reward.device).expand(games)
        self.n_states, self.n_actions = states, tuple(reward.shape[start.dim() :])
        self.n_agents = len(self.n_actions)

    @classmethod
    def random(
        cls,
        n_states: int,
        n_actions: Sequence[int],
        gamma: float | Float[Tensor, "..."],
        generator: torch.Generator,
        n_games: Sequence[int] = (),
    ) -> "MarkovGame":
        """Return games in float64 with uniformly random transitions and starts, and standard normal rewards.

        Args:
            n_states: S.
            n_actions: A_i of every agent.
            gamma: discount, of all games or ``[*n_games]``.
            generator: of the draws; the same state gives the same games.
            n_games: leading dimensions.
        """
        shape = (*n_games, n_states, *n_actions)
        reward = torch.randn(shape, generator=generator, dtype=torch.float64)
        transition = random_distribution((*shape, n_states), generator)
        return cls(transition, reward, random_distribution((*n_games, n_states), generator), gamma)

    # Policies: one tensor [*G, S, A_i] for each agent

    def random_policies(self, generator: torch.Generator) -> list[Tensor]:
        """Return uniformly random policies, one ``[*G, S, A_i]`` for each agent."""
        return [random_distribution((*self.start.shape, size), generator) for size in self.n_actions]

    def joint(self, policies: Sequence[Tensor]) -> Tensor:
        """Return the probabilities of joint actions, ``[*G, S, A_1, ..., A_n]``."""
        product = self.along(policies[0], 0)
        for agent, policy in enumerate(policies[1:], 1):
            product = product * self.along(policy, agent)
        return product

    def along(self, values: Tensor, agent: int) -> Tensor:
        """Return values ``[*G, S, A_i]`` of an agent's own actions in the shape of joint actions, to broadcast."""
        sizes = [size if other == agent else 1 for other, size in enumerate(self.n_actions)]
        return values.reshape(*self.start.shape, *sizes)

    # What a joint policy is worth

    def value(self, policies: Sequence[Tensor]) -> Tensor:
        """Return V, ``[*G, S]`` [reward]."""
        joint = self._flat(self.joint(policies))
        return torch.linalg.solve(self._resolvent(joint), (joint * self._flat(self.reward)).sum(-1))

    def performance(self, policies: Sequence[Tensor]) -> Tensor:
        """Return J, the discounted return expected from the start, ``[*G]`` [reward]."""
        return (self.start * self.value(policies)).sum(-1)

    def joint_q(self, policies: Sequence[Tensor]) -> Tensor:
        """Return Q of joint actions, ``[*G, S, A_1, ..., A_n]`` [reward]."""
        following = (self.transition.flatten(-2 - self.n_agents, -2) @ self.value(policies).unsqueeze(-1)).squeeze(-1)
        discount = self.gamma.reshape(*self.gamma.shape, *[1] * (1 + self.n_agents))
        return self.reward + discount * following.view_as(self.reward)

    def advantage(self, policies: Sequence[Tensor]) -> Tensor:
        """Return the joint advantage, ``[*G, S, A_1, ..., A_n]`` [reward]; its mean under the policies is 0."""
        value = self.value(policies)
        return self.joint_q(policies) - value.reshape(*value.shape, *[1] * self.n_agents)

    def visitation(self, policies: Sequence[Tensor]) -> Tensor:
        """Return the discounted expected visits, sum over t of gamma^t P(s_t = s), ``[*G, S]``.

        They add up to 1 / (1 - gamma), as in the source, not to 1.
        """
        resolvent = self._resolvent(self._flat(self.joint(policies)))
        return torch.linalg.solve(resolvent.mT, self.start)

    # What some of the agents' actions are worth

    def marginal_q(self, policies: Sequence[Tensor], agents: Sequence[int]) -> Tensor:
        """Return the mean of Q over everyone else's actions, ``[*G, S, A_i1, ..., A_im]`` in the order of ``agents``.

        Q^{i_1..i_m}(s, a^{i_1..i_m}); V for nobody, the joint Q for everyone. Kuba et al. 2022.
        """
        q, first = self.joint_q(policies), self.start.dim()
        for agent in set(range(self.n_agents)) - set(agents):
            q = (q * self.along(policies[agent], agent)).sum(first + agent, keepdim=True)
        rest = [first + agent for agent in range(self.n_agents) if agent not in agents]
        return q.permute(*range(first), *(first + agent for agent in agents), *rest).reshape(
            *self.start.shape, *(self.n_actions[agent] for agent in agents)
        )

    def marginal_advantage(
        self, policies: Sequence[Tensor], agents: Sequence[int], given: Sequence[int] = ()
    ) -> Tensor:
        """Return what the actions of ``agents`` add to those of ``given``, ``[*G, S, A_given..., A_agents...]``.

        A^{agents}(s, a^{given}, a^{agents}) = Q^{given, agents} - Q^{given}. Kuba et al. 2022.
        """
        before = self.marginal_q(policies, given)
        before = before.reshape(*before.shape, *[1] * len(agents))
        return self.marginal_q(policies, [*given, *agents]) - before

    # Inside

    def _flat(self, values: Tensor) -> Tensor:
        """Return values of joint actions with these in one dimension, ``[*G, S, A]``."""
        return values.flatten(-self.n_agents)

    def _resolvent(self, joint: Tensor) -> Tensor:
        """Return I - gamma P_pi, ``[*G, S, S]``, for probabilities ``[*G, S, A]``."""
        step = (joint.unsqueeze(-2) @ self.transition.flatten(-1 - self.n_agents, -2)).squeeze(-2)
        identity = torch.eye(self.n_states, dtype=step.dtype, device=step.device)
        return identity - self.gamma.reshape(*self.gamma.shape, 1, 1) * step


def random_distribution(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return probabilities along the last dimension, uniform on the simplex, in float64."""
    weight = torch.empty(*shape, dtype=torch.float64, device=generator.device).exponential_(generator=generator)
    return weight / weight.sum(-1, keepdim=True)


def trust_region_coef(advantage: Float[Tensor, "..."], gamma: Float[Tensor, "..."], n_agents: int) -> Tensor:
    """Return C = 4 gamma max|A| / (1 - gamma)^2, ``[*G]`` [reward]: the weight of the largest KL in a turn.

    With gamma = 0.5 and max|A| = 2, C = 4 * 0.5 * 2 / 0.25 = 16.

    Args:
        advantage: joint, ``[*G, S, A_1, ..., A_n]`` [reward].
        gamma: ``[*G]``.
        n_agents: n.
    Source: Kuba et al. 2022, arXiv:2109.11251, after Schulman et al. 2015, arXiv:1502.05477.
    """
    largest = advantage.abs().flatten(-1 - n_agents).amax(-1)
    return 4 * gamma * largest / (1 - gamma).square()
