"""The list of runs behind the long tables: what is taken, what is refused, and what is drawn."""

import importlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import hetrl
from hetrl.report.curve import frames_as_text
from hetrl.runs.folder import Folder
from hetrl.runs.lock import sole_writer

ROOT = Path(__file__).parent.parent
BENCHMARK = ROOT / "tests" / "benchmark"
LIST = """\
title: small
labels: {first: First}
columns: {vmas_balance: Balance}
words: [task.n_envs=4, data.frames=40, task.horizon=10, run.eval_every=80, run.n_eval_episodes=2, run.eval_drawn=true]
runs:
  - {recipe: haa2c, name: second, task: task/vmas_balance, seeds: [0], frames: 160, priority: 2, speed: 100}
  - {recipe: haa2c, name: first, task: task/vmas_balance, seeds: [0, 1], frames: 160, priority: 1, speed: 40}
"""
PROBE = {"return": 1.5, "critic/value": 0.25}


@pytest.fixture(scope="module", autouse=True)
def importable():
    """Let the scripts be imported as they import each other."""
    sys.path.insert(0, str(BENCHMARK))
    yield
    sys.path.remove(str(BENCHMARK))
    for name in [name for name in sys.modules if name == "tables" or name.split(".")[0] == "listed"]:
        del sys.modules[name]


def part(name):
    return importlib.import_module(f"listed.{name}")


@pytest.fixture
def wanted(tmp_path):
    """Return a small list."""
    (tmp_path / "small.yaml").write_text(LIST)
    return part("entries").read_list(tmp_path / "small.yaml")


def test_words_that_several_lines_share_are_an_alias(tmp_path):
    first, second = LIST.splitlines()[-2:]
    lines = LIST.replace("runs:", "shared: &shared [run.threads=1, nets.actor.activation=relu]\nruns:")
    lines = lines.replace(first, first[:-1] + ", words: [run.eval_every=40, *shared]}")
    (tmp_path / "small.yaml").write_text(lines.replace(second + "\n", ""))
    (entry,) = part("entries").read_list(tmp_path / "small.yaml").entries
    assert entry.words[-3:] == ("run.eval_every=40", "run.threads=1", "nets.actor.activation=relu")
    assert entry.loaded.run.eval_every == 40


def result(entry, frames=160, values=(1.0, 2.0), **changes):
    """Return results of an entry."""
    points = [
        {"frames": frames * (index + 1) / len(values), "deterministic": value, "drawn": value - 0.5}
        for index, value in enumerate(values)
    ]
    print_ = part("version").fingerprint(entry.loaded)
    whole = {"command": entry.command, "fingerprint": print_, "probe": PROBE, "versions": {"torch": "2.13.0"},
             "machine": "Linux, 2 cores", "speed": 50.0, "points": points} | changes  # fmt: skip
    return part("results").Result(**whole)


def keep(entry, data, **changes):
    """Write results of an entry, and return their file."""
    path = part("results").file_of(entry, data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(result(entry, **changes).text())
    return path


# The list


def test_every_first_seed_of_a_priority_comes_before_its_second(wanted):
    assert [each.name for each in wanted.entries] == [
        "first_vmas_balance_0", "first_vmas_balance_1", "second_vmas_balance_0",
    ]  # fmt: skip
    first = wanted.entries[0]
    assert first.loaded.run.frames == 160 and first.loaded.run.eval_drawn and first.loaded.task.arguments["n_envs"] == 4
    assert first.command.startswith("hetrl train haa2c task=task/vmas_balance task.n_envs=4 ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{recipe: haa2c, task: t, frames: 1, priority: 1, speed: 1}", "lacks seeds"),
        (
            "{recipe: haa2c, task: t, frames: 1, priority: 1, speed: 1, seeds: [0], lr: 1}",
            "'lr' is none of recipe, task",
        ),
        ("{recipe: haa2c, task: t, frames: many, priority: 1, speed: 1, seeds: [0]}", "frames is no int but 'many'"),
        ("{recipe: a, task: t, frames: 1, priority: 1, speed: 1, seeds: [0, 0]}", "a_t_0 stand in it twice"),
    ],
)
def test_a_line_that_is_wrong(tmp_path, line, said):
    (tmp_path / "bad.yaml").write_text(f"title: bad\nruns:\n  - {line}\n")
    with pytest.raises(ValueError, match=re.escape(said)):
        part("entries").read_list(tmp_path / "bad.yaml")


LISTS = sorted((BENCHMARK / "lists").glob("*.yaml"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_run_of_a_list_links(path):
    """For its task, and with what is said of the table: ten episodes, drawn ones beside them."""
    seen = set()
    for entry in part("entries").read_list(path).entries:
        recipe = entry.loaded
        assert (recipe.run.n_eval_episodes, recipe.run.eval_drawn) == (10, True), entry.name
        assert entry.frames % recipe.run.eval_every == 0, f"{entry.name} ends between two evaluations"
        if (entry.recipe, entry.task, entry.words) not in seen:
            hetrl.check(recipe)
            seen.add((entry.recipe, entry.task, entry.words))


# Which results belong together


def test_a_fingerprint_is_of_what_a_result_depends_on():
    fingerprint = part("version").fingerprint
    recipe = hetrl.load("haa2c")
    same = ["about=other", "run.frames=960000", "run.threads=2", "run.device=cpu", "run.checkpoint_every=6400"]
    assert {fingerprint(hetrl.load(recipe, word)) for word in same} == {fingerprint(recipe)}
    other = ["run.seed=1", "run.eval_every=64000", "run.n_eval_episodes=10", "run.eval_drawn=true", "task.n_envs=32",
             "update.actors.epochs=2", "nets.actor.hidden=[64,64]", "data.frames=640"]  # fmt: skip
    found = {fingerprint(hetrl.load(recipe, word)) for word in other}
    assert len(found) == len(other) and fingerprint(recipe) not in found


def test_frames_count_where_a_schedule_runs_by_them():
    fingerprint = part("version").fingerprint
    decayed = hetrl.load("haa2c", "update.actors.optim.lr={linear: [5e-4, 0]}")
    assert fingerprint(decayed) != fingerprint(hetrl.load(decayed, "run.frames=960000"))


def test_a_probe_tells_a_formula_and_repeats_itself(monkeypatch):
    from hetrl.loss.surrogate import Surrogate

    version, recipe = part("version"), hetrl.load("haa2c")
    before = version.probe(recipe)
    assert version.apart(before, version.probe(recipe)) is None
    own = Surrogate.compute
    monkeypatch.setattr(
        Surrogate, "compute", lambda self, *given: {name: 1.02 * value for name, value in own(self, *given).items()}
    )
    assert "surrogate is" in str(version.apart(before, version.probe(recipe)))


def test_probes_may_differ_by_rounding_and_no_more():
    apart = part("version").apart
    assert apart(PROBE, {"return": 1.5001, "critic/value": 0.25001}) is None
    assert apart(PROBE, {"return": 1.5, "critic/value": 0.26}) == "critic/value is 0.26 there and 0.25 here"
    assert apart(PROBE, {"return": 1.5}) == "only one of them logs critic/value"
    assert apart({"gain": 0.0}, {"gain": 1e-6}) is None


# Results


def test_a_file_says_what_it_says(wanted, tmp_path):
    entry = wanted.entries[0]
    path = keep(entry, tmp_path)
    assert path == tmp_path / "small" / "first_vmas_balance_0.csv"
    text = path.read_text()
    assert text.startswith(f"# command: {entry.command}\n# fingerprint: ")
    assert text.endswith("frames,deterministic,drawn\n80,1,0.5\n160,2,1.5\n")
    assert part("results").parse_result(text, "a.csv") == result(entry)


def test_a_file_that_is_none_of_ours(wanted, tmp_path):
    results = part("results")
    text = result(wanted.entries[0]).text()
    with pytest.raises(results.RefusedError, match=r"a.csv does not say its machine; only what tables.py wrote"):
        results.parse_result(text.replace("# machine: Linux, 2 cores\n", ""), "a.csv")
    with pytest.raises(results.RefusedError, match="columns"):
        results.parse_result(text.replace("deterministic", "return"), "a.csv")


def test_results_of_another_recipe_are_refused(wanted, tmp_path):
    keep(wanted.entries[0], tmp_path, fingerprint="0123456789ab")
    keep(wanted.entries[1], tmp_path)
    found, problems = part("results").every_result(wanted, tmp_path)
    assert list(found) == [wanted.entries[1]]
    assert len(problems) == 1 and "first_vmas_balance_0: the results are of another recipe (0123456789ab" in problems[0]


def test_seeds_of_two_versions_are_not_mixed_unless_the_list_says_so(wanted, tmp_path):
    results, other = part("results"), {**PROBE, "critic/value": 0.3}
    keep(wanted.entries[0], tmp_path)
    keep(wanted.entries[1], tmp_path, probe=other)
    keep(wanted.entries[2], tmp_path, probe=other)  # another arm, alone
    found, problems = results.every_result(wanted, tmp_path)
    assert list(found) == [wanted.entries[0], wanted.entries[2]]
    digest = part("version").digest(other)
    assert "critic/value is 0.3 there and 0.25 here" in problems[0] and f"accepted: {{{digest}: why}}" in problems[0]
    agreed = replace(wanted, accepted={digest: "a fresh order of minibatches"})
    assert len(results.every_result(agreed, tmp_path)[0]) == 3


# What is missing


def test_what_is_missing_and_what_it_costs(wanted, tmp_path):
    keep(wanted.entries[0], tmp_path, frames=80, speed=20.0)
    found, _ = part("results").every_result(wanted, tmp_path)
    missing = part("missing").missing(wanted, found)
    # half of the first, the second by the speed measured on the first, and the third by the list's
    assert [(each.frames, each.speed, each.measured) for each in missing] == [
        (80, 20.0, True), (160, 20.0, True), (160, 100.0, False),
    ]  # fmt: skip
    assert [round(each.hours * 3600, 6) for each in missing] == [4.0, 8.0, 1.6]
    lines = part("missing").missing_in_words(wanted, found)
    assert lines[-1].startswith("0 of 3 runs are done") and "by the list" in lines[2] and "by the list" not in lines[1]


# The worker


class Shown:
    """Stands for the board."""

    def add(self, *given):
        pass


def worker(wanted, runs, data, probed=PROBE):
    """Return a worker that trains nothing by itself, and the list of what it says."""
    said = []
    made = part("work").Worker(wanted, runs, data, told=said.append, probed=lambda recipe: probed)
    made._board = Shown()
    return made, said


def test_two_workers_never_take_the_same_run(wanted, tmp_path):
    (one, _), (other, _) = (worker(wanted, tmp_path / "runs", tmp_path / "data") for _ in range(2))
    taken = [next(each.free(wanted.entries)).name for each in (one, other, one)]
    assert taken == [each.name for each in wanted.entries]
    assert list(other.free(wanted.entries)) == []
    one._held["first_vmas_balance_0"][2].close()  # as its death would
    assert next(other.free(wanted.entries)).name == "first_vmas_balance_0"


def test_what_is_done_is_not_taken_and_what_is_half_done_is(wanted, tmp_path):
    keep(wanted.entries[0], tmp_path / "data")
    keep(wanted.entries[1], tmp_path / "data", frames=80)
    one, said = worker(wanted, tmp_path / "runs", tmp_path / "data")
    process = next(one.free(wanted.entries))
    assert process.name == "first_vmas_balance_1" and said == []
    assert process.command[4:8] == ["train", "haa2c", "task=task/vmas_balance", "task.n_envs=4"]
    assert process.on[5:] == ["--resume", str(tmp_path / "runs" / process.name), "run.frames=160"]
    assert json.loads((tmp_path / "runs" / f"{process.name}.probe.json").read_text()) == PROBE


def test_results_of_another_recipe_are_left_alone(wanted, tmp_path):
    path = keep(wanted.entries[0], tmp_path / "data", fingerprint="0123456789ab")
    one, said = worker(wanted, tmp_path / "runs", tmp_path / "data")
    assert next(one.free(wanted.entries)).name == "first_vmas_balance_1"
    assert len(said) == 1 and "of another recipe (0123456789ab" in said[0] and path.exists()


@pytest.mark.slow
def test_a_run_is_interrupted_continued_and_kept(wanted, tmp_path):
    """By real trainings; a run that other code began is refused."""
    runs, data = tmp_path / "runs", tmp_path / "data"
    entry = wanted.entries[0]
    made = part("work").Worker
    short = replace(entry, frames=80)
    made(wanted, runs, data, probed=lambda recipe: PROBE).work([short])
    results = part("results")
    first = results.kept(entry, data)
    assert first.frames == 80 and [set(point) for point in first.points] == [{"frames", "deterministic", "drawn"}] * 2
    said = []
    other = {**PROBE, "return": 2.0}
    made(wanted, runs, data, told=said.append, probed=lambda recipe: other).work([entry])
    assert "than this code (return is 1.5 there and 2 here)" in said[0] and f"move {runs / entry.name} away" in said[0]
    made(wanted, runs, data, seconds=0, probed=lambda recipe: PROBE).work([entry])  # asked to end at once
    made(wanted, runs, data, probed=lambda recipe: PROBE).work([entry])
    whole = results.kept(entry, data)
    assert whole.frames == 160 and whole.points[:2] == first.points and whole.probe == PROBE
    assert Folder(runs / entry.name).frames_saved() == 160 and whole.speed > 0
    with sole_writer(runs / f"{entry.name}.taken"):
        pass  # nobody holds it any more


# What is drawn


def test_the_table_and_the_curves(wanted, tmp_path):
    keep(wanted.entries[0], tmp_path, values=(1.0, 2000.0))
    keep(wanted.entries[1], tmp_path, values=(3.0, 4000.0), frames=80)
    found, _ = part("results").every_result(wanted, tmp_path)
    drawn = part("drawn")
    assert drawn.table(wanted, found).splitlines() == [
        "| | frames | Balance |",
        "|---|---|---|",
        "| First | 160 | 1,501 (1,000, 2,002); drawn 1,500; at 80 |",
        "| second | 160 | not run |",
    ]
    curves = drawn.panels(wanted, found)
    assert list(curves) == ["Balance"] and [(each.name, len(each.series)) for each in curves["Balance"]] == [
        ("First", 2)
    ]
    assert curves["Balance"][0].series[1][0].tolist() == [40, 80]
    assert drawn.block(wanted, found).endswith("\n![small: evaluation return](img/small.png)\n")
    assert "img" not in drawn.block(wanted, {})
    (tmp_path / "docs" / "img").mkdir(parents=True)
    (tmp_path / "docs" / "page.md").write_text("\n".join(drawn.marks("small")))
    page, picture = drawn.draw(wanted, found, tmp_path / "docs")
    assert "1,501" in page.read_text() and picture.stat().st_size > 1000


def test_runs_of_other_lengths_have_a_panel_of_their_own(wanted, tmp_path):
    for entry in wanted.entries:
        keep(entry, tmp_path)
    found, _ = part("results").every_result(wanted, tmp_path)
    longer = [replace(each, frames=2 * each.frames) if each.arm == "first" else each for each in wanted.entries]
    results = dict(zip(longer, (found[each] for each in wanted.entries), strict=True))
    panels = part("drawn").panels(replace(wanted, entries=longer), results)
    assert {title: [each.name for each in curves] for title, curves in panels.items()} == {
        "Balance, 320": ["First"],
        "Balance, 160": ["second"],
    }


def test_the_last_evaluations_are_averaged(wanted):
    drawn = part("drawn")
    assert drawn.figure(result(wanted.entries[0], values=(100, 1, 2, 3, 4, 5)), "deterministic") == 3
    assert drawn.figure(result(wanted.entries[0], points=[{"frames": 1.0, "deterministic": 1.0}]), "drawn") is None


def test_a_page_takes_the_table_where_it_has_a_place_for_it():
    drawn = part("drawn")
    begin, end = drawn.marks("small")
    page = f"# Title\n\n{begin}\nold\n{end}\nafter\n"
    once = drawn.into_page(page, "small", "| new |\n")
    assert once == f"# Title\n\n{begin}\n\n| new |\n\n{end}\nafter\n" == drawn.into_page(once, "small", "| new |\n")
    with pytest.raises(ValueError, match="needs the lines"):
        drawn.into_page("# Title", "small", "")


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_the_documentation_shows_what_is_kept(path):
    """The table in its page is what the files give; nothing that is kept is of another recipe."""
    wanted = part("entries").read_list(path)
    found, problems = part("results").every_result(wanted)
    assert not problems
    drawn = part("drawn")
    pages = [page for page in (ROOT / "docs").rglob("*.md") if drawn.marks(wanted.table)[0] in page.read_text()]
    assert len(pages) == 1
    text = pages[0].read_text()
    assert drawn.into_page(text, wanted.table, drawn.block(wanted, found)) == text, "python tests/benchmark/tables.py"
    known = {f"{each.name}.csv" for each in wanted.entries}
    strays = {file.name for file in (ROOT / "docs" / "data" / wanted.table).glob("*.csv")} - known
    assert not strays, "results that no line of the list is about"
    assert frames_as_text(max(each.frames for each in wanted.entries)) in text
