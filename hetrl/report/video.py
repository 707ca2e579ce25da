"""An episode as a film: mp4 with imageio and the ffmpeg that ``imageio-ffmpeg`` brings along, gif with Pillow."""

from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hetrl.data.environment import Environment
from hetrl.disk import writes
from hetrl.errors import DependencyError, RunError

FPS = 20
"""Steps shown in a second, unless the environment says otherwise (``pace``)."""

_STRIP = 32
_LEAST = 280
"""Pixels that a step and a return take side by side."""
_PAPER, _INK = (252, 252, 253), (52, 58, 66)


def default_file(folder: Path) -> Path:
    """Return ``episode.mp4`` in a run's folder, or ``episode.gif`` where mp4 cannot be written."""
    return folder / ("episode.mp4" if _can_write_mp4() else "episode.gif")


def chosen_file(folder: Path, words: Sequence[str]) -> tuple[Path, list[str]]:
    """Tell the film's name from the overrides among which it lands after ``--video``, and return both.

    Args:
        folder: of the run; without a name, the film goes there.
        words: overrides (``a.b=value``) and at most one file's name.

    Raises:
        RunError: there are more words than one that are no override, or it is a folder.
    """
    # The ending comes first: a film may have an equals sign in its name.
    named = [word for word in words if "=" not in word or word.lower().endswith((".mp4", ".gif"))]
    if len(named) > 1:
        raise RunError(f"--video {' '.join(named)}: name one file; a change is written as a.b=value.")
    if named and Path(named[0]).is_dir():
        raise RunError(f"--video {named[0]}: is a folder. The run comes first: hetrl eval RUN --video FILE.")
    return Path(named[0]) if named else default_file(folder), [word for word in words if word not in named]


def captioned(frame: np.ndarray, *texts: str) -> np.ndarray:
    """Return a frame with a strip of text below it, one text at each end; the sides come out even.

    A frame that is narrower than the texts stands in the middle.

    Args:
        frame: ``[H, W, 3]`` uint8.
        texts: one or two.
    """
    height, width = (side + side % 2 for side in frame.shape[:2])  # half as many colours as pixels, in most mp4
    margin = max(_LEAST - width, 0) // 2 if texts else 0
    sheet = Image.new("RGB", (width + 2 * margin, height + _STRIP), _PAPER)
    sheet.paste(Image.fromarray(frame), (margin, 0))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for text, (x, anchor) in zip(texts, ((12, "lm"), (sheet.width - 12, "rm")), strict=False):
        draw.text((x, height + _STRIP // 2), text, _INK, font, anchor=anchor)
    return np.asarray(sheet)


class Film:
    """Films environment 0, for ``evaluate(..., watch=film)``: the state before each step, step and return below it.

    The file appears when the film is closed; a film that is broken off leaves none, and the file that was there stays.

    ```python
    with Film(Path("episode.gif")) as film:
        evaluate_run(run, watch=film)
    ```

    Args:
        path: ``.mp4`` (with the extra ``video``) or ``.gif``.

    Raises:
        RunError: the file's name ends in neither.
        DependencyError: mp4 without imageio and imageio-ffmpeg.
    """

    def __init__(self, path: Path) -> None:
        kinds: dict[str, type[_Writer]] = {".mp4": _Mp4, ".gif": _Gif}
        if path.suffix.lower() not in kinds:
            raise RunError(f"--video {path}: a film's name ends in .mp4 or .gif.")
        if path.suffix.lower() == ".mp4" and not _can_write_mp4():
            raise DependencyError(f"--video {path}: mp4 needs 'pip install hetrl[video]'; or choose a .gif.")
        self.path = path
        self._unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix.lower()}")
        self._make = kinds[path.suffix.lower()]
        self._writer: _Writer | None = None

    def __call__(self, env: Environment, step: int, return_: float) -> None:
        """Add the frame of environment 0 as it is now."""
        frame = captioned(env.frame(0), f"step {step}", f"return so far {return_:.4g}")
        if self._writer is None:  # only now is it sure that there is something to write
            with writes(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = self._make(self._unfinished, getattr(env, "pace", FPS))
        with writes(self.path):
            self._writer.add(frame)

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if self._writer is None:
            return
        try:
            with writes(self.path):
                self._writer.close()
                if kind is None:
                    self._unfinished.replace(self.path)
        finally:
            with suppress(OSError):
                self._unfinished.unlink(missing_ok=True)


def _can_write_mp4() -> bool:
    return find_spec("imageio") is not None and find_spec("imageio_ffmpeg") is not None


class _Writer(Protocol):
    def __init__(self, path: Path, fps: int) -> None: ...

    def add(self, frame: np.ndarray) -> None: ...

    def close(self) -> None: ...


class _Mp4:
    """Frames go to ffmpeg as they come."""

    def __init__(self, path: Path, fps: int) -> None:
        import imageio.v2 as imageio

        # H.264 asks for even sides; imageio would by default stretch every frame to multiples of 16.
        self._file = imageio.get_writer(path, format="FFMPEG", fps=fps, quality=8, macro_block_size=2)

    def add(self, frame: np.ndarray) -> None:
        self._file.append_data(frame)

    def close(self) -> None:
        self._file.close()


class _Gif:
    """A gif is written in one go; until then its frames wait with one byte for each pixel."""

    def __init__(self, path: Path, fps: int) -> None:
        self._path, self._fps, self._frames = path, fps, list[Image.Image]()

    def add(self, frame: np.ndarray) -> None:
        # Few and flat colours: a palette of each frame's own, without dithering, loses nothing that can be seen.
        self._frames.append(Image.fromarray(frame).quantize(64, dither=Image.Dither.NONE))

    def close(self) -> None:
        first, *rest = self._frames
        first.save(self._path, save_all=True, append_images=rest, duration=1000 // self._fps, loop=0, disposal=1)
