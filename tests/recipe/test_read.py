"""Reading recipes: sections, words, overrides, references, and what is refused."""

import pytest

import hetrl
from hetrl.errors import RecipeError
from hetrl.recipe.check import check
from hetrl.recipe.plan import acting_net
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.recipe.shipped import shipped

MINIMAL = """
hetrl: 2
task: {use: env/vmas, scenario: balance}
nets:
  actor: {use: net/gaussian_policy}
  value: {use: net/state_value}
data: {use: data/on_policy, frames: 64}
update:
  - phase: critic
    train: value
    optim: {use: optim/adam, lr: 5e-4}
    steps:
      - {net: value}
      - {use: loss/huber_value, reads: {value: value, return_: reward}}
  - phase: estimate
    steps:
      - {use: weight/unit_factor, reads: {advantage: reward}}
      - {use: weight/unit_factor, reads: {advantage: reward}, writes: {factor: again}}
run: {frames: 1000}
"""


def tree(*removed):
    """Return the happo recipe as a fresh tree, without some sections."""
    return {word: value for word, value in load("happo").tree.items() if word not in removed}


def refused(text, *overrides, recipe="happo"):
    with pytest.raises(RecipeError, match=text) as caught:
        load(recipe, *overrides)
    assert "\n" not in str(caught.value)


@pytest.fixture
def file(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


# ----- what is read


def test_a_shipped_recipe_by_name():
    recipe = load("happo")
    assert (recipe.name, [phase.name for phase in recipe.update]) == ("happo", ["estimate", "actors", "critic"])
    assert recipe.about.startswith("HAPPO.")
    assert recipe.update[1].order.name == "order/random_permutation"
    assert recipe.update[0].steps[1].at == "next"


def test_a_file_by_path_and_the_same_as_a_dict(file):
    path = file(MINIMAL)
    assert load(path).name == "mine"
    assert load(str(path)).tree == load(path).tree == load(load(path).tree).tree


def test_a_dict_is_left_as_it_was():
    mine = tree()
    before = repr(mine)
    load(mine, "run.seed=3")
    assert repr(mine) == before


def test_exponents_are_floats(file):
    """Plain YAML 1.1 reads 5e-4 as a text."""
    assert load(file(MINIMAL)).update[0].optim.arguments["lr"] == 5e-4
    assert load("happo", "update.critic.optim.lr=1e-3").update[2].optim.arguments["lr"] == 1e-3


def test_defaults(file):
    recipe = load(file(MINIMAL))
    phase = recipe.update[0]
    assert (phase.order, phase.epochs, phase.minibatches, phase.every, phase.before) == (None, 1, 1, 1, ())
    assert (recipe.run.seed, recipe.run.device, recipe.groups, recipe.nets["value"].per) == (0, "auto", None, None)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_checks(name):
    sizes = ["data.frames=102400"] if name.endswith("_gpu") else []
    recipe = load("mappo", f"task={name}", *sizes) if name.startswith("task/") else load(name)
    check(recipe)


@pytest.mark.parametrize("name", [name for name in shipped() if not name.startswith("task/")])
def test_saved_and_reloaded_it_is_the_same(file, name):
    shown = load(name)
    *_, phase = (phase.name for phase in shown.update if phase.train is not None)
    changes = [f"update.{phase}.optim.lr={{linear: [1e-3, 0.0]}}", f"nets.{acting_net(shown)}.hidden=[16]"]
    recipe = load(name, "run.seed=7", *changes)
    again = load(file(recipe.yaml(), f"{name}.yaml"))
    assert again == recipe


def test_references_are_resolved():
    recipe = load("happo", "run.seed=5", "data.frames=${task.n_envs}00", "run.n_eval_episodes=${run.seed}")
    assert recipe.run.n_eval_episodes == 5
    assert recipe.tree["data"]["frames"] == "6400"  # a text around a reference stays a text, and is refused:
    with pytest.raises(RecipeError, match="data/on_policy: frames = '6400'"):
        check(recipe)


# ----- overrides


def test_overrides_by_phase_step_net_and_index():
    recipe = load(
        "happo",
        "update.actors.epochs=7",
        "update.actors.steps.clipped_surrogate.clip=0.1",
        "update.actors.steps.loss/entropy_bonus.coef=0.5",
        "update.estimate.steps.gae.gamma=0.5",
        "update.2.minibatches=1",
        "update.actors.steps.0.at=next",
    )
    actors = recipe.update[1]
    assert actors.epochs == 7
    assert actors.steps[1].arguments == {"clip": 0.1}
    assert actors.steps[2].arguments == {"coef": 0.5}
    assert actors.steps[0].at == "next"
    assert recipe.update[0].steps[2].arguments["gamma"] == 0.5
    assert recipe.update[2].minibatches == 1


def test_an_override_may_replace_a_whole_entry_or_section():
    recipe = load(
        "happo", "update.actors.order={use: order/fixed, of: agent, order: [2, 0, 1]}", "task=task/vmas_navigation"
    )
    assert recipe.update[1].order.arguments == {"order": [2, 0, 1]}
    assert recipe.task.arguments["scenario"] == "navigation"
    assert load("happo", "update.estimate.steps.0={net: value.value}").update[0].steps[0].net == "value.value"


def test_an_override_may_take_a_word_of_a_phase_away():
    """Without its order, the team is trained at once."""
    phase = load("happo", "update.actors.order=null", "update.actors.prepare=null").phase("actors")
    assert (phase.order, phase.prepare) == (None, ())
    refused("^update.actors.epochs must be a whole number above 0, not None.$", "update.actors.epochs=null")
    refused("^update.actors.steps must be a list, not None.$", "update.actors.steps=null")


def test_an_override_may_drop_a_step_or_a_phase():
    recipe = load("happo", "update.actors.steps.entropy_bonus=null", "update.critic=null")
    assert [step.use for step in recipe.update[1].steps] == [None, "loss/clipped_surrogate"]
    assert [phase.name for phase in recipe.update] == ["estimate", "actors"]
    with pytest.raises(RecipeError, match=r"nothing called 'entropy_bonu' there.*entropy_bonus"):
        load("happo", "update.actors.steps.entropy_bonu=null")


def test_an_override_of_a_dropped_in_task_comes_after_it():
    assert load("happo", "task=task/vmas_balance", "task.n_envs=8").task.arguments["n_envs"] == 8


def test_an_override_may_add_optional_sections():
    assert load("happo", "task.groups.pair=[agent_0, agent_1]", "run.threads=1").groups == {
        "pair": ["agent_0", "agent_1"]
    }
    assert load("happo", "nets.actor.std_map=softplus").nets["actor"].arguments["std_map"] == "softplus"


def test_an_ambiguous_name_in_a_list(file):
    path = file(MINIMAL)
    refused("'update.estimate.steps.unit_factor.at=next': 2 entries called 'unit_factor' there; use its index",
            "update.estimate.steps.unit_factor.at=next", recipe=path)  # fmt: skip
    assert load(path, "update.estimate.steps.1.at=next").update[1].steps[1].at == "next"


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("run.seed", "override 'run.seed': write a.b=value"),
        ("=3", "override '=3': write a.b=value"),
        ("runs.seed=3", "no section 'runs'. Nearest: 'run'."),
        ("update.actor.epochs=3", "nothing called 'actor' there; use its index. Nearest: 'actors'."),
        ("update.7.epochs=3", "nothing called '7' there"),
        ("update.actors.steps.cliped_surrogate.clip=1", "Nearest: 'clipped_surrogate'."),
        ("nets.acter.hidden=[4]", "nothing is called 'acter' there. Nearest: 'actor'."),
        ("run.seed.x=3", "'seed' is a single value"),
        ("run.seed.x.y=3", "'x' is below a single value"),
        ("run..seed=3", "a word is missing between two dots; write a.b=value"),
        (".=3", "a word is missing between two dots; write a.b=value"),
        ("run.seed=[1", "override 'run.seed=\\[1': "),
    ],
)
def test_overrides_that_lead_nowhere(override, text):
    refused(text, override)


# ----- what is refused


def test_unknown_recipes():
    refused("no recipe 'hapo' is shipped, and there is no such file. Nearest: 'happo'.", recipe="hapo")
    refused("there is no recipe file 'nowhere.yaml'", recipe="nowhere.yaml")
    refused(
        "task: no section 'task/vmas_ballance' is shipped. Nearest: 'task/vmas_balance'.", "task=task/vmas_ballance"
    )


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("update.actors.epoch=3", "^update.actors has no 'epoch'. Nearest: 'epochs'.$"),
        ("update.actors.epochs=0", "^update.actors.epochs must be a whole number above 0, not 0.$"),
        ("update.actors.minibatches=1.5", "update.actors.minibatches must be a whole number above 0, not 1.5"),
        ("update.actors.every=true", "update.actors.every must be a whole number above 0, not True"),
        (
            "update.actors.per=agent",
            "^update.actors.per is said by the order now; write order: {use: order/random_permutation, of: agent} in "
            "place of per and order.$",
        ),
        (
            "update.actors.order.of=agents",
            "^update.actors.order needs 'of: agent' or 'of: group', whose turns it puts in "
            "order; 'agents' is neither. Nearest: 'agent'.$",
        ),
        (
            "update.actors.order={use: order/fixed}",
            "^update.actors.order needs 'of: agent' or 'of: group', whose turns it puts in order.$",
        ),
        (
            "update.actors.inactive=skipped",
            "^update.actors.inactive: 'skipped' is not one of skip, count. Nearest: 'skip'",
        ),
        ("update.actors.steps=3", "update.actors.steps must be a list, not 3"),
        ("update.actors.steps=text", "update.actors.steps must be a list, not 'text'"),
        ("update.actors.steps=[3]", r"update.actors.steps\[0\] must be a mapping, not 3"),
        ("update.actors.optim=adam", "update.actors.optim must be a mapping, not 'adam'"),
        ("update.actors.order={order: [0]}", "update.actors.order needs 'use: kind/name'"),
        ("update.actors.steps.0={ues: loss/entropy_bonus}", r"steps\[0\]: a step is either 'use: .*Nearest: 'use'."),
        ("update.actors.steps.0={use: a/b, net: c}", r"update.actors.steps\[0\]: a step is either 'use: kind/name' or"),
        ("update.actors.steps.0.at=before", r"steps\[0\].at: 'before' is not known; the only other time is 'next'"),
        ("update.actors.steps.0.keys=[a]", r"update.actors.steps\[0\].keys must be a mapping"),
        ("update.actors.steps.1={use: null}", r"steps\[1\].use names nothing: None; write 'use: kind/name', or drop"),
        (
            "update.actors.steps.1={use: ''}",
            r"steps\[1\].use names nothing: ''; write 'use: kind/name', or drop the ste",
        ),
        (
            "update.actors.steps.0.net=null",
            r"steps\[0\].net names nothing: None; write 'net: name.mode', or drop the s",
        ),
        (
            "update.actors.steps.0={net: ''}",
            r"steps\[0\].net names nothing: ''; write 'net: name.mode', or drop the st",
        ),
        ("update.actors.steps.0.net=.", r"steps\[0\].net names nothing: '.'; write 'net: name.mode', or drop"),
        ("update.actors.steps.0.net=actor.", r"steps\[0\].net names nothing: 'actor.'; write 'net: name.mode'"),
        ("update.actors.optim={use: null}", "^update.actors.optim needs 'use: kind/name'.$"),
        ("update.actors.optim.use=''", "^update.actors.optim needs 'use: kind/name', not ''.$"),
        ("nets.actor.use=''", "^nets.actor needs 'use: kind/name', not ''.$"),
        (
            "update.actors.steps.0.keys={log_prob: 3}",
            r"steps\[0\].keys.log_prob must be a text, not 3.$",
        ),
        ("update.1={train: actor}", r"^update\[1\] needs 'phase: name'"),
        ("update.1={phas: actors}", r"^update\[1\] needs 'phase: name'. Nearest: 'phas'.$"),
        ("update.1={phase: actors}", "^update.actors has no steps.$"),
        ("update.1.phase=critic", "^update.critic: two phases are called 'critic'; rename one.$"),
        ("nets.actor.per=agents", "nets.actor.per: 'agents' is not one of agent, group, team. Nearest: 'agent'."),
        ("nets.actor=3", "nets.actor must be a mapping, not 3"),
        ("nets=[]", r"nets must be a mapping, not \[\]"),
        ("nets.actor.use=3", "nets.actor needs 'use: kind/name'"),
        ("update={}", "update must be a list, not {}"),
        ("hetrl=3", "^hetrl: 3 is no recipe format that this version reads; write hetrl: 2.$"),
        ("run.frame=3", "^run has no 'frame'. Nearest: 'frames'.$"),
        ("run.frames=0", "^run.frames must be a whole number above 0, not 0.$"),
        ("run.frames=1.5", "^run.frames must be a whole number above 0, not 1.5.$"),
        ("run.frames=many", "^run.frames must be a valid integer, not 'many'.$"),
        ("run.device=gpu", "^run.device: 'gpu' is not one of auto, cpu, cuda."),
        ("run.seed=-1", "^run.seed must be greater than or equal to 0, not -1.$"),
        ("run.compile=1", "^run.compile must be a valid boolean, not 1.$"),
        ("run={}", "^run needs 'frames'.$"),
        ("run.seed=${run.sed}", "^happo: Interpolation key 'run.sed' not found"),
        ("run.seed=???", "^happo: Missing mandatory value: seed"),
        ("task.groups=[a]", "task.groups must be a mapping"),
        ("task.groups={a: agent_0}", "task.groups.a must be a list, not 'agent_0'"),
    ],
)
def test_sections_and_words_of_the_wrong_shape(override, text):
    refused(text, override)


def test_the_format_of_before_is_refused_with_what_to_write(file):
    old = MINIMAL.replace("hetrl: 2", "hetrl: 1").replace(
        "    train: value\n", "    train: value\n    per: group\n    order: {use: order/fixed, order: [1, 0]}\n"
    )
    refused(
        r"^mine: hetrl: 1 is the format of earlier versions; write hetrl: 2, and in phase 'critic' write "
        r"order: {use: order/fixed, of: group, order: \[1, 0\]} in place of per and order.$",
        recipe=file(old),
    )
    refused(r"^mine: hetrl: 1 is the format of earlier versions; write hetrl: 2.$",
            recipe=file(MINIMAL.replace("hetrl: 2", "hetrl: 1")))  # fmt: skip


def test_who_takes_turns_is_said_in_the_words_of_the_file(file):
    old = MINIMAL.replace(
        "    train: value\n", "    train: value\n    per: agent\n    order: {use: order/simultaneous}\n"
    )
    refused(
        r"^update.critic.per is said by the order now; write order: {use: order/simultaneous, of: agent} in place of "
        r"per and order.$",
        recipe=file(old),
    )


@pytest.mark.parametrize("call", [hetrl.check, hetrl.build, lambda each: hetrl.link(each, None)])
@pytest.mark.parametrize(
    ("given", "written"), [("happo", r"hetrl.load\('happo'\)"), ({"hetrl": 2}, r"hetrl.load\({...}\)")]
)
def test_what_takes_a_recipe_takes_one_that_is_loaded(call, given, written):
    with pytest.raises(
        RecipeError, match=rf"^hetrl.\w+ takes a recipe, not a \w+; load it first: hetrl.\w+\({written}"
    ):
        call(given)


@pytest.mark.parametrize("override", [["run.seed=3"], {"run.seed": 3}, 3])
def test_an_override_is_a_text(override):
    refused("^an override is a text, 'run.seed=3', not .*; write several one after the other.$", override)


@pytest.mark.parametrize("part", [lambda recipe: recipe.run, lambda recipe: recipe.update[0],
                                  lambda recipe: recipe.nets["actor"]])  # fmt: skip
def test_a_section_refuses_a_change(part):
    section = part(load("happo"))
    for change in (lambda: setattr(section, "where", 5), lambda: delattr(section, "where")):
        with pytest.raises(
            RecipeError, match=r"^a recipe is its tree, .* make another one: hetrl.load\(recipe, [^\n]*$"
        ):
            change()


def test_unknown_and_missing_sections():
    refused("^recipe has no 'updates'. Nearest: 'update'.$", recipe=tree() | {"updates": []})
    for section in ("hetrl", "task", "nets", "data", "update", "run"):
        refused(f"^recipe: the section '{section}' is missing.$", recipe=tree(section))
    assert load(tree("about")).about == ""


def test_duplicate_keys(file):
    """Plain YAML takes the last one silently."""
    text = MINIMAL.replace("lr: 5e-4}", "lr: 5e-4, lr: 3}")
    refused("^mine.yaml, line 11: found duplicate key", recipe=file(text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n- b\n", "a recipe is a mapping of sections"),
        ("3\n", "a recipe is a mapping of"),
        ("", "a recipe is a mapping of"),
    ],
)
def test_a_file_that_is_no_mapping(file, text, problem):
    refused(f"^mine.*: {problem}", recipe=file(text))


def test_a_file_that_is_no_yaml(file):
    refused("^mine.yaml, line 2: ", recipe=file("a: [\nb: }"))


def test_a_recipe_is_made_of_a_resolved_tree():
    assert Recipe(load("happo").tree, "happo") == load("happo")
    assert hetrl.load is load
