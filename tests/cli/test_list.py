"""``hetrl list``: grouped, a line each, names whole."""

import inspect
import re

import pytest

from hetrl import catalog
from hetrl.cli import completion, listing
from hetrl.cli.lines import fitted, lines
from hetrl.recipe.read import load
from hetrl.recipe.shipped import about, shipped


@pytest.mark.parametrize("wide", [40, 60, 80, 120])
def test_a_line_each_and_no_name_cut(wide):
    for kind in listing.GROUPS:
        rows = list(listing._rows(kind, {}))
        found = list(lines(rows, wide))
        assert len(found) == len(rows)
        for line, (name, said) in zip(found, rows, strict=True):
            assert line.split()[0] == name and len(line) <= max(wide, len(name) + 2)
            shown = line.strip().removeprefix(name).strip()
            assert said.startswith(shown.removesuffix(" ...")) and (not shown or said == shown or shown[-1] in ".!?")


def test_what_does_not_fit_ends_with_a_sentence_or_a_word():
    text = "HAPPO without the clip. Zhong et al. 2024, JMLR 25, 23-0488."
    assert fitted(text, None) == fitted(text, len(text)) == text
    assert fitted(text, 40) == "HAPPO without the clip."
    assert fitted(text, 22) == "HAPPO without the ..."
    assert fitted(text, 11) == ""


@pytest.mark.parametrize("name", catalog.BUILT_IN)
def test_a_summary_is_read_from_the_file(name):
    entry = catalog.resolve(name)
    assert catalog.summary(name) == (inspect.getdoc(entry) or "").split("\n")[0] != ""
    assert catalog.lists_tasks(name) == hasattr(entry, "catalogue")


def test_what_a_recipe_says_of_itself():
    for name, file in shipped().items():
        assert about(file)
        if not name.startswith("task/"):
            assert about(file) == " ".join(load(name).about.split())


def test_every_group_is_there(capsys):
    listing.list_()
    printed = capsys.readouterr().out
    for title in listing.GROUPS.values():
        assert f"{title}\n" in printed
    assert not re.search(r"\S$\n^\S.*\n^  ", printed.split("\n", 1)[1], re.MULTILINE)  # an empty line above each
    assert "  task/gate" in printed and "Tasks of environments: hetrl list battle" in printed


def test_completion_follows_a_recipe_into_its_words(monkeypatch, tmp_path):
    class Context:
        params = {"recipe": "happo"}

    def words(text):
        return completion.overrides(Context(), text)

    assert words("upd") == ["update.estimate.", "update.actors.", "update.critic."]
    assert words("update.actors.steps.clip") == ["update.actors.steps.clipped_surrogate.use=loss/clipped_surrogate",
                                                 "update.actors.steps.clipped_surrogate.clip=0.2"]  # fmt: skip
    assert words("nets.actor.hid") == ["nets.actor.hidden="]  # brackets are a shell's own
    assert words("task=task/vmas_b") == ["task=task/vmas_balance", "task=task/vmas_balance_gpu"]
    assert words("nothing") == []
    for word in words("update.actors.op") + words("run."):
        if not word.endswith((".", "=")):
            load("happo", word)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "none").mkdir()
    (tmp_path / "runs" / "one" / "recipe.yaml").touch()
    (tmp_path / "mine.yaml").write_text("- no recipe")
    assert completion.runs("") == completion.runs("runs/o") == ["runs/one"] and completion.runs("/no/such") == []
    assert completion.recipes("mi") == ["mine.yaml"]
    Context.params = {"recipe": "mine.yaml"}
    assert words("task") == []
