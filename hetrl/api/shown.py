"""A file that was made of a run, as a notebook shows it."""

import base64
import html
import os
from pathlib import Path

_VIDEO = '<video controls src="data:video/mp4;base64,{}"></video>'
_PAGE = '<iframe srcdoc="{}" width="100%" height="700" style="border:0"></iframe>'
_GIF = '<img src="data:image/gif;base64,{}">'  # a notebook knows no type of its own for it
_IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}


class Shown(os.PathLike[str]):
    """A picture, a film or a page: a notebook shows it, and everywhere else it is the path of its file.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<{self.path}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        kind = self.path.suffix.lower()
        bundle = {"text/plain": repr(self)}
        if kind == ".svg":
            bundle[_IMAGES[kind]] = self.path.read_text(encoding="utf-8")
        elif kind in _IMAGES:
            bundle[_IMAGES[kind]] = base64.b64encode(self.path.read_bytes()).decode()
        elif kind in (".mp4", ".gif"):
            film = _VIDEO if kind == ".mp4" else _GIF
            bundle["text/html"] = film.format(base64.b64encode(self.path.read_bytes()).decode())
        elif kind == ".html":
            bundle["text/html"] = _PAGE.format(html.escape(self.path.read_text(encoding="utf-8"), quote=True))
        return bundle
