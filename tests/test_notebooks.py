"""docs/notebooks and the Python in docs/api.md run, on a small run in the place of the demo's."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import soundfile
from finished_runs import built, write_built
from trained_runs import trained_run

import mlsuperb
from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.runs.store import read_config
from mlsuperb.types import Hypothesis

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))
API = (DOCS / "api.md").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run on noise in two languages, as `make demo` would leave it, and recordings."""
    run = trained_run(tmp_path / "exp" / "demo-1a2b3c4d", "upstream=tiny", "head=transformer_light", "head.size=32")
    generator = np.random.default_rng(0)
    ones = []
    for number, language in enumerate(["deu", "spa"] * 3):
        audio = tmp_path / f"{number}.wav"
        soundfile.write(audio, generator.normal(0, 0.1, 8_000 + 1_000 * number), 16_000)
        ones.append(
            Hypothesis(
                id=f"studio_{language}_{number:06d}", dataset="studio", language=language, split="test", audio=str(audio),
                start_s=0.0, duration_s=0.5, reference="ä", hypothesis=f"[{language}] Ä", predicted_language=language,
            )
        )  # fmt: skip
    write_hypotheses(run / "hypotheses.jsonl", ones)
    weights = {"name": "weighted_sum", "num_layers": 7, "layer_weights": [1 / 7] * 7}
    write_built(
        run, built(ones, "asr_lid", run_id=run.name, config=read_config(run), featurizer=weights, cost={"hours": 0.1})
    )
    for name in ("recording.wav", "a.ogg", "b.mp3"):
        soundfile.write(tmp_path / name, generator.normal(0, 0.1, 24_000), 16_000)
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    return tmp_path


def run_cells(cells: Iterable[str]) -> dict[str, Any]:
    """The names that cells leave, run one after the other as Jupyter does."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        exec(compile(cell, "<cell>", "exec"), names)
    return names


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(one["source"]) for one in cells if one["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_no_outputs_and_no_places(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({one["id"] for one in content["cells"]}) == len(content["cells"]) >= 5
    for one in content["cells"]:
        assert one["metadata"] == {}
        if one["cell_type"] == "code":
            assert (one["outputs"], one["execution_count"]) == ([], None)
    assert not re.search(r"[\"' (]/(home|Users|root|work|tmp)", text)
    assert len(text) < 10_000


def test_the_notebook_of_a_trained_run(place: Path) -> None:
    names = run_cells(code_of(DOCS / "notebooks" / "a_trained_run.ipynb"))
    assert names["run"] == Path("exp/demo-1a2b3c4d")
    assert len(names["transcripts"]) == 2
    assert names["posteriors"].values.shape[1] == len(names["posteriors"].tokens)
    assert names["rates"].to_dict() == {
        "as they are": {"deu": 0.0, "spa": 0.0},
        "without marks": {"deu": 50.0, "spa": 50.0},
    }


def test_the_notebook_of_layers(place: Path) -> None:
    names = run_cells(code_of(DOCS / "notebooks" / "layers.ipynb"))
    assert len(names["accuracy"]) == 7
    assert all(0 <= one <= 1 for one in names["accuracy"])
    assert names["chance"] == pytest.approx(2 / 5)
    assert names["weights"] == [[1 / 7] * 7]
    assert list((place / "exp" / "features").rglob("*.safetensors"))
    assert len(NOTEBOOKS) == 2, "each has its test here"


def test_the_python_in_the_document(place: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", API, re.DOTALL)
    assert len(blocks) == 5
    names = run_cells(blocks)
    assert names["layers"].values.shape == (4, 74, 64)
    assert names["posteriors"].frame_rate_hz == 12.5
    assert repr(names["upstream"]) == "mhubert_tiny: 7 layers of 256, 50 frames per second"
    assert repr(names["upstream"]) in API
    assert names["scores"]["v1"]["metrics"]["all_cer"] == pytest.approx(100 / 10)
    assert len(names["frame"]) == 1


def test_the_document_names_every_function_and_setting() -> None:
    for name in mlsuperb.__all__:
        assert f"mlsuperb.{name}(" in API
    for argument in set(re.findall(r"[(,] ?(\w+)=", " ".join(re.findall(r"mlsuperb\.load\([^`\n]*\)", API)))):
        assert argument in inspect.signature(mlsuperb.load).parameters
