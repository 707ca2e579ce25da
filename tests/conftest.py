"""Shapes are types: in tests, every annotated shape in the maths is checked at run time."""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

os.environ.setdefault("COLUMNS", "200")  # tables are as wide in every process that runs tests
sys.path.insert(0, str(Path(__file__).parent))
MATHS = [f"hetrl.{part}" for part in ("ops", "order", "estimate", "weight", "loss", "net")]
install_import_hook(MATHS, "beartype.beartype")

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(scope="session")
def vectors():
    """Return a loader of the reference's stored arrays, as float64 tensors."""

    def load(name: str) -> dict[str, torch.Tensor]:
        with np.load(VECTORS / f"{name}.npz") as file:
            numbers = (key for key in file.files if file[key].dtype.kind != "U")
            return {key: torch.from_numpy(file[key]) for key in numbers}

    return load


@pytest.fixture
def hetrl(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command in an empty folder and returns (exit code, everything printed)."""
    from hetrl import cli  # after the hook above

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["hetrl", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        return int(exit_.value.code or 0), printed.out + printed.err

    return run
