"""phi* on games small enough to enumerate: its ends, its fall along the order, and what each completion reaches."""

import itertools

import pytest
import torch
from torch import Tensor

import hetrl
from hetrl.catalog import component
from hetrl.errors import RecipeError, RunError
from hetrl.testing import N_OTHER, check_component

N_ROWS = 6
TINY = 1e-12


class Game:
    """Random payoffs of n agents, as tables (one for each row) or as a concave quadratic, and the agents' policies."""

    def __init__(self, kind: str, n_agents: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.kind, self.n = kind, n_agents
        draw = {"generator": generator, "dtype": torch.float64}
        sizes = torch.randint(2, 5, (n_agents,), generator=generator).tolist()
        self.state = torch.arange(N_ROWS, dtype=torch.float64).unsqueeze(-1)
        if kind == "table":
            self.payoff = torch.randn(N_ROWS, *sizes, **draw)
            options = [torch.eye(size, dtype=torch.float64).expand(N_ROWS, -1, -1) for size in sizes]
        else:
            root = torch.randn(2 * n_agents, 2 * n_agents, **draw)
            self.curve, self.top = root @ root.T, torch.randn(N_ROWS, 2 * n_agents, **draw)
            options = [torch.randn(N_ROWS, size, 2, **draw) for size in sizes]
        self.candidates = tuple(options)
        picks = [torch.randint(size, (N_ROWS,), generator=generator) for size in sizes]
        self.proposal = tuple(o[torch.arange(N_ROWS), pick] for o, pick in zip(options, picks, strict=True))
        self.order = torch.randperm(n_agents, generator=generator).tolist()
        self.turns = tuple(torch.full((N_ROWS,), self.order.index(agent)) for agent in range(n_agents))

    def value(self, state: Tensor, action: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return Q, ``*B``; rows are known by their state."""
        rows = state[..., 0].long()
        if self.kind == "table":
            return {"q": self.payoff[(rows, *(each.argmax(-1) for each in action))]}
        off = torch.cat(action, -1) - self.top[rows]
        return {"q": -torch.einsum("...i,ij,...j->...", off, self.curve, off)}

    def phi(self, turn: int, place: int = 0, **values: object) -> Tensor:
        """Return phi* of the first ``turn`` + 1 agents of the order."""
        found = component("estimate/optimal_marginal_q", **values).compute(
            self.state, self.proposal, place, torch.full((N_ROWS,), turn), self.turns, self.candidates, value=self.value
        )
        return found["q"]

    def best(self, first: int) -> Tensor:
        """Return, by plain enumeration, the best that the agents from place ``first`` of the order on can reach."""
        later = self.order[first:]
        found = []
        for choice in itertools.product(*(range(self.candidates[agent].shape[1]) for agent in later)):
            action = list(self.proposal)
            for agent, option in zip(later, choice, strict=True):
                action[agent] = self.candidates[agent][:, option]
            found.append(self.value(self.state, tuple(action))["q"])
        return torch.stack(found).amax(0)


games = pytest.mark.parametrize("game", [Game(kind, n, seed) for kind in ("table", "quadratic") for n in (2, 3, 4)
                                         for seed in range(4)], ids=lambda g: f"{g.kind}{g.n}")  # fmt: skip


@games
def test_exact_is_the_maximum_and_never_rises_along_the_order(game):
    along = [game.phi(turn, completion="exact") for turn in range(-1, game.n)]
    for turn, phi in enumerate(along):
        torch.testing.assert_close(phi, game.best(turn), rtol=0, atol=TINY)
    torch.testing.assert_close(along[-1], game.value(game.state, game.proposal)["q"], rtol=0, atol=TINY)
    gains = [later - earlier for earlier, later in itertools.pairwise(along)]
    assert all((gain <= TINY).all() for gain in gains)
    torch.testing.assert_close(sum(gains), along[-1] - along[0], rtol=0, atol=1e-10)  # they telescope to Q - max Q
    assert any((gain < -TINY).any() for gain in gains)


@games
@pytest.mark.parametrize("n_rounds", [1, 3])
@pytest.mark.parametrize("outside", [False, True])
def test_greedy_refine_exact_are_in_order(game, n_rounds, outside, monkeypatch):
    """Also where the proposals are none of the candidates, as around a deterministic policy's action."""
    if outside and game.kind == "quadratic":
        monkeypatch.setattr(game, "proposal", tuple(part.contiguous() for part in game.top.split(2, -1)))
    between = 0
    for turn in range(-1, game.n):
        greedy = game.phi(turn)
        refine, exact = game.phi(turn, completion="refine", n_rounds=n_rounds), game.phi(turn, completion="exact")
        torch.testing.assert_close(greedy, game.value(game.state, game.proposal)["q"], rtol=0, atol=0)
        assert (greedy <= refine + TINY).all() and (refine <= exact + TINY).all()
        between += int((refine > greedy + TINY).sum())
    assert between or outside  # from the top there is nothing to improve


def test_refine_may_stop_short():
    """From (first, first), no agent alone leaves a payoff of 1 for the 3 that two together reach."""
    game = Game("table", 2, 0)
    game.payoff = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64).expand(N_ROWS, -1, -1)
    game.candidates = tuple(torch.eye(2, dtype=torch.float64).expand(N_ROWS, -1, -1) for _ in range(2))
    game.proposal = tuple(each[:, 0] for each in game.candidates)
    assert (game.phi(-1, completion="refine") == 1).all() and (game.phi(-1, completion="exact") == 3).all()


def test_the_worked_example():
    """Q = ((1, 4), (3, 2)); the first agent is in turn with its first action."""
    game = Game("table", 2, 0)
    game.payoff = torch.tensor([[1.0, 4.0], [3.0, 2.0]], dtype=torch.float64).expand(N_ROWS, -1, -1)
    game.candidates = tuple(torch.eye(2, dtype=torch.float64).expand(N_ROWS, -1, -1) for _ in range(2))
    game.proposal = tuple(each[:, 0] for each in game.candidates)
    game.turns = (torch.zeros(N_ROWS).long(), torch.ones(N_ROWS).long())
    assert (game.phi(0, completion="exact") == 4).all() and (game.phi(0) == 1).all()
    own = game.phi(0, completion="exact", of="candidates")
    assert own.shape == (N_ROWS, 2) and (own == torch.tensor([4.0, 3.0])).all()


@games
def test_the_best_prefix_is_the_start_of_the_best_joint_action(game):
    """Then whoever is in turn with its own part of it has max Q; with another action never more."""
    top = game.best(0)
    for place in range(game.n):
        turn = game.order.index(place)
        each = game.phi(turn, place, completion="exact", prefix="best", of="candidates")
        torch.testing.assert_close(each.amax(-1), top, rtol=0, atol=TINY)


@games
@pytest.mark.parametrize("completion", ["refine", "exact"])
def test_all_of_an_agents_candidates_are_judged_with_one_prefix(game, completion):
    """Whoever is last has nobody to wait for: its values are Q with one and the same prefix."""
    place = game.order[-1]
    each = game.phi(game.n - 1, place, completion=completion, prefix="best", of="candidates")
    seen = []

    def value(state, action):
        seen.append(tuple(part.clone() for part in action))
        return game.value(state, action)

    component("estimate/optimal_marginal_q", completion=completion, prefix="best", of="candidates").compute(
        game.state, game.proposal, place, game.turns[place], game.turns, game.candidates, value=value
    )
    assert torch.equal(seen[-1][place], game.candidates[place])
    others = [part for agent, part in enumerate(seen[-1]) if agent != place]
    assert all(torch.equal(part, part[:, :1].expand_as(part)) for part in others)
    assert torch.equal(game.value(game.state.unsqueeze(1).expand(-1, each.shape[1], -1), seen[-1])["q"], each)


@pytest.mark.parametrize("completion", ["refine", "exact"])
@pytest.mark.parametrize("prefix", ["proposal", "best"])
def test_what_a_mask_rules_out_is_not_chosen(completion, prefix):
    """The payoff of 100 is behind an option that the second agent does not have; allowed are 1 and 2."""
    game = Game("table", 2, 0)
    game.payoff = torch.tensor([[1.0, 2.0, 100.0]] * 3, dtype=torch.float64).expand(N_ROWS, -1, -1)
    game.candidates = tuple(torch.eye(3, dtype=torch.float64).expand(N_ROWS, -1, -1) for _ in range(2))
    game.proposal = tuple(each[:, 0] for each in game.candidates)
    log_prob = (torch.zeros(N_ROWS, 3), torch.tensor([-1.0, -1.0, -1e10]).expand(N_ROWS, -1))
    for order, found in (((0, 1), 2.0), ((1, 0), 2.0 if prefix == "best" else 1.0)):
        turns = tuple(torch.full((N_ROWS,), turn) for turn in order)
        q = component("estimate/optimal_marginal_q", completion=completion, prefix=prefix).compute(
            game.state, game.proposal, 0, turns[0], turns, game.candidates, log_prob, value=game.value
        )["q"]
        assert (q == found).all()


def test_greedy_finds_no_best_prefix():
    with pytest.raises(RecipeError, match="prefix: best is searched for, and completion: greedy does not search"):
        component("estimate/optimal_marginal_q", prefix="best")


@games
@pytest.mark.parametrize("completion", ["greedy", "refine", "exact"])
def test_of_candidates_is_phi_with_each_of_them_as_the_proposal(game, completion):
    """Looked up in tables they are the same numbers; some processors round products of other shapes otherwise."""
    near = {"rtol": 0, "atol": 0} if game.kind == "table" else {"rtol": 1e-14, "atol": 1e-13}
    for place in range(game.n):
        turn = game.order.index(place)
        each = game.phi(turn, place, completion=completion, of="candidates")
        own = game.proposal
        for option in range(each.shape[-1]):
            game.proposal = (*own[:place], game.candidates[place][:, option], *own[place + 1 :])
            torch.testing.assert_close(each[:, option], game.phi(turn, place, completion=completion), **near)
        game.proposal = own


@pytest.mark.parametrize("completion", ["greedy", "refine", "exact"])
def test_the_gradient_is_that_of_q_at_the_completed_action(completion):
    """The search has none. (That nobody else's proposal has one in a turn is the phase's doing.)"""
    game = Game("quadratic", 3, 1)
    game.order, game.turns = [1, 0, 2], tuple(torch.full((N_ROWS,), turn) for turn in (1, 0, 2))
    live = game.proposal[0].clone().requires_grad_()
    completed = []

    def value(state, action):
        completed.append(action)
        return game.value(state, action)

    component("estimate/optimal_marginal_q", completion=completion).compute(
        game.state, (live, *game.proposal[1:]), 0, game.turns[0], game.turns, game.candidates, value=value
    )["q"].sum().backward()
    off = torch.cat(completed[-1], -1).detach() - game.top
    expected = -(off @ (game.curve + game.curve.T))[:, :2]  # of -off C off, at the completed action
    torch.testing.assert_close(live.grad, expected, rtol=0, atol=1e-10)


def test_exact_refuses_more_than_its_limit():
    game = Game("table", 4, 0)
    with pytest.raises(RunError, match=r"exact would try .* joint actions of 4 agents, and limit is 3; use completion"):
        game.phi(-1, completion="exact", limit=3)


def test_keeps_the_contract():
    def value(state, action):
        return {"q": -(torch.cat(action, -1) - state.sum(-1, keepdim=True)).square().sum(-1)}

    for values in ({}, {"completion": "refine"}, {"completion": "refine", "of": "candidates"},
                   {"completion": "exact", "prefix": "best"}):  # fmt: skip
        check_component("estimate/optimal_marginal_q", given={"value": value, "place": 1}, per_sample=True, **values)
    assert N_OTHER == 3  # place 1 is one of the made-up agents


def test_a_mate_moves_the_ratio_and_not_what_taken_actions_are_worth():
    """Two agents share parameters; the first one's update moves the second's policy, and with it PPO's ratio.

    phi* of the actions that were taken, completed by the best answers (``exact``), has no policy in it: the proposals
    of the shared policy, which do move, stand in it only where they are taken for the answer (``greedy``).
    """
    task = "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4}"
    module, _ = hetrl.load("happo", task, "nets.actor={use: net/categorical_policy, per: group}").build()
    first, second = module.linked.team.agents
    shared = module.linked.nets["actor"].of((first,))
    assert shared is module.linked.nets["actor"].of((second,))
    seen, taken = torch.eye(3).repeat(2, 1), torch.randint(2, (N_ROWS, 1))
    game = Game("table", 2, 0)
    game.payoff = torch.randn(N_ROWS, 2, 2, dtype=torch.float64)
    game.turns = (torch.zeros(N_ROWS).long(), torch.ones(N_ROWS).long())
    own = torch.eye(2, dtype=torch.float64)[taken.squeeze(-1)]

    @torch.no_grad()
    def look():
        ratio = (shared.log_prob(seen, taken)["log_prob"] - rollout).exp()
        game.candidates = (shared.options(seen)["candidates"].double(),) * 2
        game.proposal = (own, shared.act(seen)["proposal"].double())  # the second's answer is the policy's
        return ratio, game.phi(0, completion="exact"), game.phi(0)

    rollout = shared.log_prob(seen, taken)["log_prob"].detach()
    ratio, exact, greedy = look()
    assert (ratio == 1).all()
    with torch.no_grad():
        shared.body.last.bias.add_(torch.tensor([9.0, -9.0]))  # the first agent's turn
        if torch.equal(shared.act(seen)["proposal"].double(), game.proposal[1]):
            shared.body.last.bias.mul_(-1)
    moved, exact_now, greedy_now = look()
    assert ((moved - 1).abs() > 1e-3).all()
    assert torch.equal(exact, exact_now)
    assert not torch.equal(greedy, greedy_now)


def test_drawn_candidates_move_with_the_policy_and_listed_ones_do_not():
    """Where actions are continuous, ``exact`` is only as free of the policy as its candidates are."""
    module, _ = hetrl.load("omdpg", "task.n_agents=2", "task.n_envs=1").build()
    first, second = module.linked.team.agents
    shared = module.linked.nets["actor"].of((first,))
    assert shared is module.linked.nets["actor"].of((second,))
    game = Game("quadratic", 2, 0)
    seen, noise = torch.randn(N_ROWS, first.observation_size), torch.randn(N_ROWS, 4, 2)
    game.turns = (torch.zeros(N_ROWS).long(), torch.ones(N_ROWS).long())
    taken = torch.randn(N_ROWS, 2).double()
    listed = torch.randn(N_ROWS, 4, 2).double()

    @torch.no_grad()
    def look(candidates):
        game.candidates = (candidates, candidates)
        game.proposal = (taken, listed[:, 0])
        return game.phi(0, completion="exact")

    @torch.no_grad()
    def drawn():
        return shared.candidates(seen, noise)["candidates"].double()

    before = look(listed), look(drawn())
    with torch.no_grad():
        next(iter(reversed(list(shared.parameters())))).add_(0.3)  # the first agent's turn: the last bias
    assert torch.equal(look(listed), before[0])
    assert not torch.equal(look(drawn()), before[1])


def test_too_many_options_are_refused_before_the_run():
    text = (
        r"^update.actors.steps\[.\] \(estimate/optimal_marginal_q\): completion: exact would try 6561 .* limit is 4096"
    )
    overrides = ("task.n_agents=4", "update.actors.steps.optimal_marginal_q.completion=exact")
    recipe = hetrl.load("omdpg_discrete", *overrides)
    with pytest.raises(RecipeError, match=text):
        recipe.build()
    enough = "update.actors.steps.optimal_marginal_q.limit=7000"
    hetrl.load("omdpg_discrete", *overrides, enough).build()
