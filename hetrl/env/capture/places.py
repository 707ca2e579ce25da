"""Where in somebody's code a call comes from, and what stands around it."""

import ast
import linecache
import sys
from functools import cache
from pathlib import Path
from types import FrameType

import torch

_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)


class RefusalError(Exception):
    """A step cannot be a tensor program, for the reason that this carries."""


def place() -> tuple[FrameType, str]:
    """The frame outside of torch and of this package's listeners that is running, and its name in words."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _HERE)):
            return frame, name_of(frame)
        frame = frame.f_back
    raise RefusalError("nobody called")


def name_of(frame: FrameType) -> str:
    """File and line that ``frame`` runs."""
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse("".join(linecache.getlines(file)))


@cache
def body(file: str, line: int) -> range | None:
    """Lines of the body of the ``if`` without an ``else`` whose condition is at ``line``."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.If) and node.test.lineno <= line <= (node.test.end_lineno or line) and not node.orelse:
            return range(node.body[0].lineno, (node.body[-1].end_lineno or node.body[-1].lineno) + 1)
    return None


@cache
def in_while(file: str, line: int) -> bool:
    """Whether the innermost loop around ``line`` is a ``while``."""
    innermost: ast.AST | None = None
    for node in ast.walk(_tree(file)):
        inside = isinstance(node, (ast.While, ast.For)) and node.lineno <= line <= (node.end_lineno or line)
        if inside and (innermost is None or node.lineno >= innermost.lineno):  # type: ignore[attr-defined]
            innermost = node
    return isinstance(innermost, ast.While)
