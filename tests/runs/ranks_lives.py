"""Lives of runs in two processes: whole, resumed, stopped by a signal to one, with one killed.

    python tests/runs/ranks_lives.py FOLDER

A process that has imported everything forks the two of each life. What came of them lies in FOLDER; how each process
ended, and what it said, goes to the screen as JSON.
"""

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import lightning as L
import torch

import hetrl
from hetrl.errors import HetrlError
from hetrl.runs import run as runs

GAME = "task={use: env/cue_game, n_cues: 3, delay: 3, discrete_agents: 0, continuous_agents: 2, n_envs: 4}"
QUICK = [GAME, "nets.actor.hidden=[8]", "run.eval_every=40", "run.n_eval_episodes=2", "run.device=cpu"]
HAPPO = ["happo", *QUICK, "nets.value.hidden=[8]", "data.frames=40", "run.checkpoint_every=40"]
HASAC = ["hasac", *QUICK, "nets.q.hidden=[8]", "data.capacity=100", "data.batch=8", "data.warmup=40",
         "run.checkpoint_every=20"]  # fmt: skip


class Does(L.Callback):
    """Does something in one of the processes, in the middle of the third batch."""

    def __init__(self, number, name):
        self.number, self.name = number, name

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if pl_module.frames == 80 and trainer.global_rank == self.number:
            os.kill(os.getpid(), getattr(signal, self.name))


def life(folder, words, n_ranks, *callbacks, port):
    """Train or go on with a run; return what the processes came to: exit code, and what they said."""
    with tempfile.TemporaryDirectory() as said:
        pids = [_forked(number, folder, words, n_ranks, callbacks, port, Path(said)) for number in range(n_ranks)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        return [[code, _read(Path(said) / str(number))] for number, code in enumerate(codes)]


def _read(path):
    return path.read_text() if path.exists() else ""


def _forked(number, folder, words, n_ranks, callbacks, port, said):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    if n_ranks > 1:
        os.environ |= {"LOCAL_RANK": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            if (folder / "recipe.yaml").exists():
                runs.resume(folder, *words[1:], f"run.devices={n_ranks}", callbacks=callbacks, quiet=True)
            else:
                runs.train(hetrl.load(*words, f"run.devices={n_ranks}"), folder, callbacks=callbacks, quiet=True)
        lines = [str(each.message) for each in told if "the checkpoint is of" in str(each.message)]
        (said / str(number)).write_text("\n".join(lines))
        code = 0
    except HetrlError as error:
        (said / str(number)).write_text(str(error))
        code = 2
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def lives(folder):
    """Lead all of them, and yield the name of each and how its processes ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yield "replay", life(folder / "replay", [*HASAC, "run.frames=120"], 2, port=port)
    yield "two", life(folder / "two", [*HASAC, "run.frames=80"], 2, port=port)
    yield "alone", life(folder / "alone", [*HASAC, "run.frames=80"], 1, port=port)
    for start, n_ranks in (("two", 2), ("two", 1), ("alone", 2)):
        name = f"{start}_on_{n_ranks}"
        shutil.copytree(folder / start, folder / name)
        yield name, life(folder / name, ["hasac", "run.frames=120"], n_ranks, port=port)
    words = [*HAPPO, "run.frames=160"]
    yield "whole", life(folder / "whole", words, 2, port=port)
    yield "stopped", life(folder / "stopped", words, 2, Does(1, "SIGTERM"), port=port)
    yield "killed", life(folder / "killed", words, 2, Does(1, "SIGKILL"), port=port)
    yield "killed_first", life(folder / "killed_first", words, 2, Does(0, "SIGKILL"), port=port)
    for name in ("stopped", "killed"):
        yield f"{name}_on", life(folder / name, ["happo"], 2, port=port)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(dict(lives(Path(sys.argv[1])))))
