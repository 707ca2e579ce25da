"""What a file may hold: bounded, of plain words and numbers, and no door to this machine."""

import time

import pytest

from hetrl.errors import RecipeError
from hetrl.recipe.read import load

GOOD = load("happo").yaml()


def refused(text, recipe, *overrides):
    started = time.perf_counter()
    with pytest.raises(RecipeError, match=text) as caught:
        load(recipe, *overrides)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert time.perf_counter() - started < 5


def changed(**words):
    return load("happo").tree | words


@pytest.fixture
def file(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


# ----- resolvers


RESOLVERS = [
    "${oc.env:HOME}",
    "a ${oc.env:HOME} b",
    "${oc.select:run.seed}",
    "${oc.decode:${oc.env:HOME}}",
    "${run.${oc.env:X}}",
    "${oc.${about}:HOME}",
    "${ oc.env:HOME}",
    "${oc.env :HOME}",
    "${${about}}",
    "${run.seed",
    "${",
    r"\${oc.env:HOME}",
]


@pytest.mark.parametrize("text", RESOLVERS)
def test_resolvers_are_refused(text, monkeypatch):
    """A recipe from elsewhere must not read this machine's environment, however it is asked to."""
    monkeypatch.setenv("HOME", "secret")
    refused(r"^about: '.*' asks for a resolver; only plain references such as \$\{run.seed\}", changed(about=text))
    nested = changed()
    nested["update"][0]["steps"][0]["keys"] = {"value": text}
    refused(r"^update\[0\].steps\[0\].keys.value: ", nested)
    nested["update"][0]["steps"][0]["keys"] = {text: "value"}
    refused(r"^a word of update\[0\].steps\[0\].keys: ", nested)


def test_a_resolver_whose_name_is_referred_to(file):
    """The issue's own: no colon before the first closing brace."""
    refused("^about.b: '.*' asks for a resolver", changed(about={"a": "env", "b": "${oc.${about.a}:NAME}"}))
    text = GOOD.replace(load("happo").about, '{a: env, b: "${oc.${about.a}:HOME}"}')
    refused("^mine.yaml, line 2: '.*' asks for a resolver", file(text))
    refused(
        "^override 'about=.*', line 1: '.*' asks for a resolver", "happo", 'about={a: env, b: "${oc.${about.a}:HOME}"}'
    )


def test_a_resolver_put_together_by_references():
    """It would be none now, and one in the run's recipe.yaml."""
    refused("asks for a resolver", changed(about={"a": "$", "b": "${about.a}{oc.env:HOME}"}))


def test_plain_references_are_read():
    tree = changed(about={"a": "${task.n_envs}", "b": "${about.a} and ${update[1].epochs}, ${data}"})
    assert load(tree).tree["about"]["b"].startswith("64 and 5, {'use': ")


# ----- size


def test_small_files_that_would_grow_are_refused_at_once(file):
    double = {"a0": "x" * 20, **{f"a{i}": f"${{about.a{i - 1}}}${{about.a{i - 1}}}" for i in range(1, 19)}}
    refused("^recipe: its references grow to more than 1,000,000 letters", changed(about=double))
    lists = "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    lists += "".join(f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    refused("^mine.yaml: more than 50,000 words and values are too many", file(f"{GOOD}more:\n{lists}"))
    refused("^mine.yaml: more than 1,000,000 letters are too many", file("#" * 2_000_000))
    refused("asks for a resolver", changed(about="${" * 20_000))
    refused("nested too deep", file("about: " + "[" * 1000 + "]" * 1000))
    refused("nested too deep", "happo", "about=" + "[" * 1000 + "]" * 1000)
    deep: list = []
    for _ in range(2000):
        deep = [deep]
    refused("nested too deep", changed(about=deep))


def test_references_in_a_circle_or_a_long_row():
    refused("is one of too many references in a row, or of a circle", changed(about="${about}"))
    refused("is one of too many", changed(about={"a": "${about.b}", "b": "${about.a}"}))
    row = {"a0": "x", **{f"a{i}": f"${{about.a{i - 1}}}" for i in range(1, 3000)}}
    for about in (row, dict(reversed(row.items()))):
        refused("is one of too many", changed(about=about))
    refused("is relative; write the whole path", changed(about={"a": "${..about}"}))
    assert load(changed(about=dict(list(row.items())[:20]))).tree["about"]["a19"] == "x"


# ----- what is not what it looks like


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("run.seed=010", "YAML reads 010 in base 8; write a plain number, or put it in quotes.$"),
        ("run.seed=1:30", "YAML reads 1:30 in base 60; write a plain number"),
        ("run.seed=1:30.5", "YAML reads 1:30.5 in base 60"),
        ("about=2020-01-01", "2020-01-01 is read as a date; put it in quotes.$"),
        ("run.seed=!!int zz", "invalid literal for int"),
        ("run.seed=!!python/name:os.system", "a recipe has no tags, and 'os.system' is one"),
        ("run.seed=!mine 3", "a recipe has no tags, and '!mine' is one; drop it.$"),
        ("about=!!binary aGk=", "a recipe has no tags, and 'binary' is one"),
        ("about=!!set {a, b}", "a recipe has no tags, and 'set' is one"),
        ("task={3: 4}", "the word 3 is no text; put it in quotes, or write a name.$"),
        ("task={on: 4}", "the word on is no text"),
        ("task={null: 4}", "the word null is no text"),
        ("task={[a]: 4}", "a word is no text"),
        ("hetrl=true", "^hetrl: True is no recipe format that this version reads; write hetrl: 2.$"),
        ("hetrl=2.0", "^hetrl: 2.0 is no recipe format"),
    ],
)  # fmt: skip
def test_what_yaml_would_take_for_something_else(override, text, file):
    refused(text, "happo", override)
    assert load("happo", "about='010 and 1:30'", "run.frames=480_000").about == "010 and 1:30"


def test_the_line_is_said(file):
    refused("^mine.yaml, line 2: YAML reads 010 in base 8", file("hetrl: 2\nabout: 010\n"))
    refused("^mine.yaml, line 3: the word yes is no text", file("hetrl: 2\nabout: x\nyes: no\n"))


@pytest.mark.parametrize("recipe", [5, None, 1.5, [], object()])
def test_what_is_no_recipe_at_all(recipe):
    refused("is no recipe; give a name, a YAML file, a mapping, or a recipe.$", recipe)


def test_files_that_are_no_text(file, tmp_path):
    refused(r"^mine.yaml: it is no text \(invalid start byte at byte 0\).$", file(b"\xff\xfe"))
    (tmp_path / "folder.yaml").mkdir()
    refused("there is no recipe file", tmp_path / "folder.yaml")


def test_a_file_that_is_no_recipe_is_not_shown(file):
    """``hetrl check`` must not be a way to read a file that its user may not hand on."""
    secret = "root:x:0:0:root:/root:/bin/bash\ndaemon:*:20228:0:99999:7:::\n"
    with pytest.raises(RecipeError) as caught:
        load(file(secret, "passwd"))
    assert "root" not in str(caught.value) and "daemon" not in str(caught.value)
