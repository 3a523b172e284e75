from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlsuperb.commands import folders
from mlsuperb.commands.sweep import run_folders
from mlsuperb.config.compose import compose


def folder_of(*overrides: str) -> Path:
    config = compose(overrides)
    return Path(config["output_root"]) / config["run_id"]


def test_a_single_run() -> None:
    assert run_folders(["+exp=v1/lid", "seed=3", "output_root=there"]) == [
        folder_of("+exp=v1/lid", "seed=3", "output_root=there")
    ]


def test_a_sweep_in_the_order_of_its_runs() -> None:
    found = run_folders(["+exp=v1/lid,v1/mono_asr", "data.mono=eng1,rus", "seed=range(2)"], multirun=True)
    assert found == [
        folder_of(f"+exp={exp}", f"data.mono={mono}", f"seed={seed}")
        for exp in ("v1/lid", "v1/mono_asr")
        for mono in ("eng1", "rus")
        for seed in (0, 1)
    ]


def test_several_sweeps_from_the_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "+exp=v1/lid\tseed=0,1\n+exp=v1/asr_lid\thydra/launcher=slurm\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert folders.main(["--sweeps"]) == 0
    first, second = (folder_of("+exp=v1/lid", f"seed={seed}") for seed in (0, 1))
    assert capsys.readouterr().out.splitlines() == [str(first), str(second), "", str(folder_of("+exp=v1/asr_lid")), ""]
    monkeypatch.setattr(sys, "stdin", io.StringIO("+exp=v1/ldi\n"))
    with pytest.raises(ValueError, match="exp has no option 'v1/ldi'"):
        folders.main(["--sweeps"])


def test_an_experiment_that_is_a_sweep_by_itself() -> None:
    overrides = ["+exp=v2/sweep/lora_rank", "data.root=x"]
    assert run_folders(overrides) == [folder_of(*overrides, f"adaptation.rank={rank}") for rank in (4, 8, 16, 32, 64)]
    assert run_folders([*overrides, "adaptation.rank=2"], multirun=True) == [folder_of(*overrides, "adaptation.rank=2")]


def test_an_interpolation_is_resolved_in_each_job() -> None:
    flags = ["+exp=v1/lid", 'data.languages=["${upstream.name}"]']
    found = run_folders([*flags, "upstream=fbank,tiny"], multirun=True)
    assert found == [folder_of(*flags, f"upstream={one}") for one in ("fbank", "tiny")]


def test_the_same_run_is_named_once_and_the_launcher_makes_no_difference() -> None:
    launcher = ["hydra/launcher=slurm", "hydra.launcher.nodes=1"]
    found = run_folders(["+exp=v1/lid", "trainer.device=cpu,cuda", *launcher], multirun=True)
    assert found == [folder_of("+exp=v1/lid")]


@pytest.mark.parametrize("flag", ["--config-dir {}", "--config-dir={}", "-cd {}"])
def test_own_configuration_folders(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "mine.yaml").write_text("name: mine\n_target_: mlsuperb.heads.linear.LinearHead\n")
    assert main(*flag.format(tmp_path).split(), "head=mine", "run_name=${head.name}") == 0
    assert Path(capsys.readouterr().out).name.startswith("mine-")


def test_a_group_that_is_in_an_own_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "flavour").mkdir()
    for seed in (5, 6):
        (tmp_path / "flavour" / f"s{seed}.yaml").write_text(f"# @package _global_\nseed: {seed}\n")
    found = run_folders(["+flavour=s5,s6"], config_dirs=[tmp_path], multirun=True)
    assert found == [folder_of("seed=5"), folder_of("seed=6")]


def test_own_configuration_folders_in_a_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "upstream").mkdir()
    (tmp_path / "upstream" / "mine.yaml").write_text("defaults: [hubert_new_tiny, _self_]\nname: mine\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("model\tjob=pretrain\ttargets.run=x\tupstream=mine\n"))
    assert main("--config-dir", str(tmp_path), "--chain") == 0
    assert "mine" in capsys.readouterr().out


def main(*arguments: str) -> str | int | None:
    """What the command line ends with."""
    try:
        return folders.main(arguments)
    except SystemExit as end:
        return end.code


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("-m", "+exp=v1/lid", "seed=0,1") == 0
    assert capsys.readouterr().out.splitlines() == [str(folder_of("+exp=v1/lid", f"seed={seed}")) for seed in (0, 1)]


def test_launchers_need_no_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("-m", "+exp=v1/lid", "seed=0", "hydra/launcher=nowhere", "hydra.launcher.nodes=1") == 0
    assert capsys.readouterr().out.splitlines() == [str(folder_of("+exp=v1/lid"))]


def test_mistakes_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="upstream has no option 'fbnk'; nearest: fbank"):
        main("upstream=fbnk")
    with pytest.raises(ValueError, match="Ambiguous value for argument 'seed=0,1'"):
        main("seed=0,1")
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        main("--config-dir", str(tmp_path / "none"), "seed=1")
    assert main("--verbose") == main() == 2
    assert "required: OVERRIDE" in capsys.readouterr().err


def test_what_has_no_result_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--unfinished", "-m", "+exp=v1/lid", "seed=range(4)", f"output_root={tmp_path}"]
    finished, failed, killed, absent = run_folders(words[2:], multirun=True)
    for folder in (finished, failed, killed):
        folder.mkdir()
    (finished / "result.json").write_text("{}")
    counts = {"iteration": 1500, "num_iterations": 3000}
    (failed / "status.json").write_text(json.dumps({"state": "failed", **counts, "error": "ValueError: no audio"}))
    (killed / "status.json").write_text(json.dumps({"state": "running", **counts}))
    assert main(*words) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{failed} failed after 1,500 of 3,000 iterations: ValueError: no audio",
        f"{killed} not finished after 1,500 of 3,000 iterations",
        f"{absent} not started",
    ]
    for folder in (failed, killed, absent):
        folder.mkdir(exist_ok=True)
        (folder / "result.json").write_text("{}")
    assert main(*words) == 0


def test_runs_that_build_upon_each_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    chain = "units\tjob=labels\tdata=synthetic\nmodel-1\tjob=pretrain\ttargets.run=@units\tseed=1\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(chain))
    assert main("--chain") == 0
    units, model = capsys.readouterr().out.splitlines()
    assert [Path(units)] == run_folders(["job=labels", "data=synthetic"])
    assert [Path(model)] == run_folders(["job=pretrain", f"targets.run={units}", "seed=1"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(chain.replace("@units", "@unit")))
    with pytest.raises(ValueError, match="@unit is none of the runs above it: units"):
        main("--chain")


def test_torch_is_not_loaded() -> None:
    code = "import sys, mlsuperb.commands.folders; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
