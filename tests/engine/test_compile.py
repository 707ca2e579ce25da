"""``run.compile``: one graph for each phase and layout, without breaks, and the numbers of the eager run."""

import os
import subprocess
import sys

import pytest

# In a process of its own: the shape checks that tests install would break the graphs.
PROGRAM = """
import sys
import hetrl, lightning as L, torch
from torch._dynamo.utils import counters

def final(compiled):
    # One batch, and an eps that keeps Adam from blowing rounding up to whole steps.
    changes = ["task.n_envs=8", "task.horizon=10", "data.frames=80", "run.frames=80", "run.eval_every=null",
               *(f"update.{phase}.optim.eps=1.0" for phase in sys.argv[1].split()),
               "nets.actor.hidden=[8]", "nets.value.hidden=[8]", f"run.compile={compiled}", "run.device=cpu",
               *sys.argv[2:]]
    module, data = hetrl.load("happo", *changes).build()
    L.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
              enable_model_summary=False).fit(module, data)
    return torch.cat([value.flatten().double() for value in module.linked.nets.state_dict().values()])

torch.testing.assert_close(final("true"), final("false"), rtol=1e-5, atol=1e-6)
assert not counters["graph_break"], counters["graph_break"]
print("graphs", counters["stats"]["unique_graphs"])
"""


RECURRENT = [
    "nets.actor={use: net/recurrent_policy, per: agent, hidden: [8], memory: 6, chunk: 5}",
    "nets.value={use: net/recurrent_value, hidden: [8], memory: 4, chunk: 5, normalize: true}",
]
TOGETHER = [
    "update.actors.train=[actor,value]", "update.actors.order=null", "update.actors.after=null", "update.critic=null",
    "update.actors.steps=[{net: actor.log_prob}, {use: loss/clipped_surrogate}, {net: value.normalize}, "
    "{net: value.normalized}, {use: loss/huber_value, delta: 10}]",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phases", "changes", "graphs"),
    [("actors critic", [], 2), ("actors critic", RECURRENT, 2), ("actors", TOGETHER, 1),
     ("actors", [*RECURRENT, *TOGETHER], 1)],
    ids=["rows", "recurrent", "together", "recurrent together"],
)  # fmt: skip
def test_compiled_is_one_graph_per_layout_and_equals_eager(phases, changes, graphs):
    """Three agents of one layout share a graph; the critic has the other. A chunk of time is unrolled in its graph.

    Nets that are trained together have one graph, of all agents and the team.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, phases, *changes],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.strip().splitlines()[-1] == f"graphs {graphs}"
