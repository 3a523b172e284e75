"""`mlsuperb table` and `mlsuperb report` where runs of pre-training lie beside others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finished_runs import finished_run

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))
sys.path.insert(0, str(Path(__file__).parents[1] / "pretraining"))
from fake_runs import make_run
from pretraining_runs import labels_of, pretraining_of, run, speech_tree

from mlsuperb.analysis.chart import Chart
from mlsuperb.commands import report, table


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labels and a training."""
    root = tmp_path_factory.mktemp("pretrained")
    labels = run(labels_of(speech_tree(root / "tree"), root / "exp", "run_name=labels1"))
    run(pretraining_of(labels, root / "exp", "run_name=iteration1", "trainer.max_epochs=1"))
    return root / "exp"


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    table.main([*map(str, arguments)])
    return capsys.readouterr().out


def test_the_table_of_a_benchmark_stays_and_pretraining_has_its_own(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        finished_run(tmp_path / f"run-{seed}", wrong=seed, seed=seed, lr=0.1, loss=1.0)
    alone = shown(capsys, tmp_path, "--out", tmp_path / "alone.md")
    together = shown(capsys, tmp_path, pretrained, "--out", tmp_path / "both.md")
    assert together.startswith(alone.partition("Written to")[0])
    assert "1 run of pre-training" in together
    page = (tmp_path / "both.md").read_text(encoding="utf-8")
    assert page.startswith((tmp_path / "alone.md").read_text(encoding="utf-8"))
    (training,) = pretrained.glob("iteration1-*")
    row = next(line for line in page.splitlines() if line.startswith(f"| {training.name} |"))
    scores = json.loads((training / "result.json").read_text())["scores"]["all"]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:7] == ["hubert_new", "kaldi_mfcc", "0", "8", "4", "0.01"]
    assert float(cells[7]) == pytest.approx(scores["loss"] / 0.693147, abs=1e-3)
    assert float(cells[8]) == pytest.approx(100 * scores["masked_accuracy"], abs=0.06)
    assert "is a result of job labels, not of benchmark or translation or pretrain" in together


def test_pretraining_alone_has_a_table(pretrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, pretrained, "--best", "trainer.optimizer.lr")
    assert said.startswith("1 run of pre-training")
    assert "Synthetic" not in said
    with pytest.raises(
        ValueError, match=r"no finished run: .*a result of job labels, not of benchmark or translation or pretrain"
    ):
        table.main([str(next(pretrained.glob("labels1-*")))])


def test_synthetic_speech_is_said_under_a_table_of_its_own(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (training,) = pretrained.glob("iteration1-*")
    other = shutil.copytree(training, tmp_path / "other")
    result = json.loads((other / "result.json").read_text())
    result["data"]["synthetic"] = True
    (other / "result.json").write_text(json.dumps(result))
    said = shown(capsys, pretrained, other)
    assert said.count("1 run of pre-training") == 2
    assert said.count("Some or all of the speech is synthetic") == 1


def test_each_kind_of_run_has_its_page(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Chart, "save", lambda chart, folder: [])
    scored = make_run(tmp_path / "run", languages=("eng", "fra"), audio=False)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.yaml").write_text("seed: 0")
    out = tmp_path / "pages" / "all.html"
    report.main([str(scored), str(pretrained), str(tmp_path / "unfinished"), "--out", str(out)])
    said = capsys.readouterr().out
    assert f"left out: {tmp_path / 'unfinished'}: not started" in said
    assert "is a result of job" not in said
    benchmark, other = (
        out.read_text(encoding="utf-8"),
        (out.parent / "all_pretraining.html").read_text(encoding="utf-8"),
    )
    assert "Written by mlsuperb from result.json and hypotheses.jsonl." in benchmark
    assert "Written by mlsuperb from result.json, labels and curves." in other
    assert "Pre-training: 2 runs" in other
    assert "default-src 'none'" in other
    assert f"Written to {out}" in said
    assert "Written to" in said
    report.main([str(pretrained), "--out", str(tmp_path / "only.html")])
    assert "Pre-training: 2 runs" in (tmp_path / "only.html").read_text(encoding="utf-8")
    (training,) = pretrained.glob("iteration1-*")
    report.main([str(training)])
    assert (training / "report.html").is_file()


def test_a_table_of_pretraining_loads_no_torch() -> None:
    code = (
        "import sys, mlsuperb.commands.table, mlsuperb.pretraining.records, mlsuperb.analysis.pretraining_table\n"
        "print([name for name in ('torch', 'transformers', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
