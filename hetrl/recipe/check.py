"""The checker: does a recipe link? Names, arguments, keys, gradients, and nets, before anything is built."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from hetrl import arguments, catalog, keys
from hetrl.component import Component, Table
from hetrl.errors import RecipeError, nearest
from hetrl.network import Network, Policy
from hetrl.recipe import memory
from hetrl.recipe.read import Net, Per, Phase, Recipe, Step
from hetrl.team import Team

SECTIONS = ("before", "prepare", "steps", "after")
TARGET = "target"
"""The mode ``target``, or ``target.mode``, is that of a net's slow copy."""


@dataclass(frozen=True)
class PlannedStep:
    """A step whose names are resolved: its table has concrete keys, its code is known."""

    step: Step
    table: Table
    component: type[Component] | None
    net: str | None
    mode: str | None
    per_agent: bool
    """Whether it runs for an agent (it touches ``agent.`` keys or a net that is not the team's)."""

    @property
    def where(self) -> str:
        """Place and name, for messages."""
        return f"{self.step.where} ({self.step.use or f'{self.net}.{self.mode}'})"


@dataclass(frozen=True)
class Plan:
    """A checked recipe: every step resolved."""

    recipe: Recipe
    per: Mapping[str, Per]
    """Who shares each net."""
    policy: str
    """The net that acts."""
    sections: Mapping[tuple[str, str], tuple[PlannedStep, ...]] = field(default_factory=dict)
    """(phase, section) -> its steps."""


def check(recipe: Recipe, team: Team | None = None, provided: Iterable[str] | None = None) -> Plan:
    """Return the plan of a recipe that links.

    Args:
        recipe: what :func:`hetrl.recipe.read.load` returned.
        team: the task's agents, to check what depends on them too.
        provided: the keys of the batches, where they come from elsewhere; left out, what the recipe's task and data
            write.

    Raises:
        RecipeError: where, what, and what to do, in one line.
    """
    per = {name: _check_net(net) for name, net in recipe.nets.items()}
    drawn = False
    if provided is None:
        provided = _provided(recipe, per)
        drawn = not catalog.resolve(recipe.data.name, "data").in_order
    if team is not None:
        team = grouped(recipe, team)
    plan = Plan(recipe, per, _acting_net(recipe))
    sections = {
        (phase.name, section): tuple(_plan_step(step, recipe, per) for step in getattr(phase, section))
        for phase in recipe.update
        for section in SECTIONS
    }
    plan = replace(plan, sections=sections)
    for phase in recipe.update:
        _check_phase(phase, plan)
    _check_keys(plan, provided)
    if drawn:
        _check_order_of_time(plan)
    _check_nets_used(plan)
    if team is not None:
        _check_team(plan, team)
    return plan


def grouped(recipe: Recipe, team: Team) -> Team:
    """Return the team with the sharing groups that the recipe writes, if it does."""
    return team if recipe.groups is None else team.shared(recipe.groups)


def _provided(recipe: Recipe, per: Mapping[str, Per]) -> list[str]:
    """Return the keys that the recipe's own task and data write."""
    environment = _entry(recipe.task.name, recipe.task.arguments, "task", "env")
    data = _entry(recipe.data.name, recipe.data.arguments, "data", "data")
    for word in ("seed", "device"):
        if word in recipe.task.arguments:
            raise RecipeError(f"task.{word}: set run.{word} instead; it holds for the whole run.")
    environment.check_arguments(recipe.task.arguments)
    default = inspect.signature(environment.__init__).parameters["n_envs"].default
    n_envs = recipe.task.arguments.get("n_envs", default)
    data.check_arguments(recipe.data.arguments, n_envs)
    _check_judge(recipe)
    carried = memory.memories(recipe, per, _acting_net(recipe), data, n_envs) if memory.chunks(recipe) else []
    return data.provides([*environment.provides(recipe.task.arguments), *carried])


def _entry(name: str, values: Mapping[str, Any], where: str, kind: str | tuple[str, ...]) -> Any:
    try:
        entry = catalog.resolve(name, kind)
        arguments.check(entry.__init__, values, name)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    return entry


def _check_net(net: Net) -> Per:
    if hasattr(nn.ModuleDict, net.name):
        raise RecipeError(f"{net.where}: torch has another use for the name '{net.name}'; choose another.")
    cls = _entry(net.use, net.arguments, net.where, "net")
    if not (inspect.isclass(cls) and issubclass(cls, Network)):
        raise RecipeError(f"{net.where}: '{net.use}' is no network.")
    return net.per or cls.default_per


def _acting_net(recipe: Recipe) -> str:
    policies = [name for name, net in recipe.nets.items() if issubclass(catalog.resolve(net.use, "net"), Policy)]
    asked = recipe.data.arguments.get("policy")
    if asked is not None:
        if asked not in policies:
            raise RecipeError(f"data.policy: no policy '{asked}' under nets.{nearest(str(asked), policies)}")
        return str(asked)
    if len(policies) != 1:
        raise RecipeError(f"data: {len(policies)} nets can act ({', '.join(policies)}); say which, policy: name.")
    return policies[0]


def _check_judge(recipe: Recipe) -> None:
    """Refuse a judge of candidates that cannot value a joint action; see ``data/replay``."""
    if recipe.data.arguments.get("n_candidates", 1) == 1:
        return
    default = inspect.signature(catalog.resolve(recipe.data.name, "data").__init__).parameters["judge"].default
    judge = str(recipe.data.arguments.get("judge", default))
    mode, table, _ = _mode(*judge.partition(".")[::2], recipe, "data.judge: ")
    if (set(table.reads), set(table.writes)) != ({"state", "action"}, {"q"}) or mode.startswith(TARGET):
        raise RecipeError(f"data.judge: '{judge}' does not value joint actions as they are now; write {default}.")


def _plan_step(step: Step, recipe: Recipe, per: Mapping[str, Per]) -> PlannedStep:
    try:
        if step.use:
            cls = _entry(step.use, step.arguments, step.where, ("estimate", "weight", "loss"))
            if not (inspect.isclass(cls) and issubclass(cls, Component)):
                raise RecipeError(f"'{step.use}' is no component.")
            table = _renamed(cls.table, step)
            table = replace(table, optional=table.optional - cls.required(step.arguments))
            planned = PlannedStep(step, table, cls, None, None, False)
            for role, called in planned.table.calls.items():
                _mode(*called.partition(".")[::2], recipe, f"calls {role} = ")
        else:
            assert step.net is not None
            mode, table, function = _mode(step.net, step.mode or "", recipe, "")
            arguments.check(function, step.arguments, f"{step.net}.{mode}")
            planned = PlannedStep(step, _renamed(table, step), None, step.net, mode, False)
    except RecipeError as error:
        text = str(error)
        raise RecipeError(text if text.startswith(step.where) else f"{step.where} ({step.title}): {text}") from None
    touched = [*planned.table.reads.values(), *planned.table.writes.values()]
    own = planned.net is not None and per[planned.net] != "team"
    per_agent = own or any(keys.scope(key) == keys.AGENT for key in touched)
    if own and (shared := [key for key in planned.table.writes.values() if not keys.scope(key)]):
        raise RecipeError(
            f"{planned.where}: net '{planned.net}' is per: {per[planned.net or '']} but writes the team's "
            f"'{shared[0]}'; rename it, keys: {{{_role(planned.table.writes, shared[0])}: agent.{shared[0]}}}."
        )
    for key in planned.table.writes.values():
        if keys.scope(key) and key.replace(f"{keys.AGENT}.", f"{keys.AGENTS}.") in set(planned.table.reads.values()):
            raise RecipeError(
                f"{planned.where} reads everybody's '{key}' and writes this agent's: the next agent would read what "
                f"this one has written; write another key, writes: {{{_role(planned.table.writes, key)}: agent...}}."
            )
    if per_agent:
        for key in planned.table.writes.values():
            if keys.scope(key) == keys.AGENTS:
                raise RecipeError(
                    f"{planned.where} writes everybody's '{key}' at once, but runs for each agent, since it reads or "
                    "writes 'agent.' keys as well; give it 'agents.' keys and the team's alone."
                )
            if not (keys.scope(key) or keys.is_output(key) or key in planned.table.reads.values()):
                raise RecipeError(
                    f"{planned.where} runs for each agent but writes the team's '{key}': the last would stay; "
                    f"rename it, writes: {{{_role(planned.table.writes, key)}: agent.{key}}}."
                )
    return replace(planned, per_agent=per_agent)


def _role(table: Mapping[str, str], key: str) -> str:
    return next(role for role, bound in table.items() if bound == key)


def _renamed(table: Table, step: Step) -> Table:
    """Return the table as the step renames it; what is one tensor for each agent stays so."""
    renamed = table.renamed(step.keys, step.reads, step.writes, step.at)
    for old, new in ((table.reads, renamed.reads), (table.writes, renamed.writes)):
        for role, key in new.items():
            if (keys.scope(old[role]) == keys.AGENTS) != (keys.scope(key) == keys.AGENTS):
                everybody = keys.scope(key) != keys.AGENTS
                what = "a tuple, one value for each agent" if everybody else "one value"
                raise RecipeError(
                    f"'{role}' is {what}, and '{key}' is {'not' if everybody else 'a key of everybody'}; write "
                    f"{'a key that begins with agents.' if everybody else 'one without agents.'}"
                )
    return renamed


def _mode(net: str, mode: str, recipe: Recipe, what: str) -> tuple[str, Table, Any]:
    if net not in recipe.nets:
        raise RecipeError(f"{what}no net '{net}'.{nearest(net, recipe.nets)}")
    cls = catalog.resolve(recipe.nets[net].use, "net")
    slow, _, rest = mode.partition(".")
    slow, mode = (TARGET, rest) if slow == TARGET and recipe.nets[net].target else ("", mode)
    mode = mode or cls.default_mode or ""
    if mode not in cls.modes:
        problem = f"net '{net}' ({recipe.nets[net].use}) has no mode '{mode}'" if mode else f"say which mode of '{net}'"
        if mode.split(".")[0] == TARGET:
            raise RecipeError(f"{what}net '{net}' has no slow copy; give it one, nets.{net}.target: {{tau: 0.005}}.")
        raise RecipeError(f"{what}{problem}.{nearest(mode, cls.modes)}")
    table = replace(cls.modes[mode], learned=False) if slow else cls.modes[mode]
    return f"{slow}.{mode}" if slow else mode, table, getattr(cls, mode)


def _check_phase(phase: Phase, plan: Plan) -> None:
    """Check the words of one phase against each other."""
    steps = {section: plan.sections[phase.name, section] for section in SECTIONS}
    if phase.train is None:
        for word in ("order", "optim", "before", "prepare", "after"):
            if getattr(phase, word):
                raise RecipeError(f"{phase.where}.{word} belongs to a phase that trains a net; add train: or drop it.")
        for word, without in (("epochs", 1), ("minibatches", 1), ("per", "team"), ("inactive", "skip")):
            if getattr(phase, word) != without:
                raise RecipeError(f"{phase.where}.{word} belongs to a phase that trains a net; add train: or drop it.")
        return
    for planned in steps["steps"]:
        if planned.component is not None and planned.component.along_time:
            raise RecipeError(
                f"{planned.where} looks along time, and steps see rows in any order; move it to prepare or to a phase "
                "of its own."
            )
    if phase.train not in plan.recipe.nets:
        raise RecipeError(f"{phase.where}.train: no net '{phase.train}'.{nearest(phase.train, plan.recipe.nets)}")
    net = plan.recipe.nets[phase.train]
    if not catalog.resolve(net.use, "net").trainable(net.arguments):
        raise RecipeError(
            f"{phase.where} trains '{phase.train}', and {net.where} says that it stays as it is; drop one."
        )
    if phase.optim is None:
        raise RecipeError(f"{phase.where} trains '{phase.train}' and needs optim: {{use: optim/adam}}.")
    optim = _entry(phase.optim.name, phase.optim.arguments, phase.optim.where, "optim")
    if optim.once:
        for word in ("epochs", "minibatches"):
            if getattr(phase, word) > 1:
                raise RecipeError(
                    f"{phase.where}.{word} = {getattr(phase, word)}: {phase.optim.name} takes one step, on the whole "
                    f"batch, from the policy that its constraint refers to; drop {word}."
                )
    if phase.epochs * phase.minibatches == 1:
        _refuse_equal(phase, steps)
    if phase.per == "team":
        if phase.order is not None:
            raise RecipeError(f"{phase.where}.order needs turns; add per: agent or per: group, or drop it.")
        for section in ("prepare", "steps", "after"):
            for planned in steps[section]:
                if planned.per_agent:
                    raise RecipeError(
                        f"{planned.where} is about one agent, but {phase.where} has no agent in turn; add per: agent."
                    )
    elif phase.order is None:
        raise RecipeError(f"{phase.where} is per: {phase.per} and needs order: {{use: order/random_permutation}}.")
    if phase.order is not None:
        _entry(phase.order.name, phase.order.arguments, phase.order.where, "order")
    _check_gradients(phase, steps["steps"], optim.reads.values())
    called = [target.split(".")[0] for planned in steps["steps"] for target in planned.table.calls.values()]
    used = [planned.net for planned in steps["steps"] if planned.net is not None]
    memory.check_phase(plan.recipe, phase.where, [*used, *called])


def _refuse_equal(phase: Phase, steps: Mapping[str, Iterable[PlannedStep]]) -> None:
    """Refuse, in a turn of one step, to compare the trained net with itself: as it was before the turn it still is."""
    written = {
        key: planned
        for planned in steps["prepare"]
        for key in planned.table.writes.values()
        if planned.net == phase.train and not str(planned.mode).startswith(f"{TARGET}.")
    }
    for planned in steps["steps"]:
        role = getattr(planned.component, "compares", None)
        before = written.get(planned.table.reads[role]) if role is not None else None
        if before is not None:
            raise RecipeError(
                f"{planned.where} compares '{phase.train}' with what {before.where} kept of it in "
                f"the same turn, and {phase.where} takes one step a turn: they are equal, and it does nothing. Write "
                f"epochs: 2, or compare with the slow copy, net: {phase.train}.{TARGET}.{before.mode}."
            )


def _check_order_of_time(plan: Plan) -> None:
    """Refuse what looks along time on rows that were drawn in any order."""
    for steps in plan.sections.values():
        for planned in steps:
            if planned.component is not None and planned.component.along_time:
                raise RecipeError(
                    f"{planned.where} looks along time, and {plan.recipe.data.name} draws rows in any order; use "
                    "data/on_policy, or estimate/td_target in its place."
                )


def _check_gradients(phase: Phase, steps: Iterable[PlannedStep], constraints: Iterable[str]) -> None:
    """Every loss, and what the optimiser reads, must depend on the trained net, through keys written in the steps."""
    assert phase.train is not None and phase.optim is not None
    depends: set[str] = set()
    losses: set[str] = set()
    for planned in steps:
        inputs = [*planned.table.reads.values()]
        called = [name.split(".") for name in planned.table.calls.values()]
        calls = [net for net, *mode in called if mode[:1] != [TARGET]]  # a slow copy has no gradient
        live = (phase.train == planned.net and planned.table.learned) or phase.train in calls
        live = live or any(key in depends or key.replace("agents.", "agent.") in depends for key in inputs)
        for key in planned.table.writes.values():
            if key.startswith(f"{keys.LOSS}."):
                if key in losses:
                    raise RecipeError(f"{planned.where} writes '{key}' a second time; rename one, keys: {{loss: ...}}.")
                losses.add(key)
                if not live:
                    raise RecipeError(
                        f"{planned.where} does not depend on '{phase.train}', the net that {phase.where} trains; "
                        f"none of {', '.join(inputs)} is computed by it in these steps."
                    )
            depends.discard(key)
            if live:
                depends.add(key)
    for key in constraints:
        if key not in depends:
            mode = key.split(".")[-1]
            raise RecipeError(
                f"{phase.optim.where} ({phase.optim.name}) reads '{key}', and no step of {phase.where} computes that "
                f"from '{phase.train}'; add {{net: {phase.train}.{mode}}} to steps."
            )
    if not losses:
        raise RecipeError(f"{phase.where} trains '{phase.train}' but no step writes a loss; add a loss/... step.")


@dataclass
class _Flow:
    """What is written, by which net, and what has since gone stale or been dropped."""

    recipe: Recipe
    written: dict[str, str | None]
    every: dict[str, Phase] = field(default_factory=dict)
    """Keys whose phase does not run in every batch."""
    dropped: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)

    def read(self, key: str, planned: PlannedStep, phase: Phase) -> None:
        single = keys.single(key)
        if single not in self.written:
            if single in self.dropped:
                raise RecipeError(
                    f"{planned.where} reads '{key}', which {self.dropped[single]} wrote in its steps; what steps write "
                    "is dropped after the turn. Write it again here, or in prepare or after."
                )
            raise RecipeError(f"{planned.where} reads '{key}', and nothing before it writes that."
                              f"{nearest(key, self.written)}{_writers(single, self.recipe)}")  # fmt: skip
        writer = self.every.get(single)
        if writer is not None and phase.every % writer.every:
            raise RecipeError(
                f"{planned.where} reads '{key}' in samples in which {writer.where}, which writes it, does not run; "
                f"it has every: {writer.every}, so write every: {writer.every} in {phase.where} too."
            )
        if single in self.stale and not single.split(".")[-1].startswith("old_"):
            raise RecipeError(
                f"{planned.where} reads '{key}', which is stale: {self.stale[single]} has trained the net since it was "
                f"written. Write it again first, or keep the old one under a name that says so, 'old_...'."
            )

    def write(self, planned: PlannedStep, phase: Phase) -> None:
        for key in map(keys.single, planned.table.writes.values()):
            if not keys.is_output(key):
                self.written[key] = planned.net
                self.stale.pop(key, None)
                self.dropped.pop(key, None)
                self.every.pop(key, None)
                if phase.every > 1:
                    self.every[key] = phase

    def trained(self, net: str, phase: Phase) -> None:
        for key, writer in self.written.items():
            if writer == net:
                self.stale[key] = phase.where


def _writers(key: str, recipe: Recipe) -> str:
    """Return which steps would write a key, as a recipe says them and a message ends; nothing where none would."""
    later = f"{keys.NEXT}."
    at, wanted = (", at: next" if key.startswith(later) else ""), key.removeprefix(later)
    steps = {
        f"net: {name}" if mode == cls.default_mode else f"net: {name}.{mode}": table
        for name, cls in ((name, catalog.resolve(net.use, "net")) for name, net in recipe.nets.items())
        for mode, table in cls.modes.items()
    }
    own = [name for kind in ("estimate", "weight") for name in catalog.names(kind) if name in catalog.BUILT_IN]
    steps |= {f"use: {name}": catalog.resolve(name).table for name in own}  # a package's code stays unimported
    writers = [
        f"{{{words}{at}}}"
        for words, table in steps.items()
        if wanted in map(keys.single, table.writes.values()) and wanted not in map(keys.single, table.reads.values())
    ]
    return f" {' or '.join(writers)} would." if writers else ""


def _check_keys(plan: Plan, provided: Iterable[str]) -> None:
    """Every key read must have been written before, and not be stale."""
    flow = _Flow(plan.recipe, dict.fromkeys([*provided, keys.PLACE]))
    for phase in plan.recipe.update:
        flow.written.pop(keys.TURN, None)
        if phase.per != "team":
            flow.written[keys.TURN] = None
        for section in SECTIONS:
            before = replace(flow, written=dict(flow.written), stale=dict(flow.stale), every=dict(flow.every))
            for planned in plan.sections[phase.name, section]:
                for role, key in planned.table.reads.items():
                    if role not in planned.table.optional or key in flow.written:
                        flow.read(key, planned, phase)
                flow.write(planned, phase)
            if section == "steps" and phase.train is not None:
                for key in set(flow.written) - set(before.written):
                    flow.dropped[key] = phase.where
                flow.written, flow.stale, flow.every = before.written, before.stale, before.every
                flow.trained(phase.train, phase)


def _check_nets_used(plan: Plan) -> None:
    trained = {phase.train for phase in plan.recipe.update}
    used = {planned.net for steps in plan.sections.values() for planned in steps} | {plan.policy}
    used |= {c.split(".")[0] for steps in plan.sections.values() for p in steps for c in p.table.calls.values()}
    every = [planned for steps in plan.sections.values() for planned in steps]
    copied = {planned.net for planned in every if (planned.mode or "").split(".")[0] == TARGET}
    copied |= {
        c.split(".")[0] for planned in every for c in planned.table.calls.values() if c.split(".")[1:2] == [TARGET]
    }
    for name, net in plan.recipe.nets.items():
        if name not in used:
            raise RecipeError(f"{net.where}: no step uses net '{name}'; use it or drop it.")
        if name not in trained and catalog.resolve(net.use, "net").trainable(net.arguments):
            raise RecipeError(f"{net.where}: no phase trains net '{name}'; add a phase with train: {name}.")
        if net.target and name not in copied:
            raise RecipeError(f"{net.where}.target: no step uses the slow copy of '{name}'; use it or drop it.")


def _check_team(plan: Plan, team: Team) -> None:
    for planned in (planned for steps in plan.sections.values() for planned in steps):
        if planned.component is not None:
            try:
                planned.component.check_team(planned.step.arguments, team)
            except RecipeError as error:
                raise RecipeError(f"{planned.where}: {error}") from None
    for phase in plan.recipe.update:
        if phase.order is not None:
            n_members = len(team.agents) if phase.per == "agent" else len(team.bodies)
            try:
                catalog.resolve(phase.order.name)(**phase.order.arguments).compute(torch.arange(n_members))
            except RecipeError as error:
                raise RecipeError(f"{phase.order.where} ({phase.order.name}): {error}") from None
    for name, net in plan.recipe.nets.items():
        cls = catalog.resolve(net.use, "net")
        per = plan.per[name]
        if issubclass(cls, Policy):
            for agent in team.agents:
                if not isinstance(agent.action, cls.serves):
                    kinds = " or ".join(kind.__name__.lower() for kind in cls.serves)
                    raise RecipeError(
                        f"{net.where}: {net.use} serves {kinds} actions, but agent '{agent.name}' has {agent.action}."
                    )
        if per == "team" and cls.default_per == "agent" and cls.sized:
            sizes = {(agent.observation_size, agent.action): agent for agent in team.agents}
            if len(sizes) > 1:
                unlike = "; ".join(
                    f"{agent.name} observes [{agent.observation_size}], acts {agent.action}" for agent in sizes.values()
                )
                raise RecipeError(
                    f"{net.where}: per: team needs agents of equal sizes and bounds, and these differ ({unlike}); use "
                    f"{net.where}.per=group."
                )
