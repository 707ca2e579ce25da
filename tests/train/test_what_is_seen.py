"""Runs on images, on entities, and on standardised observations: what is stored, read, trained, and continued."""

from dataclasses import replace

import lightning as L
import numpy as np
import pytest
import torch
from env.bars import Bars
from lightning.pytorch.callbacks import ModelCheckpoint

import hetrl
from hetrl import catalog
from hetrl.engine.statistics import Statistics
from hetrl.errors import RunError
from hetrl.team import STATE
from hetrl.testing.compiling import for_compiling
from hetrl.train.inherit import inherit

QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
         "log_every_n_steps": 1, "max_epochs": 1}  # fmt: skip
EYE = "{use: net/convolutional, filters: [4, 4], kernels: [3, 2], strides: [2, 1], size: 8}"
TASK = "task={use: env/my.bars, side: 6, n_envs: 4, horizon: 5, eyes: 2, others: 1}"
ACTOR = "nets.actor={use: net/categorical_policy, hidden: [8]}"
ON_POLICY = [TASK, ACTOR, "data.frames=40", "run.frames=120", "run.device=cpu", "nets.value.hidden=[8]",
             "run.eval_every=null"]  # fmt: skip
EYES = [f"nets.actor.encoder={EYE}", f"nets.value.encoder={EYE}"]
REPLAY = [TASK, ACTOR, "data.capacity=200", "data.batch=8", "data.warmup=20", "data.frames=4", "run.frames=40",
          "run.device=cpu", "nets.q.hidden=[8]", "run.eval_every=null"]  # fmt: skip
SCALED = "task={use: env/my.bars, eyes: 0, others: 3, scale: 1000, n_envs: 4, horizon: 5, normalize_observations: true}"


@pytest.fixture(autouse=True)
def bars(monkeypatch):
    monkeypatch.setitem(catalog.REGISTERED, "env/my.bars", Bars)


def fitted(recipe, *overrides, **trainer):
    module, data = hetrl.load(recipe, *overrides).build()
    L.Trainer(**{"enable_checkpointing": False, **QUIET, **trainer}).fit(module, data)
    return module, data


def weights(module):
    return {name: value.clone() for name, value in module.named_parameters()}


# ----- images


@pytest.mark.parametrize("per", ["agent", "group"])
def test_images_are_bytes_until_a_network_reads_them(per):
    """A rollout holds a byte for each number of an image and four for others, and both nets are trained."""
    module, data = hetrl.load("happo", *ON_POLICY, *EYES, f"nets.actor.per={per}").build()
    batch = data.source.rollout()
    for place in (batch, batch["next"]):
        assert (place["eye", "observation"].dtype, place["other", "observation"].dtype) == (torch.uint8, torch.float32)
    assert batch["eye", "observation"].nbytes == 40 * 2 * 36
    assert batch["state"].dtype == torch.float32  # numbers stand beside the images: these count from 0 to 1
    assert 0.5 < batch["state"][..., :36].max() <= 1
    before = weights(module)
    L.Trainer(enable_checkpointing=False, **QUIET).fit(module, data)
    moved = {name for name, value in module.named_parameters() if not torch.equal(value, before[name])}
    eyes = {name for name in before if "convolutions" in name}
    assert len(eyes) > 4 and eyes <= moved


def test_replay_stores_images_as_bytes_a_quarter_of_the_numbers():
    only = ["task.others=0", f"nets.actor.encoder={EYE}", f"nets.q.encoder={EYE}"]
    module, data = fitted("hasac", *REPLAY, *only)
    stored = data.source.ring.leaves()
    kept = [value for key, value in stored.items() if key[-1] == "observation"]
    assert [value.dtype for value in kept] == [torch.uint8] * 2
    assert sum(value.nbytes for value in kept) == 2 * 40 * 2 * 36  # before and after, rows, agents, pixels
    sample = data.source.sample()
    assert sample["state"].dtype == torch.uint8 and module.iteration > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_a_compiled_run_on_images_and_standardised_numbers_is_the_run():
    words = [*ON_POLICY, *EYES, "task.normalize_observations=true"]
    plain, _ = fitted("happo", *words)
    with for_compiling():  # checks of shapes would break the graph
        graph, _ = fitted("happo", *words, "run.compile=true")
    for name, value in plain.named_parameters():
        torch.testing.assert_close(graph.get_parameter(name), value, rtol=1e-3, atol=1e-4)


def test_recurrent_nets_see_images_too():
    nets = [f"nets.actor={{use: net/recurrent_policy, hidden: [8], memory: 6, chunk: 5, encoder: {EYE}}}",
            f"nets.value={{use: net/recurrent_value, hidden: [8], memory: 4, chunk: 5, encoder: {EYE}}}"]  # fmt: skip
    module, _ = fitted("happo", *ON_POLICY, *nets, "update.actors.minibatches=2")
    assert module.iteration == 3


def test_entities_train():
    encoder = "{use: net/entities, own: 1, entity: 1, hidden: [8], size: 8}"
    module, _ = fitted("happo", *ON_POLICY, "task.eyes=0", "task.others=2", f"nets.actor.encoder={encoder}",
                       "nets.value.encoder={use: net/entities, own: 1, entity: 1, size: 8, pool: mean}")  # fmt: skip
    assert module.frames == 120


@pytest.mark.slow
def test_pictures_are_told_apart_by_who_looks():
    """Who does not look earns 1/2; with convolutions nine in ten are right."""
    eye = "{use: net/convolutional, filters: [8, 16], kernels: [3, 3], strides: [1, 2], size: 32}"
    module, _ = fitted(
        "happo", "task={use: env/my.bars, n_envs: 64, horizon: 8}", "data.frames=1024", "run.frames=51_200",
        "run.eval_every=51_200", "nets.actor={use: net/categorical_policy, per: group, hidden: [64]}",
        f"nets.actor.encoder={eye}", f"nets.value.encoder={eye}",
    )  # fmt: skip
    assert module.metrics["eval/return"] > 0.9 * 8


# ----- standardised observations


class Recorded:
    """Keeps what statistics are told, beside telling them."""

    def __init__(self, monkeypatch):
        self.rows = []
        watch = Statistics.watch
        monkeypatch.setattr(Statistics, "watch", lambda own, *seen: self.rows.append(seen) or watch(own, *seen))

    def of(self, group):
        """Return all rows of a group, as numpy has them."""
        kept = [
            seen[group][active[group]] if group in active else seen[group].flatten(0, -2) for seen, active in self.rows
        ]
        return torch.cat(kept).double().numpy()


TASKS = {
    "happo": [*ON_POLICY, SCALED],
    "hasac": [*REPLAY, SCALED],
    "masks": [*ON_POLICY, "nets.actor={use: net/mixed_policy, hidden: [8]}",
              "task={use: env/cue_game, leave: 0.3, n_envs: 4, normalize_observations: true}"],
    "recurrent": [*ON_POLICY, SCALED, "nets.actor={use: net/recurrent_policy, hidden: [8], memory: 6, chunk: 5}",
                  "nets.value={use: net/recurrent_value, hidden: [8], memory: 4, chunk: 5}",
                  "update.actors.minibatches=1"],
    "mujoco": [*ON_POLICY, "nets.actor={use: net/gaussian_policy, hidden: [8]}",
               "task={use: env/mamujoco, robot: Reacher, parts: 2x1, n_envs: 4, normalize_observations: true}"],
}  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_statistics_are_of_all_that_was_acted_on(name, monkeypatch):
    """Each collection's observations once, of those who took part; the last collection's as well."""
    recorded = Recorded(monkeypatch)
    module, _data = fitted(name if name in ("happo", "hasac") else "happo", *TASKS[name])
    statistics = module.linked.statistics
    for group, agents in module.linked.team.layout.items():
        rows = recorded.of(group)
        if name != "masks":
            assert len(rows) == module.frames * len(agents)
        mean, deviation, _ = statistics.of(agents[0])
        np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(deviation, np.sqrt(rows.var(0) + 1e-8), rtol=1e-4)
    assert not statistics.watched and module.iteration > 0


class Owned(Bars):
    """Pictures aside: the environment's state is how many steps an episode has, and a number of a thousand."""

    def _make_specs(self):
        self.team = replace(self.team, state_size=2, state_shape=(2,), state_dtype=torch.float32)
        super()._make_specs()

    def _look(self):
        self._observation = {**super()._look(), STATE: torch.stack([self._steps, self._steps * 1000], -1).float()}
        return self._observation


@pytest.mark.parametrize("name", ["happo", "hasac"])
def test_a_state_of_the_environments_own_is_standardised_by_its_own_statistics(name, monkeypatch):
    monkeypatch.setitem(catalog.REGISTERED, "env/my.bars", Owned)
    recorded = Recorded(monkeypatch)
    module, _ = fitted(name, *TASKS[name])
    rows = torch.cat([seen[STATE].flatten(0, -2) for seen, _ in recorded.rows]).double()
    assert len(rows) == module.frames and rows[:, 1].std() > 1000
    found = module.linked.statistics.standardized_state(rows.float())
    wanted = (rows - rows.mean(0)) / rows.std(0, correction=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_first_collection_tells_how_numbers_are_spread_and_nothing_is_trained_on_it():
    module, data = hetrl.load("happo", *ON_POLICY, SCALED).build()
    before = weights(module)
    L.Trainer(enable_checkpointing=False, limit_train_batches=1, **QUIET).fit(module, data)
    assert (module.frames, module.iteration) == (40, 0)
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters())
    _mean, deviation, _ = module.linked.statistics.of(module.linked.team.agents[0])
    assert deviation[1:].min() > 500 and module.linked.statistics.begun


def test_ratios_are_1_before_the_first_step():
    """Acting, what an update keeps of it, and its first step read with the same statistics."""
    module, data = hetrl.load("happo", *ON_POLICY, SCALED, "run.frames=40").build()
    L.Trainer(enable_checkpointing=False, **QUIET).fit(module, data)
    source = data.source
    batch = source.rollout()
    for agent in module.linked.team.agents:
        seen, action = (batch[agent.group, word][:, :, agent.index] for word in ("observation", "action"))
        policy = module.linked.policy((agent,))
        acted = policy.log_prob(seen, action)["log_prob"]
        plain = policy.net.log_prob(module.linked.statistics.standardized(agent.group, seen), action)["log_prob"]
        assert torch.equal(acted, plain)


@pytest.mark.filterwarnings("ignore:.*no pre-optimization state.*", "ignore:.*exists and is not empty.*")
@pytest.mark.parametrize(("recipe", "sizes"), [("happo", [*ON_POLICY, SCALED]), ("hasac", [*REPLAY, SCALED])])
def test_a_resumed_run_goes_on_with_the_same_statistics_bit_for_bit(recipe, sizes, tmp_path):
    whole, _ = fitted(recipe, *sizes)
    saver = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=1)
    fitted(recipe, *sizes, limit_train_batches=2, callbacks=[saver], enable_checkpointing=True)
    module, data = hetrl.load(recipe, *sizes).build()
    again = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=1)
    trainer = L.Trainer(callbacks=[again], **QUIET)
    trainer.fit(module, data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert list(whole.state_dict()) == list(module.state_dict())
    for name, value in whole.state_dict().items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, module.state_dict()[name]), name


def test_evaluation_changes_no_statistics():
    module, _ = hetrl.load("happo", *ON_POLICY, SCALED, "run.eval_every=40").build()
    before = {name: value.clone() for name, value in module.linked.statistics.state_dict().items()}
    module.evaluation.run()
    assert not module.linked.statistics.watched
    assert all(torch.equal(value, before[name]) for name, value in module.linked.statistics.state_dict().items())


def test_a_source_that_does_not_tell_what_was_seen_is_named(monkeypatch):
    monkeypatch.setattr(Statistics, "watch", lambda *seen: None)
    with pytest.raises(
        RunError, match=r"^task.normalize_observations: data/on_policy does not tell what was seen; its "
    ):
        fitted("happo", *ON_POLICY, SCALED)


@pytest.mark.slow
def test_badly_scaled_numbers_are_learned_with_the_word_and_not_without():
    """An answer of 1 or -1 beside noise of a thousand: all are right with the word, and half of them without."""

    def earned(word):
        module, _ = fitted(
            "happo", f"task={{use: env/my.bars, eyes: 0, others: 2, scale: 1000, n_envs: 64, horizon: 8, {word}}}",
            "data.frames=1024", "run.frames=20_480", "run.eval_every=20_480",
            "nets.actor={use: net/categorical_policy, hidden: [64]}",
        )  # fmt: skip
        return module.metrics["eval/return"] / 8

    assert earned("normalize_observations: true") > 0.95
    assert earned("normalize_observations: false") < 0.7


def test_weights_come_with_the_statistics_that_they_were_trained_with():
    """Starting from another run's weights; where only one of the two is standardised, nothing fits."""
    trained, _ = fitted("happo", *ON_POLICY, SCALED)
    saved = {"state_dict": trained.state_dict(), "optimizer_states": []}
    module, _ = hetrl.load("happo", *ON_POLICY, SCALED).build()
    assert "statistics of observations: loaded" in list(inherit(module, saved, trained.recipe.tree).lines())
    for name, value in trained.linked.statistics.state_dict().items():
        assert torch.equal(module.linked.statistics.state_dict()[name], value)
    plain, _ = hetrl.load("happo", *ON_POLICY, SCALED.replace("true", "false")).build()
    with pytest.raises(RunError, match="do not fit"):
        inherit(plain, saved, trained.recipe.tree)
