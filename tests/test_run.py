"""Whole runs on the built-in corpus, as a user starts them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import killed_runs
import pytest
import torch
import yaml
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mlsuperb.commands import evaluate, transcribe
from mlsuperb.runs.hypotheses import read_hypotheses

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ["data=synthetic", "data.languages=[deu,swa]", "data.minutes=0.3", "data.test_minutes=0.1"]
TINY = [
    "+exp=demo",
    *CORPUS,
    "trainer=debug",
    "trainer.iterations_per_epoch=4",
    "head.size=32",
    "head.ffn_size=32",
    "loading.train.max_batch_size=4",
]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("corpus")
    return [f"data.root={folder}/synthetic", f"manifests={folder}/manifests"]


def run(*overrides: str, module: str = "mlsuperb.run", good: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", module, *overrides], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if good:
        assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="session")
def finished(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], str]:
    """The folder of a finished run, its overrides, and what it printed."""
    root = tmp_path_factory.mktemp("finished")
    overrides = [*TINY, *corpus, f"output_root={root}"]
    shown = run(*overrides).stdout
    (result,) = root.glob("*/result.json")
    return result.parent, overrides, shown


def test_a_run_leaves_everything_behind(finished: tuple[Path, list[str], str]) -> None:
    folder, _, shown = finished
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "best",
        "checkpoints",
        "config.yaml",
        "curves",
        "data.json",
        "environment.json",
        "README.md",
        "hypotheses.jsonl",
        "model.safetensors",
        "result.json",
        "run.log",
        "status.json",
        "tokens.json",
        "tokens.txt",
        "training.json",
    }
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    result = json.loads((folder / "result.json").read_text())
    assert result["synthetic"] is True
    assert result["official"] is False
    assert result["featurizer"] == {"name": "weighted_sum", "num_layers": 1, "layer_weights": [1.0]}  # fbank: one layer
    assert result["protocols"]["v1"]["counts"]["test"]["studio"].keys() == {"deu", "swa"}
    assert result["training"]["history"][-1]["epoch"] == 2
    assert "reference" in shown
    assert f"Everything is in {folder}" in shown.replace("\n", "")
    assert "Synthetic data" in shown


def test_its_curves_show_layer_weights_settings_and_texts(finished: tuple[Path, list[str], str]) -> None:
    events = EventAccumulator(str(finished[0] / "curves")).Reload()
    assert {"layer_weights/00", "train/speed", "train/gradient_norm", "valid/loss"} <= set(events.Tags()["scalars"])
    texts = [one.tensor_proto.string_val[0].decode() for one in events.Tensors("valid/texts/text_summary")]
    assert len(texts) == 2, "one for each epoch"
    assert 1 <= texts[0].count("\n      ref  [") <= 5
    assert texts[0].count("ref  ") == texts[0].count("hyp  ")
    assert b"upstream.name" in events.summary_metadata["_hparams_/session_start_info"].plugin_data.content


def test_a_second_start_shows_the_result_and_trains_nothing(finished: tuple[Path, list[str], str]) -> None:
    folder, overrides, _ = finished
    before = (folder / "result.json").stat().st_mtime_ns
    done = run(*overrides, "trainer.device=auto", "loading.num_workers=1")
    assert "train:" not in done.stderr
    assert f"Everything is in {folder}" in done.stdout.replace("\n", "")
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_evaluate_scores_other_data(finished: tuple[Path, list[str], str], corpus: list[str]) -> None:
    folder, _, _ = finished
    other = evaluate.evaluate(folder, [*CORPUS, *corpus, "data.languages=[swa]"], device="cpu")
    assert other.parent == folder / "evaluations"
    result = json.loads((other / "result.json").read_text())
    assert result["protocols"]["v1"]["counts"]["test"]["studio"].keys() == {"swa"}
    heard = {one.id: one.hypothesis for one in read_hypotheses(folder / "hypotheses.jsonl")}
    others = read_hypotheses(other / "hypotheses.jsonl")
    assert others
    assert all(one.hypothesis == heard[one.id] for one in others)
    again = [*CORPUS, *corpus, "data.languages=[swa]"]
    written = (other / "hypotheses.jsonl").stat().st_mtime_ns
    assert evaluate.evaluate(folder, again, device="cpu") == other
    assert (other / "hypotheses.jsonl").stat().st_mtime_ns == written
    assert evaluate.evaluate(folder, [*again, "scoring=default", "scoring.protocols=[v2]"], device="cpu") == other
    assert "v1" not in json.loads((other / "result.json").read_text())["protocols"]


def test_evaluate_takes_another_decoder_and_refuses_the_rest(
    finished: tuple[Path, list[str], str], corpus: list[str]
) -> None:
    folder, _, _ = finished
    with pytest.raises(
        ValueError, match="head, upstream cannot be changed for a trained run; give settings of data, dec"
    ):
        evaluate.evaluate(folder, [*CORPUS, "upstream=tiny", "head.size=3"])
    with pytest.raises(ValueError, match="say which data to evaluate on"):
        evaluate.evaluate(folder, ["decoding=greedy"])
    with pytest.raises(
        ValueError, match=r"say which decoding the settings are of: decoding=\.\.\. beside decoding.setting"
    ):
        evaluate.evaluate(folder, [*CORPUS, "decoding.beam_size=2"])
    other = evaluate.evaluate(folder, [*CORPUS, *corpus, "decoding=prefix_beam"], device="cpu")
    assert json.loads((other / "result.json").read_text())["config"]["decoding"]["name"] == "prefix_beam"


def test_a_sweep_runs_one_experiment_a_seed_and_ends_with_their_table(corpus: list[str], tmp_path: Path) -> None:
    done = run("-m", *TINY, *corpus, "seed=0,1", "trainer.precision=bf16", f"output_root={tmp_path}")
    results = [json.loads(path.read_text()) for path in tmp_path.glob("*/result.json")]
    assert sorted(result["seed"] for result in results) == [0, 1]
    (written,) = (tmp_path / "sweeps").glob("*.md")
    assert "2 runs on synthetic, split test, protocol v2" in written.read_text()
    assert "2 runs on synthetic" in done.stdout
    folders = [str(path.parent) for path in tmp_path.glob("*/result.json")]
    again = run("table", *folders, str(tmp_path / "nothing"), module="mlsuperb").stdout
    assert "2 runs on synthetic" in again
    assert f"not in the table: {tmp_path / 'nothing'}: there is no such folder" in again


def test_a_sweep_with_a_failed_run_ends_with_the_table_of_the_others(corpus: list[str], tmp_path: Path) -> None:
    layers = ["upstream=tiny", "adaptation=partial", "adaptation.layers=9,1"]
    done = run("-m", *TINY, *corpus, *layers, f"output_root={tmp_path}", good=False)
    assert done.returncode != 0
    assert "adaptation.layers is 9, but this upstream has 3" in done.stderr
    assert "Traceback" not in done.stderr
    (written,) = (tmp_path / "sweeps").glob("*.md")
    assert "1 run on synthetic" in written.read_text()
    assert "not in the table: " in done.stdout


def test_transcribe_reads_any_file(
    finished: tuple[Path, list[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, _, _ = finished
    first = json.loads((folder / "hypotheses.jsonl").read_text().splitlines()[0])
    transcribe.main([str(folder), first["audio"], "--json", "--device", "cpu"])
    heard = json.loads(capsys.readouterr().out)
    assert heard["audio"] == first["audio"]
    spoken = re.sub(r"\s*\[[a-z]{3}\]\s*", " ", first["hypothesis"]).strip()
    assert (heard["language"], heard["text"]) == (first["predicted_language"], spoken)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"broken.wav.*missing.wav"):
        transcribe.main([str(folder), str(tmp_path / "broken.wav"), str(tmp_path / "missing.wav")])


def test_transcribe_writes_a_file_of_words_for_each_input(
    finished: tuple[Path, list[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The times of windows of half a second lie within the recording, in order, and spell its text."""
    folder, _, _ = finished
    rows = [json.loads(line) for line in (folder / "hypotheses.jsonl").read_text().splitlines()[:2]]
    audio = tmp_path / "audio" / "sub"
    audio.mkdir(parents=True)
    for number, row in enumerate(rows):
        (audio / f"{number}.wav").write_bytes(Path(row["audio"]).read_bytes())
    options = ["--device", "cpu", "--format", "json", "--window", "1.5", "--overlap", "0.5"]
    transcribe.main([str(folder), str(tmp_path / "audio"), "--out", str(tmp_path / "out"), *options])
    assert capsys.readouterr().out == ""
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("*.json")) == [
        "sub/0.json", "sub/1.json",
    ]  # fmt: skip
    for number, row in enumerate(rows):
        found = json.loads((tmp_path / "out" / "sub" / f"{number}.json").read_text())
        assert found["duration_s"] == pytest.approx(row["duration_s"], abs=0.001)
        assert found["languages"].keys() == {"deu", "swa"}
        assert max(found["languages"], key=found["languages"].get) == found["language"]
        assert "".join(word["word"] for word in found["words"]) == found["text"].replace(" ", "")
        ends = [
            0.0,
            *(time for word in found["words"] for time in (word["start_s"], word["end_s"])),
            found["duration_s"],
        ]
        assert ends == sorted(ends)
    with pytest.raises(ValueError, match=r"there already. Remove what was written before"):
        transcribe.main([str(folder), str(tmp_path / "audio"), "--out", str(tmp_path / "out"), *options])


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not the folder of a run: config.yaml missing"):
        evaluate.evaluate(tmp_path, CORPUS)


def test_foreign_weights_are_refused(finished: tuple[Path, list[str], str], corpus: list[str], tmp_path: Path) -> None:
    folder, _, _ = finished
    for name in ("config.yaml", "tokens.txt", "training.json", "upstream.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    save_file({"other.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors does not belong to this model"):
        evaluate.evaluate(tmp_path, [*CORPUS, *corpus], device="cpu")


def _renamed(config: dict[str, Any]) -> None:
    config["head"]["sise"] = config["head"].pop("size")


EDITED: dict[str, tuple[Any, str]] = {
    "no head": (lambda config: config.pop("head"), "head has no _target_"),
    "a text for a part": (lambda config: config.update(decoding="greedy"), "decoding has no _target_"),
    "no trainer": (lambda config: config.pop("trainer"), "trainer.device and trainer.precision are missing"),
    "a trainer of text": (
        lambda config: config.update(trainer="debug"),
        "trainer.device and trainer.precision are missing",
    ),
    "a misspelt setting": (_renamed, "nothing reads the setting 'head.sise'"),
    "a number of text": (lambda config: config["head"].update(size="32"), "head.size='32' should be a valid integer"),
    "no job": (lambda config: config.update(job=None), "names no class to build"),
    "a job of text": (lambda config: config.update(job="benchmark"), "names no class to build"),
}


@pytest.mark.parametrize(("change", "message"), EDITED.values(), ids=EDITED)
def test_a_configuration_that_was_edited_is_one_sentence(
    change: Any, message: str, finished: tuple[Path, list[str], str], tmp_path: Path
) -> None:
    folder, _, _ = finished
    for name in ("tokens.txt", "training.json", "upstream.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    audio = json.loads((folder / "hypotheses.jsonl").read_text().splitlines()[0])["audio"]
    with pytest.raises(ValueError, match=re.escape(message)):
        transcribe.main([str(tmp_path), audio, "--device", "cpu"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokens.txt", b"<blank>\n<unk>\n\n", "is no list of tokens"),
        ("tokens.txt", b"<blank>\n<blank>\n", "is no list of tokens"),
        ("tokens.txt", b"<blank>\n\xff\n", "is no list of tokens"),
        ("tokens.txt", b"<blank>\n<unk>\na\n", "does not belong to this model"),
        ("upstream.json", b"[]", "upstream.json holds no JSON object"),
        ("upstream.json", b"{", "upstream.json is not JSON"),
        ("upstream.json", b'{"commit": 1, "commit": 2}', "'commit' occurs twice"),
        ("upstream.json", b"[" * 100_000, "nested too deeply"),
        ("model.safetensors", b"", "cannot be read as safetensors weights"),
    ],
)
def test_files_of_a_run_that_are_damaged_are_named(
    name: str, content: bytes, message: str, finished: tuple[Path, list[str], str], tmp_path: Path
) -> None:
    folder, _, _ = finished
    for one in ("config.yaml", "tokens.txt", "training.json", "upstream.json", "model.safetensors"):
        (tmp_path / one).write_bytes((folder / one).read_bytes())
    (tmp_path / name).write_bytes(content)
    audio = json.loads((folder / "hypotheses.jsonl").read_text().splitlines()[0])["audio"]
    with pytest.raises(ValueError, match=re.escape(message)):
        transcribe.main([str(tmp_path), audio, "--device", "cpu"])


def test_a_list_of_tokens_in_another_order_is_refused(finished: tuple[Path, list[str], str], tmp_path: Path) -> None:
    folder, _, _ = finished
    run = shutil.copytree(folder, tmp_path / folder.name)
    first, *rest, last = (run / "tokens.txt").read_text().splitlines()
    (run / "tokens.txt").write_text("\n".join([first, *reversed(rest), last, ""]))
    audio = json.loads((folder / "hypotheses.jsonl").read_text().splitlines()[0])["audio"]
    with pytest.raises(ValueError, match=r"tokens\.txt is not the list that the model was trained with"):
        transcribe.main([str(run), audio, "--device", "cpu"])
    (run / "tokens.json").unlink()  # of a run from before it was written
    transcribe.main([str(run), audio, "--device", "cpu"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+exp=demo", "data=ml_superb_10min", "data.root=/no/such"], "data.root=/no/such: there is no such folder"),
        ([*TINY, "data.languages=[deu,qqq]"], "qqq"),
        ([*TINY, "head.num_blocks=0", "trainer.accumulate=3"], "head.num_blocks=0 should be greater than 0"),
    ],
)
def test_user_mistakes_end_in_one_paragraph(overrides: list[str], message: str, tmp_path: Path) -> None:
    done = run(*overrides, f"output_root={tmp_path}", good=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "run.log" not in done.stderr, "there is none to look at"
    assert list(tmp_path.iterdir()) == [], "what is refused leaves no folder"


@pytest.mark.parametrize(
    "overrides",
    [
        ["+exp=v1/asr_lid", "upstream=tiny"],
        ["+exp=v1/multi_asr", "upstream=tiny"],
        ["+exp=v1/mono_asr", "upstream=fbank", "data.languages=[swa]"],
        ["+exp=v1/lid", "upstream=fbank"],
        ["+exp=v1/lid", "upstream=tiny", "objective=classifier", "decoding=argmax", "featurizer=last_layer"],
    ],
    ids=lambda overrides: " ".join(overrides),
)
def test_every_track_runs_to_its_result(overrides: list[str], corpus: list[str], tmp_path: Path) -> None:
    run(*overrides[:1], *CORPUS, *corpus, *overrides[1:], "trainer=debug", f"output_root={tmp_path}")
    (path,) = tmp_path.glob("*/result.json")
    result: dict[str, Any] = json.loads(path.read_text())
    assert result["protocols"]["v1"]["metrics"]["test"]


def test_killed_runs_end_as_if_left_alone(
    corpus: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL in a step, in a validation, while a checkpoint is written, before the hypotheses are."""
    overrides = [*TINY, *corpus, "specaug=ml_superb"]
    assert killed_runs.main(tmp_path, overrides) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.count("same bytes: True") == len(killed_runs.MOMENTS) == 4
