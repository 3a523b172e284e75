"""mlsuperb: benchmark multilingual speech models on ML-SUPERB. What Python programs call: `load`, `upstream`, `results`, `score`
(docs/api.md)."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["load", "results", "score", "upstream"]


def __getattr__(name: str) -> Any:
    # loaded when asked for, so that `import mlsuperb` stays light; __init__.pyi has the types
    if name not in __all__:
        raise AttributeError(f"module 'mlsuperb' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module("mlsuperb.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
