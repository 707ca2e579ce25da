"""The recipes that come with hetrl: their names, files and what they are about, without reading them as recipes."""

from pathlib import Path
from typing import Any


def shipped() -> dict[str, Path]:
    """Return the recipes that come with hetrl: name -> file (``task/...`` are sections to drop in)."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("*.yaml"))}
    return {}


def about(file: Path) -> str:
    """Return what a shipped file says of itself: a recipe's ``about``, or the comment at the top of a section."""
    said = tree(file).get("about")
    if said is not None:
        return " ".join(str(said).split())
    comments = [line[1:].strip() for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return " ".join(line for line in comments if not line.startswith("hetrl "))


def tree(file: Path) -> dict[str, Any]:
    """Return a shipped file as plain YAML, its references as they are written."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
