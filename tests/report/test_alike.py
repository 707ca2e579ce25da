"""Groups learned from what policies do."""

import pytest
import torch

import hetrl
from hetrl import cli
from hetrl.errors import RunError
from hetrl.report.alike import _acted, _merged, alike, distance
from hetrl.runs.folder import Folder
from hetrl.runs.run import train
from hetrl.team import Box, Discrete
from hetrl.train.checkpoint_file import write

TINY = ["data.frames=28", "run.frames=28", "run.n_eval_episodes=3", "run.eval_every=null", "run.device=cpu",
        "nets.actor.hidden=[]", "nets.value.hidden=[8]"]  # fmt: skip
STEERS = ["task.n_envs=4", "task.horizon=7", "task.scenario=navigation", "task.n_agents=3"]
CHOOSES = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy",
]
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning:vmas")]


def test_distances_by_hand():
    """Ranges 2 and 4: differences of 1 and 1 are 1 and 1/2 halves, sqrt((1 + 1/4) / 2)."""
    box = Box((-1.0, 0.0), (1.0, 4.0))
    one, other = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]])
    assert distance(box, one, other) == pytest.approx(0.625**0.5)
    # total variation 0.5 in the first choice and 1 in the second: 0.75
    one, other = torch.tensor([[0.5, 0.5, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    assert distance(Discrete((2, 2)), one, other) == pytest.approx(0.75)


def test_the_nearest_merge_first_and_by_the_mean_of_their_members():
    """1 and 2 are 0.1 apart; 0 is 0.2 and 0.6 from them, 0.4 in the mean; 3 is far."""
    each = torch.tensor([[0, 0.2, 0.6, 2], [0.2, 0, 0.1, 2], [0.6, 0.1, 0, 2], [2, 2, 2, 0]])
    assert _merged(each, 0.05) == [[0], [1], [2], [3]]
    assert _merged(each, 0.39) == [[0], [1, 2], [3]]
    assert [sorted(group) for group in _merged(each, 0.41)] == [[0, 1, 2], [3]]
    assert len(_merged(each, 2.0)) == 1


def test_what_counts_is_what_the_environment_does_with_it():
    """Means of 2 and 5 are both the end of a box up to 1: the agents do the same."""
    policy = type("Fixed", (), {"greedy": lambda self, seen: seen})()
    acted = [_acted(Box((-1.0,), (1.0,)), policy, torch.tensor([[mean], [0.5]])) for mean in (2.0, 5.0)]
    assert [each.tolist() for each in acted] == [[[1.0], [0.5]]] * 2


def made_alike(folder, *task):
    """A run whose first and third agents have the same weights, and whose second has others."""
    train(hetrl.load("happo", *TINY, *task), folder)
    place = Folder(folder)
    checkpoint = place.load_checkpoint()
    weights = checkpoint["state_dict"]
    names = sorted({name.split(".")[3] for name in weights if name.startswith("linked.nets.actor.")})
    for name in list(weights):
        if name.startswith(f"linked.nets.actor.{names[2]}."):
            weights[name] = weights[name.replace(f".{names[2]}.", f".{names[0]}.")].clone()
        elif name.startswith(f"linked.nets.actor.{names[1]}.") and weights[name].is_floating_point():
            weights[name] = weights[name] + 3.0 * torch.randn_like(weights[name])
    write(checkpoint, place.checkpoint)
    return names


@pytest.mark.parametrize("task", [STEERS, CHOOSES], ids=["steers", "chooses"])
def test_agents_that_act_alike_are_found_and_the_override_works(task, tmp_path, capsys):
    names = made_alike(tmp_path / "run", *task)
    found = alike(tmp_path / "run", 0.05, n_episodes=2)
    assert sorted(found.groups.values()) == [[names[0], names[2]], [names[1]]]
    ((_, each),) = found.distances.values()
    assert each[0, 2] == 0 and each[0, 1] > 0.05 and torch.equal(each, each.T)
    module, _ = hetrl.load("happo", *TINY, *task, "nets.actor.per=group", found.override).build()
    assert len(module.linked.nets["actor"]) == 2
    cli.app(["groups", str(tmp_path / "run"), "--threshold", "0.05"], standalone_mode=False)
    assert found.override in capsys.readouterr().out


def test_a_shared_policy_is_refused(tmp_path):
    train(hetrl.load("happo", *TINY, *CHOOSES, "nets.actor.per=group"), tmp_path / "run")
    with pytest.raises(RunError, match=r"its policies are shared already; train with nets.actor.per=agent"):
        alike(tmp_path / "run", 0.1)
