"""Simulators whose step runs as one tensor program; see ``docs/captured.md``."""

from typing import Literal

When = bool | Literal["auto"]
"""Whether a simulator is captured, see ``task.capture``."""
