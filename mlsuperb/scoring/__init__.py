"""From `hypotheses.jsonl` to counts, metrics and `result.json`. Nothing here needs torch or Hydra."""
