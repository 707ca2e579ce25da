import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.estimate.counterfactual_advantage import CounterfactualAdvantage
from hetrl.team import Box, Discrete, Team


def test_by_hand():
    """Probabilities 0.25 and 0.75 of options worth 4 and 8, 7 in the mean: -3 and 1."""
    q = torch.tensor([[4.0, 8.0], [4.0, 8.0]])
    log_prob = torch.tensor([0.25, 0.75]).log().expand(2, 2)
    found = CounterfactualAdvantage().compute(q, log_prob, torch.tensor([[0], [1]]))["advantage"]
    torch.testing.assert_close(found, torch.tensor([-3.0, 1.0]))


def test_its_mean_under_the_policy_is_0():
    generator = torch.Generator().manual_seed(0)
    q, logits = torch.randn(2, 50, 6, generator=generator, dtype=torch.float64) * 10
    log_prob = logits.log_softmax(-1)
    each = [
        CounterfactualAdvantage().compute(q, log_prob, torch.full((50, 1), option))["advantage"] for option in range(6)
    ]
    mean = (log_prob.exp() * torch.stack(each, -1)).sum(-1)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-10)


def test_an_option_that_a_mask_rules_out_counts_for_nothing():
    """Whatever it would be worth."""
    q = torch.tensor([[4.0, 8.0, 1e6]])
    log_prob = torch.tensor([[0.0, 0.0, -1e10]]).log_softmax(-1)
    found = CounterfactualAdvantage().compute(q, log_prob, torch.tensor([[1]]))["advantage"]
    torch.testing.assert_close(found, torch.tensor([2.0]))


@pytest.mark.parametrize(
    ("action", "words"), [(Box((-1.0,), (1.0,)), r"continuous\[1\]"), (Discrete((2, 3)), r"discrete\[2, 3\]")]
)
def test_who_does_not_make_one_choice_is_refused(action, words):
    message = rf"^agent 'two' acts by {words}, and the options of one discrete choice are listed; use a task whose "
    with pytest.raises(RecipeError, match=message):
        CounterfactualAdvantage.check_team({}, Team.of(["one", "two"], [3, 3], [Discrete((2,)), action]))
