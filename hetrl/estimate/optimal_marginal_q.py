"""The optimal marginal Q: what a prefix of the joint action is worth if everybody else answers best."""

import inspect
import itertools
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hetrl.arguments import Count
from hetrl.component import Component
from hetrl.errors import RecipeError, RunError
from hetrl.ops.joint_action import JointAction, JointValue, repeated, with_each
from hetrl.team import Discrete, Team

_IMPOSSIBLE = -1e9
"""Log-probs below are those of options that a mask rules out."""


class _Searched(NamedTuple):
    """What a search for the best completion begins with."""

    state: Tensor
    proposal: JointAction
    remaining: tuple[Tensor, ...]
    """Of each agent, in team order: where its action is sought, ``*B``; elsewhere it stays."""
    candidates: JointAction
    """Everybody's K, ``*B K A``."""
    allowed: tuple[Tensor, ...] | None
    """Of each agent: which of its candidates its action mask leaves, ``*B K``."""
    value: JointValue


class OptimalMarginalQ(Component):
    """The value of the actions chosen so far, completed as well as the agents still to come can.

    phi*(s, a^{i_1..i_m}) = max over a^{i_{m+1}..i_n} of min_c Q_c(s, a^{i_1..i_m}, a^{i_{m+1}..i_n})

    The prefix is everybody whose ``turn`` is not later than that of the agent in turn; who shares that turn (a mate of
    the same group) stays at its proposal. The more of the joint action is fixed, the less is left to choose: phi* never
    rises along the order, from max Q to Q(s, a). No old policy appears in it: where all options are listed
    (``exact``, discrete) what taken actions are worth does not move when a mate with the same parameters is updated
    first. What ``greedy`` answers for agents still to come does move, and so do candidates that are drawn around it.

    With Q = ((1, 4), (3, 2)), the first agent on its first action and the second still to come, ``exact`` gives 4;
    ``greedy`` with the second agent's policy on its first action gives 1.

    Args:
        completion: what the agents still to come answer: ``greedy``, their own proposals, the paper's practical choice;
            ``refine``, the proposals improved by coordinate ascent over each agent's ``candidates``, keeping the best;
            ``exact``, the best of the proposals and all combinations of the candidates (discrete: all joint actions).
        of: whose value is wanted: that of the agent's own ``proposal``, or of each of its ``candidates``.
        prefix: what counts as chosen by the agents updated before: their ``proposal``, or the ``best`` that the same
            completion finds for them, the paper's a*.
        n_rounds: of coordinate ascent, for ``refine``.
        limit: most joint actions that ``exact`` tries: all combinations of everybody's candidates, though those of
            agents whose turn is over count for nothing.

    Raises:
        RecipeError: the ``best`` prefix is to be found by ``greedy``, which does not search.
        RunError: ``exact`` would have to try more than ``limit`` joint actions.
    Source: Yu et al. 2025, arXiv:2507.09989 (the optimal marginal Q-value).
    Differs: the paper maximises over continuous actions without saying how; ``greedy`` is what its algorithm computes,
        ``refine`` and ``exact`` are ours, and so is the choice of the prefix.
    """

    reads = {
        "state": "state",
        "proposal": "agents.proposal",
        "place": "agent.place",
        "turn": "agent.turn",
        "turns": "agents.turn",
        "candidates": "agents.candidates",
        "candidate_log_prob": "agents.candidate_log_prob",
    }
    writes = {"q": "agent.marginal_q"}
    calls = {"value": "q.min"}

    def __init__(
        self,
        *,
        completion: Literal["greedy", "refine", "exact"] = "greedy",
        of: Literal["proposal", "candidates"] = "proposal",
        prefix: Literal["proposal", "best"] = "proposal",
        n_rounds: Count = 1,
        limit: Count = 4096,
    ) -> None:
        super().__init__()
        if completion == "greedy" and prefix == "best":
            raise RecipeError(
                "prefix: best is searched for, and completion: greedy does not search; use refine or exact."
            )
        self.completion, self.of, self.prefix, self.n_rounds, self.limit = completion, of, prefix, n_rounds, limit

    @classmethod
    def check_team(cls, arguments: Mapping[str, Any], team: Team) -> None:
        """Refuse to try more combinations of options than ``limit``, where all agents have discrete actions."""
        choices = [agent.action.choices for agent in team.agents if isinstance(agent.action, Discrete)]
        limit = arguments.get("limit", inspect.signature(cls.__init__).parameters["limit"].default)
        count = math.prod(math.prod(each) for each in choices)
        if arguments.get("completion") == "exact" and len(choices) == len(team.agents) and count > limit:
            raise RecipeError(_too_many(count, len(choices), limit))

    @classmethod
    def required(cls, arguments: Mapping[str, Any]) -> frozenset[str]:
        """Return ``candidates`` where they are searched, or their values wanted."""
        proposals_do = arguments.get("completion", "greedy") == "greedy" and arguments.get("of") != "candidates"
        return frozenset() if proposals_do else frozenset({"candidates"})

    def compute(
        self,
        state: Float[Tensor, "*batch size"],
        proposal: tuple[Float[Tensor, "*batch _"], ...],
        place: int,
        turn: Int[Tensor, "*batch"],
        turns: tuple[Int[Tensor, "*batch"], ...],
        candidates: tuple[Float[Tensor, "*batch _ _"], ...] | None = None,
        candidate_log_prob: tuple[Float[Tensor, "*batch _"], ...] | None = None,
        *,
        value: JointValue,
    ) -> dict[str, Float[Tensor, "..."]]:
        """Return phi* as ``q`` [reward], ``*B``; of candidates ``*B K``.

        Args:
            state: the global state.
            proposal: everybody's action; those of the prefix count, and the others' are what ``greedy`` answers.
            place: the agent's position in team order.
            turn: the round in which the agent is updated; -1 for the value of the empty prefix.
            turns: everybody's rounds.
            candidates: everybody's K actions to choose from; discrete ones one-hot.
            candidate_log_prob: theirs, where the policy has some; what a mask rules out is not chosen.
            value: the critic.
        """
        search = self._refined if self.completion == "refine" else self._exact
        before, remaining = (tuple(side(each, turn) for each in turns) for side in (torch.lt, torch.gt))
        allowed = None if candidate_log_prob is None else tuple(each > _IMPOSSIBLE for each in candidate_log_prob)
        if self.prefix == "best":
            assert candidates is not None
            with torch.no_grad():  # one prefix, whichever of its own candidates the agent takes
                everybody = (torch.ones_like(before[0]),) * len(proposal)
                best = search(_Searched(state, proposal, everybody, candidates, allowed, value))
            proposal = _replaced(proposal, before, best)
        if self.of == "candidates":
            assert candidates is not None
            several = candidates[place].shape[-2]
            state, proposal = with_each(state, proposal, place, candidates[place])
            remaining = tuple(repeated(each, several, 0) for each in remaining)
            candidates = tuple(repeated(each, several, -2) for each in candidates)
            allowed = None if allowed is None else tuple(repeated(each, several) for each in allowed)
        if self.completion != "greedy":
            assert candidates is not None
            with torch.no_grad():  # actions are sought; the gradient is that of Q at them (the envelope theorem)
                found = search(_Searched(state, proposal, remaining, candidates, allowed, value))
            proposal = _replaced(proposal, remaining, found)
        return {"q": value(state, proposal)["q"]}

    def _refined(self, searched: _Searched) -> JointAction:
        """Improve the remaining agents' actions one after the other; the value never falls."""
        state, proposal, remaining, candidates, allowed, value = searched
        best = list(proposal)
        best_q = value(state, proposal)["q"]
        for _ in range(self.n_rounds):
            for place, options in enumerate(candidates):
                q = value(*with_each(state, best, place, options))["q"]
                if allowed is not None:
                    q = torch.where(allowed[place], q, -math.inf)
                top_q, top = q.max(-1)
                better = remaining[place] & (top_q > best_q)
                chosen = options.take_along_dim(top[..., None, None], -2).squeeze(-2)
                best[place] = torch.where(better.unsqueeze(-1), chosen, best[place])
                best_q = torch.where(better, top_q, best_q)
        return tuple(best)

    def _exact(self, searched: _Searched) -> JointAction:
        """Try every combination of the candidates, beside the proposal itself; who does not remain stays."""
        state, proposal, remaining, candidates, allowed, value = searched
        sizes = [each.shape[-2] for each in candidates]
        if math.prod(sizes) > self.limit:
            raise RunError(f"estimate/optimal_marginal_q: {_too_many(math.prod(sizes), len(sizes), self.limit)}")
        best, best_q = list(proposal), value(state, proposal)["q"]
        for choice in itertools.product(*map(range, sizes)):
            chosen = tuple(options.select(-2, index) for options, index in zip(candidates, choice, strict=True))
            tried = _replaced(proposal, remaining, chosen)
            better = (q := value(state, tried)["q"]) > best_q
            if allowed is not None:
                for mask, index, free in zip(allowed, choice, remaining, strict=True):
                    better = better & (mask.select(-1, index) | ~free)
            best = [torch.where(better.unsqueeze(-1), new, old) for new, old in zip(tried, best, strict=True)]
            best_q = torch.where(better, q, best_q)
        return tuple(best)


def _too_many(count: int, n_agents: int, limit: int) -> str:
    return (
        f"completion: exact would try {count} joint actions of {n_agents} agents, and limit is {limit}; use "
        "completion: refine, or raise limit."
    )


def _replaced(action: JointAction, where: tuple[Tensor, ...], by: JointAction) -> JointAction:
    """Return the actions, some agents' replaced in some rows."""
    return tuple(torch.where(mask.unsqueeze(-1), new, old) for mask, new, old in zip(where, by, action, strict=True))
