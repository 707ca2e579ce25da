"""Which jobs Slurm has, as ``squeue`` says it."""

import getpass
import subprocess


def queued() -> set[str] | None:
    """Return the numbers of the user's jobs that wait or run; None where Slurm does not answer, or is not there."""
    asked = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%A"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return set(done.stdout.split()) if done.returncode == 0 else None
