"""What Python programs call, as `mlsuperb.load` and so on (docs/api.md)."""

from mlsuperb.api.models import load as load
from mlsuperb.api.models import upstream as upstream
from mlsuperb.api.numbers import results as results
from mlsuperb.api.numbers import score as score
