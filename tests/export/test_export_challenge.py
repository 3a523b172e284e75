from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import yaml
from tiny_checkpoints import write_checkpoint
from trained_runs import add_result, trained_run

from mlsuperb.commands.export import main
from mlsuperb.commands.transcribe import transcribe
from mlsuperb.export import challenge
from mlsuperb.export.challenge import SERVER_PACKAGES, export_challenge
from mlsuperb.export.server import Server
from mlsuperb.runs.hypotheses import write_hypotheses
from mlsuperb.types import Hypothesis
from mlsuperb.upstreams import bundled

# As the server does it: the schema file alone says which columns are sent, then the service is asked. fastapi stands in for
# itself by its three names that are used, each keeping what it is given.
CALLS = """
import importlib.util, json, sys, types
sys.path[0] = sys.argv[1]
spec = importlib.util.spec_from_file_location("ModelSingleInput", "app/domain/schemas/model.py")
schema = importlib.util.module_from_spec(spec)
spec.loader.exec_module(schema)
required = schema.ModelSingleInput.model_json_schema()["required"]

class Router:
    def __init__(self):
        self.routes = {}
    def post(self, path, response_model):
        return lambda function: self.routes.setdefault(path, function)
    def get(self, path):
        return lambda function: function
    def include_router(self, router, prefix, tags):
        self.routes |= {prefix + path: function for path, function in router.routes.items()}

sys.modules["fastapi"] = types.SimpleNamespace(FastAPI=Router, APIRouter=Router)
from app.main import app
from app.domain.schemas.model import ModelBatchInput, ModelSingleInput
from app.domain.model import ModelController
samples = json.load(open(sys.argv[2]))
sent = [{column: row[column] for column in required} for row in samples]
batch = app.routes["/model/batch_evaluation"](ModelBatchInput(dataset_samples=sent))
single = [app.routes["/model/single_evaluation"](ModelSingleInput(**one)) for one in sent]
as_list = ModelController().batch_inference(sent)
import mlsuperb
assert batch == single == as_list and ModelController().server is ModelController().server
print(json.dumps({"required": required, "code": mlsuperb.__file__, "answers": [one.model_dump() for one in batch]}))
"""


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on a folder's checkpoint and its submission, moved after it was made; the checkpoint is gone."""
    place = tmp_path_factory.mktemp("challenge")
    checkpoint = write_checkpoint(place / "checkpoint", "xls_r")
    run = trained_run(place / "run", "upstream=hf", f"upstream.checkpoint={checkpoint}", "adaptation=lora")
    add_result(run)
    ones = [
        Hypothesis(
            id=name, dataset="d", language="deu", split=split, audio="a", start_s=0, duration_s=1, reference="x",
            hypothesis=text, predicted_language=None,
        )
        for name, split, text in (("u1", "dev", "[deu] GUTEN TAG"), ("u2", "dev", ""), ("u3", "dev_dialect", "[spa] SI"))
    ]  # fmt: skip
    write_hypotheses(run / "hypotheses.jsonl", ones)
    made = export_challenge(run, place / "made")
    return run, made.rename(place / "elsewhere")


def samples(run: Path) -> list[dict[str, Any]]:
    """Noise of three lengths (one of them nothing), and what was heard in it as files."""
    generator = torch.Generator().manual_seed(3)
    waves = [0.1 * torch.randn(length, generator=generator) for length in (16_000, 24_000, 0)]
    return [
        {"uid": str(number), "audio": wave.tolist(), "sample_rate": 16_000, "language": "", "text": "secret"}
        for number, wave in enumerate(waves)
    ]


def test_the_submission_answers_as_the_server_asks(submission: tuple[Path, Path], tmp_path: Path) -> None:
    run, folder = submission
    asked = samples(run)
    (tmp_path / "samples.json").write_text(json.dumps(asked))
    (tmp_path / "calls.py").write_text(CALLS)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "calls.py"), str(folder), str(tmp_path / "samples.json")],
        cwd=folder, capture_output=True, text=True, check=False, env={"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["required"] == ["audio", "language"]
    assert Path(said["code"]).is_relative_to(folder / "app" / "resources")
    assert len(said["answers"]) == 3
    files = [tmp_path / f"{one['uid']}.wav" for one in asked[:2]]
    for one, file in zip(asked, files, strict=False):
        soundfile.write(file, one["audio"], 16_000, subtype="FLOAT")
    for answer, heard in zip(said["answers"], transcribe(run, files, device="cpu"), strict=False):
        named = f"[{heard.predicted_language}]" if heard.predicted_language else "[unk]"
        assert answer == {"language": named, "text": heard.hypothesis.removeprefix(named).strip()}


def test_the_folder_holds_what_the_template_asks_for(submission: tuple[Path, Path]) -> None:
    _, folder = submission
    for name in ("requirements.txt", "README.md", "app/main.py", "app/domain/model.py", "app/domain/schemas/model.py",
                 "app/api/endpoints/model.py", "app/resources/run/model.safetensors",
                 "app/resources/run/upstream/model.safetensors"):  # fmt: skip
        assert (folder / name).is_file(), name
    lines = (folder / "requirements.txt").read_text().splitlines()
    for package in SERVER_PACKAGES:
        assert any(line == package or line.startswith((f"{package}<", f"{package}>")) for line in lines)
    assert any(line.startswith("transformers") for line in lines)
    assert not any("extra" in line or ";" in line for line in lines)
    assert (folder / "hypotheses" / "dev.txt").read_text() == "u1 [deu] GUTEN TAG\nu2 \n"
    assert (folder / "hypotheses" / "dev_dialect.txt").read_text() == "u3 [spa] SI\n"
    text = (folder / "README.md").read_text()
    assert "What could not be verified" in text
    assert "Synthetic data" in text
    everything = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in everything if path.suffix == ".pyc"]
    config = (folder / "app/resources/run/config.yaml").read_text()
    assert str(folder.parent) not in config


def test_the_public_scorers_form_can_be_read_back(submission: tuple[Path, Path]) -> None:
    """The scorer cuts a line at its first space; the language is the first five characters of the rest."""
    _, folder = submission
    first = (folder / "hypotheses" / "dev.txt").read_text().splitlines()[0]
    _, _, rest = first.partition(" ")
    assert (rest[:5], rest[5:].strip()) == ("[deu]", "GUTEN TAG")


def test_a_run_that_only_transcribes_is_refused(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", "upstream=tiny", "adaptation=frozen", "task=asr")
    with pytest.raises(ValueError, match=r"task=asr, but the challenge asks for the language and the text"):
        main(["challenge", str(run), str(tmp_path / "export")])


def test_an_upstream_without_a_checkpoint_comes_along_as_settings(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", "upstream=tiny", "adaptation=full")
    main(["challenge", str(run), str(tmp_path / "export")])
    assert not (tmp_path / "export/app/resources/run/upstream").exists()
    assert not (tmp_path / "export/hypotheses").exists()


@pytest.mark.parametrize("kind", ["bundled", "pretrained"])
def test_every_upstream_with_weights_comes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A model of the package lies beside it in a checkout, and a run of job=pretrain on this machine alone."""
    checkpoint = write_checkpoint(tmp_path / "pretrained" / "huggingface", "hubert_base")
    given = {
        "bundled": ["upstream=mhubert_tiny"],
        "pretrained": ["upstream=pretrained", f"upstream.run={checkpoint.parent}"],
    }
    run = trained_run(tmp_path / "run", *given[kind])
    folder = export_challenge(run, tmp_path / "made")
    shutil.rmtree(checkpoint)
    monkeypatch.setattr(bundled, "models_folder", lambda: tmp_path / "nowhere")
    assert Server(folder / "app/resources/run", device="cpu")
    told = [path for path in folder.rglob("*") if path.suffix in (".yaml", ".json", ".md")]
    assert not [path for path in told if str(tmp_path).encode() in path.read_bytes()]


def test_a_checkpoint_with_an_adapter_is_refused(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", "upstream=tiny")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["upstream"]["adapter"] = "x"
    with pytest.raises(ValueError, match=r"with an adapter \(upstream\.adapter=x\), which is not passed on"):
        challenge._copy_run(run, tmp_path / "made", config, recogniser=None)  # type: ignore[arg-type]


def test_a_split_of_somebodys_hypotheses_names_no_file_elsewhere(tmp_path: Path, utterance: Any) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write_hypotheses(run / "hypotheses.jsonl", [utterance("eng", "a", "a", split="../../elsewhere")])
    with pytest.raises(ValueError, match=r"has a split '\.\./\.\./elsewhere', which cannot be the name of a file"):
        challenge._write_hypotheses(run, tmp_path / "a" / "hypotheses")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
