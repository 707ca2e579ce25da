"""Runs of one comparison train on one kind of device; paces are given, and a GPU is said to be here."""

import io
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

import hetrl
from hetrl.engine.device import Chosen
from hetrl.runs import one_device as module
from hetrl.runs import seeds
from hetrl.runs.one_device import one_device
from hetrl.runs.place import RunPlace
from hetrl.runs.seeds import train_seeds

RECIPES = {"a": hetrl.load("happo"), "b": hetrl.load("hasac"), "c": hetrl.load("happo", "run.device=cuda:1")}


@pytest.fixture
def measured(monkeypatch):
    """Let recipes be quicker on some devices; returns which were measured."""
    asked = []

    def choose(**kinds):
        def placed(recipe):
            asked.append(recipe.name)
            return Chosen(torch.device(kinds[recipe.name]), f"{recipe.name} is quicker there.")

        monkeypatch.setattr(module, "placed", placed)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        return asked

    return choose


def decided(recipes, runs=(), place="local"):
    """Return the devices that were decided, and what was said."""
    said = io.StringIO()
    words = {"time": 60} if place == "slurm" else {}
    given = SimpleNamespace(name=place, words=words)
    found = one_device(recipes, runs, given, Console(file=said, width=200))
    return {name: recipe.run.device for name, recipe in found.items()}, said.getvalue().strip()


@pytest.mark.parametrize(
    ("kinds", "device", "why"),
    [
        ({"happo": "cpu", "hasac": "cpu"}, "cpu", "happo is quicker there. All runs train there."),
        ({"happo": "cpu", "hasac": "cuda"}, "cuda", "hasac is quicker there. All runs train there."),
        ({"happo": "cuda", "hasac": "cuda"}, "cuda", "happo is quicker there. All runs train there."),
    ],
)
def test_all_take_the_gpu_where_any_is_quicker_on_it(measured, kinds, device, why):
    asked = measured(**kinds)
    assert decided(RECIPES) == ({"a": device, "b": device, "c": "cuda:1"}, why)
    assert asked == ["happo", "hasac"]  # each once; who names a device is not asked


def test_nobody_decides_for_a_cluster_or_without_a_gpu(measured, monkeypatch):
    asked, auto = measured(), {"a": RECIPES["a"]}
    assert decided(auto, place="slurm") == ({"a": "auto"}, "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert decided(auto) == ({"a": "auto"}, "") and not asked


def test_new_runs_join_those_that_have_begun(measured, monkeypatch, tmp_path):
    asked = measured()
    monkeypatch.setattr(module.Folder, "frames_saved", lambda folder: 40)
    for name, device in (("seed0", "auto"), ("seed1", "cpu")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(hetrl.load("happo", f"run.device={device}").yaml())
    line = "run.device=auto: all runs train on the CPU, as those that have begun."
    assert decided({"a": RECIPES["a"]}, [tmp_path / name for name in ("new", "seed0", "seed1")]) == ({"a": "cpu"}, line)
    assert not asked


def test_seeds_are_started_with_it(measured, monkeypatch, tmp_path, capsys):
    measured(happo="cpu")
    started = []
    monkeypatch.setattr(RunPlace, "refuse_device", lambda place, recipe: None)
    monkeypatch.setattr(seeds, "run_side_by_side", lambda every, *rest: started.extend(each.new for each in every))
    train_seeds(hetrl.load("happo"), 2, tmp_path / "runs")
    assert len(started) == 2 and all("run.device=cpu" in command for command in started)
    assert "happo is quicker there. All runs train there." in capsys.readouterr().out
    assert hetrl.load(tmp_path / "runs" / "seeds.yaml").run.device == "auto"
