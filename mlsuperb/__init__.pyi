from mlsuperb.api import load as load
from mlsuperb.api import results as results
from mlsuperb.api import score as score
from mlsuperb.api import upstream as upstream

__version__: str
__all__ = ["load", "results", "score", "upstream"]
