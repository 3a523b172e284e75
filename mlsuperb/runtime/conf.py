"""Where the YAML files lie that configurations are made of."""

from __future__ import annotations

from pathlib import Path


def conf_dir() -> Path:
    """Folder with the YAML files: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/config.yaml in or beside {package}; reinstall mlsuperb")
