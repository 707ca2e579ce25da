import pytest
import torch
from scipy.stats import chi2

from hetrl.errors import RecipeError
from hetrl.net.utility import Utility
from hetrl.team import Agent, Discrete, Team

SEEN = torch.zeros(1, 1)


def utility(*values, **arguments):
    """Return a net whose choices have options of these utilities, whatever is observed."""
    agent = Agent("a", "agents", 0, 1, Discrete(tuple(map(len, values))), "agents")
    net = Utility(agent, Team((agent,), 1), hidden=[], **arguments)
    with torch.no_grad():
        net.body[0].weight.zero_()
        net.body[0].bias.copy_(torch.tensor([value for each in values for value in each]))
    return net


def shares(net, n, mask=None):
    """Return how often each option of one choice was drawn, of ``n`` draws."""
    noise = net.noise((n,), torch.Generator().manual_seed(0))
    mask = None if mask is None else torch.tensor(mask).expand(n, -1)
    return torch.bincount(net.draw(SEEN.expand(n, 1), noise, mask).squeeze(-1), minlength=net.choices[0]) / n


def test_the_value_of_an_action_is_that_of_its_option():
    net = utility([1.0, 3.0, -2.0])
    assert net.all(SEEN)["utility"].tolist() == [[1.0, 3.0, -2.0]]
    assert net.chosen(SEEN, torch.tensor([[1]]))["utility"].tolist() == [3.0]
    assert net.chosen(SEEN, torch.tensor([[0.0, 0.0, 1.0]]))["utility"].tolist() == [-2.0]


def test_several_choices_add_up():
    """Options of 1 and 3, and of 10, 20 and 40: the second and the first are worth 13, the best 43."""
    net = utility([1.0, 3.0], [10.0, 20.0, 40.0])
    assert net.chosen(SEEN, torch.tensor([[1, 0]]))["utility"].tolist() == [13.0]
    best = net.act(SEEN)["proposal"]
    assert best.tolist() == [[0.0, 1.0, 0.0, 0.0, 1.0]]
    assert net.chosen(SEEN, best)["utility"].tolist() == [43.0]


def test_masks_come_before_the_best():
    """Of 1, 3 and 2 without the second, the third; where one option is left, such as of the dead, that one."""
    net = utility([1.0, 3.0, 2.0])
    for mask, wanted in (([True, False, True], 2), ([True, False, False], 0), ([True, True, True], 1)):
        mask = torch.tensor([mask])
        assert net.greedy(SEEN, mask).tolist() == [[wanted]]
        assert net.act(SEEN, mask)["proposal"].argmax(-1).tolist() == [wanted]
        assert net.draw(SEEN, torch.full((1, 4), 0.5), mask).tolist() == [[wanted]]  # above epsilon


def test_without_exploration_it_is_greedy_and_with_nothing_else_uniform():
    """Exactly so at the ends: no draw is below 0, every one below 1."""
    assert shares(utility([1.0, 3.0, 2.0], epsilon=0.0), 10_000).tolist() == [0.0, 1.0, 0.0]
    n = 60_000
    found = shares(utility([1.0, 300.0, 2.0], epsilon=1.0), n)
    assert ((found - 1 / 3).square() * 3 * n).sum() < chi2.ppf(0.999, 2)


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_explores_as_often_as_it_says(epsilon):
    """The best of three: 1 - 2/3 epsilon. Of two that a mask leaves: 1 - epsilon / 2."""
    n, net = 60_000, utility([1.0, 3.0, 2.0], epsilon=epsilon)
    for mask, wanted in (
        (None, [epsilon / 3, 1 - epsilon * 2 / 3, epsilon / 3]),
        ([True, False, True], [epsilon / 2, 0.0, 1 - epsilon / 2]),
    ):
        found, wanted = shares(net, n, mask), torch.tensor(wanted)
        assert (found[wanted == 0] == 0).all()
        found, wanted = found[wanted > 0], wanted[wanted > 0]
        assert ((found - wanted).square() / wanted * n).sum() < chi2.ppf(0.999, len(wanted) - 1)


def test_all_choices_of_an_agent_explore_together():
    """One draw says whether, so that 1 - epsilon is the share of what is best as a whole."""
    n, net = 40_000, utility([0.0, 1.0], [0.0, 0.0, 0.0, 1.0], epsilon=0.5)
    action = net.draw(SEEN.expand(n, 1), net.noise((n,), torch.Generator().manual_seed(0)))
    best = (action == torch.tensor([1, 3])).all(-1).float().mean().item()
    assert best == pytest.approx(0.5 + 0.5 / 8, abs=0.01)


def test_the_noise_is_a_draw_more_than_options():
    assert utility([0.0, 1.0], [0.0] * 4).noise((3, 2), torch.Generator()).shape == (3, 2, 7)


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, {"linear": [1.0, -0.1]}])
def test_refuses_what_is_no_share(epsilon):
    with pytest.raises(RecipeError, match=r"^Utility: epsilon = "):
        utility([0.0], epsilon=epsilon)
