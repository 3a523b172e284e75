"""The README of a challenge submission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsuperb.scoring.table import SYNTHETIC

SOURCE = "wanchichen/ml_superb_dynabench_submission"


def submission_readme(about: Mapping[str, Any], *, name: str, splits: Mapping[str, int]) -> str:
    """Markdown.

    Args:
        about: what `mlsuperb_export.json` says.
        name: of the folder.
        splits: lines of each file of hypotheses.
    """
    first = (
        f"**{SYNTHETIC}** It shows the form of a submission and nothing else.\n\n" if about["data"]["synthetic"] else ""
    )
    named = ", ".join(f"`hypotheses/{split}.txt` ({number:,} utterances)" for split, number in splits.items())
    return f"""# {about["run_id"]}, submission to the ML-SUPERB 2.0 challenge

{first}Made by mlsuperb {about["package_version"]} from the run `{about["run_id"]}`. Upload the zipped folder at
dynabench.org/tasks/ml-superb:

```bash
zip -r {name}.zip {name}
```

| file | what it is |
| --- | --- |
| `app/domain/model.py` | `ModelController`, with `single_inference` and `batch_inference` |
| `app/domain/schemas/model.py` | asked: `audio`, `sample_rate`, `language`; answered: `language` as `[iso]`, `text` |
| `app/main.py`, `app/api/` | the web service around it |
| `app/resources/run` | settings, vocabulary, trained weights, upstream |
| `app/resources/mlsuperb` | the code that runs them |
| `requirements.txt` | the template's packages and the code's own |

The text has no language in it, and a language that is told is not used (the challenge does not score by it). Nothing is
fetched from a network.

{"The run's hypotheses, as ESPnet's `egs2/ml_superb2/asr1/local/score.py` reads them: " + named + "." if named else ""}

## What could not be verified

- The form follows {SOURCE} (its README and template). The challenge is over, and nothing was uploaded.
- How the service is called was read in the public code of the server (mlcommons/dynabench). Its Dockerfile there starts from
  Python 3.8, and this code needs 3.10 or newer: ask the organisers which Python they run.
- The evaluator that is known drops the first word of every text, taking it for a language. The template's README
  asks for text alone, and so it is here; `mlsuperb.commands.score` shows both scores (`challenge`, `challenge_server`).
- The limits are 24 GB of GPU memory and no network (arXiv 2506.01458); the size of this model was not held against them.
"""
