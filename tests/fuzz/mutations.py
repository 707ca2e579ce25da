"""Structured mutations of a recipe's tree, of its text, and of overrides; a case has one of them, or a few."""

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

from fuzz.values import NUMBERS, WORDS, YAML_TEXTS, entry, odd, odd_word

from hetrl import arguments, catalog
from hetrl.env.scenarios import scenario_arguments, scenarios

Tree = dict[str, Any]
Place = tuple[Any, Any]
"""A mapping or list, and a key or index of it."""


def places(tree: Any) -> list[Place]:
    """Return every place of a tree, outer ones first."""
    found: list[Place] = []
    inner: list[tuple[Any, Any]] = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    for key, value in inner:
        found.append((tree, key))
        if isinstance(value, (dict, list)):
            found += places(value)
    return found


def _place(rng: Random, tree: Tree, wanted: Callable[[Any, Any], bool] = lambda container, key: True) -> Place | None:
    found = [place for place in places(tree) if wanted(*place)]
    return rng.choice(found) if found else None


def drop(rng: Random, tree: Tree, other: Tree) -> None:
    """Leave something out."""
    container, key = _place(rng, tree) or (tree, next(iter(tree)))
    del container[key]


def duplicate(rng: Random, tree: Tree, other: Tree) -> None:
    """Say something twice: an entry of a list again, a word's value under another word."""
    place = _place(rng, tree)
    if place is None:
        return
    container, key = place
    if isinstance(container, list):
        container.insert(rng.randrange(len(container) + 1), deepcopy(container[key]))
    else:
        container[odd_word(rng)] = deepcopy(container[key])


def rename(rng: Random, tree: Tree, other: Tree) -> None:
    """Misspell a word, or take another one."""
    place = _place(rng, tree, lambda container, key: isinstance(container, dict))
    if place is None:
        return
    container, key = place
    word = rng.choice([f"{key}s", str(key)[:-1], str(key)[1:], str(key).upper(), f" {key}", rng.choice(WORDS)])
    container[word if rng.random() < 0.8 else odd_word(rng)] = container.pop(key)


def retype(rng: Random, tree: Tree, other: Tree) -> None:
    """Put an odd value somewhere."""
    place = _place(rng, tree)
    if place is not None:
        place[0][place[1]] = odd(rng)


def number(rng: Random, tree: Tree, other: Tree) -> None:
    """Put another number, or a schedule, where a number is."""
    place = _place(rng, tree, lambda container, key: type(container[key]) in (int, float))
    if place is None:
        return
    container, key = place
    value = container[key]
    near = [-value, value * 10, float(value), value + 0.5, value / 3, str(value), [value], {"linear": [value, 0]}]
    ramp = {"linear": [rng.choice(NUMBERS), rng.choice(NUMBERS)]}
    container[key] = rng.choice([*near, ramp, *NUMBERS])


def swap(rng: Random, tree: Tree, other: Tree) -> None:
    """Swap two values, of anything."""
    first, second = _place(rng, tree), _place(rng, tree)
    if first is not None and second is not None:
        one, two = deepcopy(first[0][first[1]]), deepcopy(second[0][second[1]])
        first[0][first[1]], second[0][second[1]] = two, one


def transplant(rng: Random, tree: Tree, other: Tree) -> None:
    """Take something of another recipe, most often from under the same word."""
    place = _place(rng, tree)
    if place is None:
        return
    container, key = place
    same = _place(rng, other, lambda _, word: word == key) if rng.random() < 0.7 else None
    donor = same or _place(rng, other)
    if donor is not None:
        container[key] = deepcopy(donor[0][donor[1]])


def other_entry(rng: Random, tree: Tree, other: Tree) -> None:
    """Use another entry of the catalog, or another net or mode."""
    place = _place(rng, tree, lambda container, key: key in ("use", "net", "train", "policy", "judge"))
    if place is None:
        return
    container, key = place
    nets = [str(name) for name in tree.get("nets") or {"actor": 0}] if isinstance(tree.get("nets"), dict) else ["actor"]
    modes = ["", ".log_prob", ".sample", ".target.min", ".min", ".target", ".target.target", ".dual", ".forward", "."]
    modes += [".normalize", ".normalized", ".candidates", ".remember", ".__init__", ".parameters"]
    container[key] = entry(rng) if key == "use" else rng.choice(nets) + rng.choice(modes)


def argument(rng: Random, tree: Tree, other: Tree) -> None:
    """Give an entry of the catalog one of its own arguments, with a value that may suit it."""
    place = _place(rng, tree, lambda container, key: key == "use")
    if place is None or str(place[0]["use"]) not in catalog.BUILT_IN:
        return
    known = list(arguments.parameters(catalog.resolve(place[0]["use"]).__init__))
    if place[0]["use"] == "env/vmas":
        scenario = place[0].get("scenario")
        known += scenario_arguments(scenario) or () if isinstance(scenario, str) and scenario in scenarios() else ()
    if known:
        values = [*NUMBERS, [], [1], [8, 8], "relu", "sum", "max", None, odd(rng)]
        place[0][rng.choice(sorted(known))] = rng.choice(values)


def name(rng: Random, tree: Tree, other: Tree) -> None:
    """Call a phase, a net (wherever it is named) or sharing groups something odd."""
    taken = ["items", "keys", "training", "forward", "T_destination", "agents", "x y"]
    word = odd_word(rng) if rng.random() < 0.5 else rng.choice(taken)
    kind = rng.randrange(3)
    if kind == 0:
        place = _place(rng, tree, lambda container, key: key == "phase")
        if place is not None:
            place[0][place[1]] = word
    elif kind == 1 and isinstance(tree.get("task"), dict):
        agents = ["agent_0", "agent_1", "agent_2"]
        cut = rng.randrange(4)
        tree["task"]["groups"] = {word: agents[:cut], odd_word(rng): agents[cut:]}
        for container, key in places(tree):
            if key == "per" and container[key] == "agent":
                container[key] = "group"
    elif isinstance(tree.get("nets"), dict) and tree["nets"]:
        old = rng.choice(list(tree["nets"]))
        tree["nets"] = {word if net == old else net: words for net, words in tree["nets"].items()}
        for container, key in places(tree):
            said = container[key]
            if key in ("net", "train", "policy") and isinstance(said, str) and said.split(".")[0] == old:
                container[key] = word if said == old else f"{word}{said[len(str(old)) :]}"


def keys(rng: Random, tree: Tree, other: Tree) -> None:
    """Bind roles of a step to other keys."""
    place = _place(rng, tree, lambda container, key: isinstance(container, dict) and key in ("use", "net"))
    if place is None:
        return
    roles = ["value", "action", "observation", "advantage", "log_prob", "old_log_prob", "factor", "loss", "q", "target"]
    some = ["agent.log_prob", "agents.action", "next.value", "advantage", "state", "loss.x", "log.x", "agent.x", "turn"]
    bound = {}
    for _ in range(rng.randrange(1, 3)):
        role = rng.choice(roles) if rng.random() < 0.8 else odd_word(rng)
        bound[role] = rng.choice(some) if rng.random() < 0.8 else odd(rng)
    place[0][rng.choice(["keys", "reads", "writes"])] = bound if rng.random() < 0.9 else odd(rng)


def add(rng: Random, tree: Tree, other: Tree) -> None:
    """Say something more."""
    place = _place(rng, tree, lambda container, key: isinstance(container[key], (dict, list)))
    if place is None:
        return
    inner = place[0][place[1]]
    if isinstance(inner, dict):
        inner[odd_word(rng)] = odd(rng)
    else:
        inner.insert(rng.randrange(len(inner) + 1), odd(rng))


def wrap(rng: Random, tree: Tree, other: Tree) -> None:
    """Put a value into a list or mapping, once or many times, or take it out of one."""
    place = _place(rng, tree)
    if place is None:
        return
    container, key = place
    value = container[key]
    if isinstance(value, (dict, list)) and value and rng.random() < 0.4:
        container[key] = next(iter(value.values())) if isinstance(value, dict) else value[0]
        return
    for _ in range(rng.choice([1, 1, 1, 2, 60, 300])):
        value = [value] if rng.random() < 0.5 else {"linear": value}
    container[key] = value


MUTATIONS = {
    drop: 2,
    duplicate: 1,
    rename: 1,
    retype: 2,
    number: 4,
    swap: 1,
    transplant: 4,
    other_entry: 3,
    argument: 6,
    name: 2,
    keys: 3,
    add: 2,
    wrap: 1,
}
"""Mutations, and how often each is chosen."""


def mutated(rng: Random, tree: Tree, other: Tree) -> Tree:
    """Return a copy of a tree with a few changes, most often one."""
    changed = deepcopy(tree)
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
        if changed:
            rng.choices(list(MUTATIONS), list(MUTATIONS.values()))[0](rng, changed, other)
    return changed


def mutated_text(rng: Random, text: str) -> str:
    """Return a recipe's text with some of its lines or letters changed."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        lines = text.split("\n")
        at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
        kind = rng.randrange(8)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(to, lines[at])
        elif kind == 2:
            lines[at], lines[to] = lines[to], lines[at]
        elif kind == 3:
            lines[at] = rng.choice(["  ", " ", "\t", "- ", "# ", "? "]) + lines[at]
        elif kind == 4:
            lines[at] = lines[at].lstrip()
        elif kind == 5:
            lines[at] = lines[at].partition(":")[0] + ": " + rng.choice(YAML_TEXTS)
        elif kind == 6:
            lines = lines[: at + 1]
        else:
            letter = rng.randrange(len(lines[at]) + 1)
            odd_letter = rng.choice(":-[]{}#&*!|>'\"%@`,?\t\x00\x07\u2028é$ ")
            lines[at] = lines[at][:letter] + odd_letter + lines[at][letter:]
        text = "\n".join(lines)
    return text


def override(rng: Random, tree: Tree) -> str:
    """Return an override, most often of a place that there is."""
    here: Any = tree
    words: list[str] = []
    while isinstance(here, (dict, list)) and here and (not words or rng.random() < 0.9):
        if isinstance(here, dict):
            word = rng.choice(list(here))
            here = here[word]
        else:
            index = rng.randrange(len(here))
            entry_ = here[index] if isinstance(here[index], dict) else {}
            titles = [entry_.get(word) for word in ("phase", "use", "net")]
            named = [str(title).split("/")[-1] for title in titles if title]
            word = rng.choice([str(index), *named])
            here = here[index]
        words.append(str(word))
    if rng.random() < 0.1:
        words.insert(rng.randrange(len(words) + 1), str(odd_word(rng)))
    if rng.random() < 0.1:
        words[-1] = str(odd_word(rng))
    plausible = type(here) in (int, float) and rng.random() < 0.6
    value = str(rng.choice(NUMBERS)) if plausible else rng.choice(YAML_TEXTS) if rng.random() < 0.8 else str(odd(rng))
    return ".".join(words) + rng.choice(["=", "=", "=", "=", "=", "=", "=", " = ", "", "=="]) + value
