"""mlsuperb: benchmark multilingual speech models on ML-SUPERB."""

__version__ = "0.1.0"
