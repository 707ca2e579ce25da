"""How the processes of a run are started, joined and watched: Lightning's way, with hetrl's files and messages."""

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from hetrl import ranks
from hetrl.ranks import Rank
from hetrl.train import rank_files

_GRACE = 30.0
"""Seconds that this process has to find out by itself that another one is gone: a GPU may wait for it for ever."""
_POLL = 1.0


def environment(rank: Rank) -> ClusterEnvironment:
    """Return who says which process this is: torchrun, Slurm where it has started as many, or Lightning.

    A run in one process is that, whatever a cluster has set aside, and signals are hetrl's business.
    """
    if rank.count > 1 and "RANK" in os.environ:
        return TorchElasticEnvironment()
    if rank.count > 1 and "LOCAL_RANK" not in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) == rank.count:
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


class JoinedProcesses(DDPStrategy):
    """Lightning's strategy ``ddp``, in which every process saves what is its own, and says in a line where one is gone.

    Nothing is averaged by it: hetrl's numbers go from process to process through :mod:`hetrl.ranks`.
    """

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = _Launcher(self.cluster_environment, self.num_processes, self.num_nodes)

    def _setup_model(self, model: Any) -> Any:
        wrapped = super()._setup_model(model)
        wrapped.require_forward_param_sync = False  # buffers are everybody's already
        return wrapped

    def barrier(self, *given: Any, **named: Any) -> None:
        """Wait for the others."""
        ranks.asked(lambda: super(JoinedProcesses, self).barrier(*given, **named))

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return what one of them gives."""
        return ranks.asked(lambda: super(JoinedProcesses, self).broadcast(obj, src))

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write this process's own beside the checkpoint, and once all have done so, on the first one, the checkpoint.

        Raises:
            RunError: it cannot be written.
        """
        frames = checkpoint["hetrl"]["frames"]
        path, mark = self.broadcast((str(filepath), f"{frames}-{secrets.token_hex(4)}"))
        rank_files.note(checkpoint, mark)
        rank_files.write_own(checkpoint, Path(path), mark, Rank(self.global_rank, self.world_size))
        self.barrier()
        super().save_checkpoint(checkpoint, filepath, storage_options)


class _Launcher(_SubprocessScriptLauncher):
    """Starts the other processes as Lightning does; where one dies, this one has some time to say so itself."""

    def launch(self, function: Callable[..., Any], *given: Any, trainer: Any = None, **named: Any) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            threading.Thread(target=_watch, args=(self.procs,), daemon=True).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*given, **named)


def _watch(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End this process, and the others, some time after one of them has failed."""
    while not any(failed := [process for process in processes if process.poll()]):
        if all(process.returncode == 0 for process in processes):
            return
        time.sleep(_POLL)
    time.sleep(_GRACE)  # in which this process ends by itself, and this thread with it
    number = list(processes).index(failed[0]) + 1
    sys.stderr.write(
        f"error process {number} of this run ended with code {failed[0].returncode}, and the others wait for it; they "
        "are ended. The last checkpoint is whole; go on with hetrl train --resume RUN.\n"
    )
    sys.stderr.flush()
    for process in processes:
        process.kill()
    os._exit(2)
