"""Many short lives of one run: killed while it writes a checkpoint, or with a disk that takes only so much.

    python tests/runs/forked.py kills FOLDER N RECIPE [WORDS]    N times killed, then to its end
    python tests/runs/forked.py full FOLDER N RECIPE [WORDS]     N disks, each of another size

A process that has imported everything forks for each life, which so begins in milliseconds. What came of it goes to the
screen as JSON.
"""

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch

import hetrl
from hetrl.errors import RunError
from hetrl.runs import run as runs
from hetrl.runs.folder import Folder
from hetrl.train import checkpoint_file


def live(folder, words, limit=None):
    """Start a process that trains or goes on; a file that it writes has at most ``limit`` bytes."""
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if Folder(folder).checkpoint.exists():
            runs.resume(folder, quiet=True)
        else:
            runs.train(hetrl.load(*words), folder, quiet=True)
        code = 0
    except RunError as error:
        sys.stderr.write(f"said: {error}\n")
        code = 2
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def killed_while_writing(folder, words, draws):
    """Kill a life while it writes its first, second or third checkpoint; return whether it was while it wrote."""
    half = Folder(folder).checkpoint.with_name("last.ckpt.part")
    pid, wanted, seen = live(folder, words), draws.randrange(1, 4), 0
    there = half.exists()  # of the life before
    while True:
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert code == 0, code  # it was done before
            return None
        if half.exists() != there:
            there = not there
            seen += there
            if seen == wanted:
                break
        time.sleep(0.0001)
    time.sleep(draws.uniform(0, 0.004))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return half.exists()


def kills(folder, n, words):
    """Return how many kills hit the write of a checkpoint, of how many."""
    draws, hit, total = random.Random(os.urandom(8)), 0, 0
    while hit < n:
        found = killed_while_writing(folder, words, draws)
        if found is None:
            break
        total += 1
        hit += found
        if Folder(folder).checkpoint.exists():
            Folder(folder).load_checkpoint()  # it is whole, or this raises
        previous = Folder(folder).checkpoint.with_name("previous.ckpt")
        if previous.exists():
            checkpoint_file.read(previous)
    pid = live(folder, words)
    assert os.waitpid(pid, 0)[1] == 0 or found is None
    return {"hit": hit, "kills": total}


def full(folder, n, words):
    """Return how the lives with small disks ended, and how many of them left a checkpoint; the last is without end."""
    sizes, codes, kept = [int(1000 * 4**number) for number in range(n)], [], 0
    for size in sizes:
        limit = None if "UNLIMITED" in os.environ else size  # where the disk itself is small
        _, status = os.waitpid(live(folder, words, limit), 0)
        codes.append(os.waitstatus_to_exitcode(status))
        there = Folder(folder).checkpoint.exists()
        kept += there
        if there:
            Folder(folder).load_checkpoint()
        if codes[-1] == 0:
            break
    return {"codes": codes, "kept": kept}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    what, path, number, *rest = sys.argv[1:]
    print(json.dumps({"kills": kills, "full": full}[what](Path(path), int(number), rest)))
