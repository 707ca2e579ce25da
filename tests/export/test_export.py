"""Policies as files: they act as the policies do, without torch and hetrl, and nothing wrong is left behind."""

import hashlib
import importlib.util
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_kinds import KINDS, played, run_of, untrained

import hetrl
from hetrl import catalog
from hetrl.acting.policies import Policies
from hetrl.encoder import Encoding
from hetrl.engine.reading import Lenses
from hetrl.errors import DependencyError, RunError
from hetrl.export import export as exporting
from hetrl.export.formats import FORMATS, Torch
from hetrl.export.function import PolicyFunction, apart
from hetrl.net.categorical_policy import CategoricalPolicy
from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.network import Policy
from hetrl.team import Box, Discrete, Listing, Team

PLAYER = Path(__file__).parent / "player.py"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def onnx():
    """Skip where the extra is not installed."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)


class Elsewhere:
    """Acts by way of an exported folder in another process."""

    def __init__(self, folder):
        self._process = subprocess.Popen(
            [sys.executable, str(PLAYER), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(self, seen, masks, ended):
        given = {name: value.numpy() for name, value in seen.items()}
        allowed = {name: value.numpy() for name, value in masks.items()}
        pickle.dump((given, allowed, None if ended is None else ended.numpy()), self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def close(self):
        self._process.stdin.close()
        code = self._process.wait(timeout=60)
        self._process.stdout.close()
        return code


@pytest.mark.parametrize("kind", KINDS)
def test_played_without_torch_it_returns_what_the_evaluation_does(kind, tmp_path):
    onnx()
    run = run_of(kind)
    written = run.export(tmp_path / "deploy")
    assert set(written.agents) == set(run.policies()) and max(written.apart.values()) <= 1e-5
    act = Elsewhere(written.path)
    found = played(run, act)
    assert act.close() == 0
    torch.testing.assert_close(found, run.evaluate().returns, rtol=1e-4, atol=1e-4)


def play_of(folder):
    """Return the module ``play.py`` of an exported folder."""
    spec = importlib.util.spec_from_file_location("play", folder / "play.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["mixed", "recurrent", "diffusion"])
def test_as_a_program_of_torch_it_acts_alike(kind, tmp_path):
    run = run_of(kind)
    written = run.export(tmp_path / "deploy", format="torch")
    players, policies = play_of(written.path).Players(), run.policies()
    for _ in range(3):
        for name, policy in policies.items():
            seen = np.random.randn(4, policy.agent.observation_size)
            np.testing.assert_allclose(players[name](seen), policy(seen), atol=1e-5)
    assert all(file.endswith(".pt2") for file in written.apart)


@pytest.mark.parametrize("kind", ["gaussian", "categorical", "recurrent", "diffusion"])
def test_drawn_actions_take_their_noise_as_an_input(kind, tmp_path):
    """The draws are numpy's: as many, of the same distribution, repeated by a seed."""
    run = run_of(kind)
    written = run.export(tmp_path / "deploy", format="torch", stochastic=True)
    play = play_of(written.path)
    name = next(iter(run.policies()))
    seen = np.repeat(np.random.randn(1, run.policies()[name].agent.observation_size), 4000, 0)
    found = [play.Players(seed=seed)[name](seen) for seed in (0, 0, 1)]
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])
    drawn = run.policies(stochastic=True)[name](seen)
    np.testing.assert_allclose(found[0].mean(0), drawn.mean(0), atol=0.08 * max(1, np.abs(drawn).max()))
    np.testing.assert_allclose(found[0].std(0), drawn.std(0), atol=0.08 * max(1, np.abs(drawn).max()))


def test_what_the_description_says(tmp_path):
    run = run_of("recurrent")
    written = run.export(tmp_path / "deploy", format="torch")
    about = json.loads((written.path / "policies.json").read_text())
    assert about["format"] == "torch" and about["actions"] == "deterministic" and about["frames"] == 1
    assert about["recipe"]["sha256"] == hashlib.sha256((run.path / "recipe.yaml").read_bytes()).hexdigest()
    assert about["recipe"]["name"] and about["versions"]["hetrl"]
    assert list(about["agents"]) == ["discrete_0", "discrete_1", "continuous_0"]
    chooser, steerer = (about["policies"][about["agents"][name]["policy"]] for name in ("discrete_0", "continuous_0"))
    assert chooser["inputs"] == {"observation": [4], "memory": [8], "action_mask": [4]}
    assert chooser["outputs"] == ["action", "next_memory"] and chooser["memory"] == 8
    assert chooser["action"] == {"kind": "discrete", "choices": [4]}
    assert steerer["action"] == {"kind": "continuous", "low": [0.0], "high": [1.0]}
    assert chooser["observation"] == {"shape": [4], "dtype": "float32"}
    for each in about["policies"].values():
        assert hashlib.sha256((written.path / each["file"]).read_bytes()).hexdigest() == each["sha256"]


def test_those_who_share_are_one_file(tmp_path):
    written = run_of("shared").export(tmp_path / "deploy", format="torch")
    assert written.agents == {"agent_0": "agents.pt2", "agent_1": "agents.pt2"}
    assert sorted(path.name for path in written.path.iterdir()) == ["agents.pt2", "play.py", "policies.json"]
    assert str(written) == f"{written.path / 'agents.pt2'}  agent_0, agent_1  largest difference 0.0e+00"


def test_a_larger_team_of_a_shared_policy(tmp_path):
    written = run_of("shared").export(tmp_path / "deploy", "task.n_agents=4", format="torch")
    assert len(written.agents) == 4 and list(written.apart) == ["agents.pt2"]


# ----- what is refused


def test_a_file_that_acts_otherwise_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    class Wrong(Torch):
        def load(self, path, function):
            right = super().load(path, function)
            return lambda inputs: {name: value + 2e-5 for name, value in right(inputs).items()}

    monkeypatch.setitem(FORMATS, "torch", Wrong())
    with pytest.raises(RunError, match=r"^agent_0\.pt2 is 2e-05 away from the policy of 'agent_0' .* may be 1e-05; n"):
        run_of("gaussian").export(tmp_path / "deploy", format="torch")
    assert list(tmp_path.iterdir()) == []


def test_another_option_is_as_far_as_can_be_and_nan_is_no_agreement():
    option = {"action": torch.tensor([[1], [2]])}
    assert apart({"action": torch.tensor([[1], [3]])}, option) == 1.0 and apart(option, option) == 0.0
    number = {"action": torch.tensor([[1000.0, 0.5]])}
    assert apart({"action": torch.tensor([[1000.01, 0.5]])}, number) == pytest.approx(1e-5, rel=0.05)
    assert apart({"action": torch.tensor([[float("nan"), 0.5]])}, number) == float("inf")


def test_a_folder_that_is_taken_and_a_format_that_is_not_there(tmp_path):
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"deploy exists and is not empty; export to a new folder\.$"):
        run_of("gaussian").export(tmp_path / "deploy", format="torch")
    with pytest.raises(RunError, match=r"^--format onxx: there is no such format\. Nearest: 'onnx'\.$"):
        run_of("gaussian").export(tmp_path / "other", format="onxx")
    assert [path.name for path in tmp_path.iterdir()] == ["deploy"]
    (tmp_path / "empty").mkdir()
    assert run_of("shared").export(tmp_path / "empty", format="torch").path.is_dir()


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    for package in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, sys)
    with pytest.raises(DependencyError, match=r"^--format onnx needs onnxscript: pip install 'hetrl\[export\]'; or"):
        run_of("gaussian").export(tmp_path / "deploy")
    assert list(tmp_path.iterdir()) == []


def test_a_policy_that_does_not_say_what_it_draws():
    class Silent(GaussianPolicy.__mro__[1]):  # Policy itself
        def greedy(self, observation, action_mask=None):
            return observation

    team = Team.of(["a"], [2], [Box((-1.0, -1.0), (1.0, 1.0))])
    silent = Silent()
    assert isinstance(silent, Policy)
    with pytest.raises(RunError, match=r"^the policy of 'a' \(Silent\) does not say what it draws; set draws = "):
        PolicyFunction(silent, team.agents[0], stochastic=True)
    PolicyFunction(silent, team.agents[0], stochastic=False)


def test_a_policy_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def stuck(self, observation, action_mask=None):
        return self.head(observation)[0] if observation.sum() > 0 else observation[:, :2]

    monkeypatch.setattr(GaussianPolicy, "greedy", stuck)
    with pytest.raises(RunError, match=r"^the policy of 'agent_0' cannot be written as pt2: ") as refused:
        run_of("gaussian").export(tmp_path / "deploy", format="torch")
    assert "\n" not in str(refused.value) and list(tmp_path.iterdir()) == []


# ----- the player


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_of("recurrent").export(tmp_path_factory.mktemp("player") / "deploy", format="torch").path


PLAYED = {
    "size": ("continuous_0", lambda p: p(np.zeros(7)), r"^continuous_0 sees \[2\], and was given \[7\]\.$"),
    "nan": ("continuous_0", lambda p: p(np.full(2, np.nan)), r"an observation that is not finite\.$"),
    "mask": ("continuous_0", lambda p: p(np.zeros(2), [True]), r"^continuous_0 steers, and takes no action_mask\.$"),
    "mask_length": ("discrete_0", lambda p: p(np.zeros(4), [True]), r"^discrete_0 has 4 options in 1 rows; its mask"),
    "all_masked": ("discrete_0", lambda p: p(np.zeros(4), [False] * 4), r"an action_mask that leaves no option\.$"),
    "rows": (
        "discrete_0",
        lambda p: (p.reset(), p(np.zeros((2, 4))), p(np.zeros((3, 4)))),
        r"^discrete_0 remembers 2 rows, and was given 3; reset\(\) it first\.$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLAYED)
def test_what_the_player_refuses(case, folder):
    name, call, text = PLAYED[case]
    with pytest.raises(ValueError, match=text):
        call(play_of(folder).Players()[name])


def test_the_player_names_its_agents(folder):
    with pytest.raises(KeyError, match=r"no agent 'agent_9' here; there are .*discrete_0"):
        play_of(folder).Players()["agent_9"]


def test_the_player_keeps_memories_and_masks(folder):
    player, policy = play_of(folder).Players()["discrete_0"], run_of("recurrent").policies()["discrete_0"]
    mask = np.array([[False, True, False, False], [True, True, True, True]])
    for ended in (None, None, np.array([True, False])):
        if ended is not None:
            player.reset(ended)
            policy.reset(ended)
        seen = np.random.randn(2, 4).astype(np.float32)
        assert np.array_equal(player(seen, mask), policy(seen, mask)) and player(seen, mask)[0] == 1
        policy(seen, mask)
    player.reset()
    assert isinstance(player(np.zeros(4)), np.integer)


def test_the_player_runs_by_itself(folder):
    done = subprocess.run([sys.executable, str(folder / "play.py")], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["discrete_0", "discrete_1", "continuous_0"]


def test_several_choices_and_images(tmp_path):
    """One function for each; the player takes images with their shape or flat, and bytes alone."""
    team = Team.of(["a"], [(2, 3)], [Discrete((3, 2))], dtypes=[torch.uint8])
    net = Lenses.of(team, None).before(CategoricalPolicy(team.agents[0], team, hidden=[8]), team.agents[0])
    function, kind = PolicyFunction(net, team.agents[0], stochastic=False), FORMATS["torch"]
    kind.write(function, tmp_path / "a.pt2")
    assert exporting._tried(function, tmp_path / "a.pt2", kind) == 0.0
    about = {"format": "torch", "agents": {"a": {"policy": "a"}}}
    described = exporting._described(function, team.agents[0], tmp_path / "a.pt2", 0.0)
    (tmp_path / "policies.json").write_text(json.dumps({**about, "policies": {"a": described}}))
    from hetrl.export.play import Players

    player, policy = Players(tmp_path)["a"], Policies(team, lambda lane: net)["a"]
    image = np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3)
    assert player(image).tolist() == player(image.ravel()).tolist() == policy(image).tolist()
    assert player(np.stack([image] * 3), np.array([[0, 0, 1, 1, 0]] * 3)).tolist() == [[2, 0]] * 3
    with pytest.raises(ValueError, match=r"^a sees images, uint8, and was given float64\.$"):
        player(image / 255)
    with pytest.raises(ValueError, match="leaves no option"):
        player(image, [True, True, True, False, False])


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.slow), "torch"])
@pytest.mark.parametrize(
    ("encoder", "arguments", "shape", "dtype"),
    [
        ("net/convolutional", {"filters": [2, 3], "kernels": [3, 3], "strides": [2, 1]}, (12, 12, 3), torch.uint8),
        ("net/entities", {"own": 3, "entity": 2}, (9,), torch.float32),
        ("net/units", {"size": 8}, (9,), torch.float32),
    ],
    ids=["convolutional", "entities", "units"],
)
def test_encoders_are_inside(format, encoder, arguments, shape, dtype, tmp_path):
    if format == "onnx":
        onnx()
    team = Team.of(["a"], [shape], [Discrete((4,))], dtypes=[dtype])
    if encoder == "net/units":
        team = replace(team, agents=(replace(team.agents[0], listings=(Listing("others", 0, 3, 2),)),))
    front = Encoding(catalog.resolve(encoder), arguments)
    net = CategoricalPolicy(team.agents[0], team, hidden=[8], encoder=front)
    function = PolicyFunction(Lenses.of(team, None).before(net, team.agents[0]), team.agents[0], stochastic=False)
    kind = FORMATS[format]
    kind.write(function, tmp_path / f"a{kind.suffix}")
    assert exporting._tried(function, tmp_path / f"a{kind.suffix}", kind) == 0.0


def test_names_of_files_are_letters_and_apart_in_any_case():
    assert exporting._free("agent_0", []) == "agent_0"
    assert exporting._free("left/arm:", ["left_arm_"]) == "left_arm__2"
    assert exporting._free("Ant", ["ant", "ant_2"]) == "Ant_3"


def test_unbounded_actions_are_null_in_the_description(tmp_path):
    inf = float("inf")
    assert exporting._space(Box((-inf, -1.0), (inf, 2.0))) == {
        "kind": "continuous", "low": [None, -1.0], "high": [None, 2.0],
    }  # fmt: skip
    recipe = hetrl.load("happo", *KINDS["gaussian"][1], "nets.actor.std=state_dependent")
    assert untrained(recipe, tmp_path / "run").export(tmp_path / "deploy", format="torch").apart
