"""What an agent of 128 learns of its part from the team's advantage, and from its own: figures of docs/large_teams.md.

    python tests/benchmark/credit.py

On one collection of untrained policies: the cosine between the gradients of an agent's policy on two halves of the
environments, for 16 agents; and what HAPPO's factor has become after one sweep. The recipe's words are the page's.
"""

import re
import shlex
from pathlib import Path

import torch
from torch.nn.functional import cosine_similarity

import hetrl
from hetrl.engine.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "large_teams.md").read_text(encoding="utf-8")
OWN = shlex.split(re.search(r"hetrl train happo (task=(?:.*\\\n)*.*)", PAGE).group(1).replace("\\\n", " "))
TEAM = OWN[:3]
"""The task and its size."""


def gradient(net, store, agent, advantage, rows):
    """Return the gradient of an agent's log-probs, weighed by an advantage, on some environments."""
    seen, action = (store.read(key, (agent,))[:, rows] for key in ("agent.observation", "agent.action"))
    loss = (net.log_prob(seen, action)["log_prob"] * store.read(advantage, (agent,))[:, rows]).mean()
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(net.parameters()))])


def main():
    """Measure, and print."""
    torch.set_num_threads(1)
    for name, words, advantage in (("team's", TEAM, "advantage"), ("own", OWN, "agent.advantage")):
        module, data = hetrl.load("happo", *words, "nets.actor.hidden=[64, 64]", "run.device=cpu").build()
        torch.manual_seed(0)
        store = Store(module.linked.team, data.source.collect().samples[0])
        phases = {runner.phase.name: runner for runner in module.phases}
        step = (0.0, torch.Generator().manual_seed(0), lambda optimizer, closure: optimizer.step(closure))
        phases["estimate"].run(store, *step)
        found = []
        for agent in module.linked.team.agents[::8]:
            net = module.linked.nets["actor"][agent.name].requires_grad_(True)
            halves = [gradient(net, store, agent, advantage, rows) for rows in (slice(0, 32), slice(32, 64))]
            found.append(cosine_similarity(*halves, dim=0).item())
        below = sum(each < 0 for each in found)
        print(f"{name}: cosine {sum(found) / len(found):.2f}, below 0 of {below} in {len(found)}")
        phases["actors"].run(store, *step)
        factor = store.read("factor", ()).flatten()
        share = factor.sum() ** 2 / factor.square().sum() / len(factor)
        spread, most = factor.log().std(), factor.max()
        print(f"{name}: log factor deviates by {spread:.2f}, largest {most:,.0f}, rows worth {share:.4f}")


if __name__ == "__main__":
    main()
