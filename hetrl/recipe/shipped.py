"""The recipes that come with hetrl: their names, files and what they are about, without reading them as recipes."""

from pathlib import Path

import yaml


def shipped() -> dict[str, Path]:
    """Return the recipes that come with hetrl: name -> file (``task/...`` are sections to drop in)."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("*.yaml"))}
    return {}


def about(file: Path) -> str:
    """Return what a shipped recipe says of itself."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return " ".join(str(yaml.load(file.read_text(encoding="utf-8"), Loader=loader).get("about", "")).split())
