"""What a configuration from somebody else's folder may have imported and built."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from mlsuperb.commands import evaluate, export, score, transcribe
from mlsuperb.config.build import instantiate
from mlsuperb.config.check import check
from mlsuperb.config.compose import compose
from mlsuperb.runs import classes, store
from mlsuperb.runs.identity import not_science, science


class Payload:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture(autouse=True)
def nothing_is_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "_brought", set())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What `load_config` wants to see, with a module of somebody's beside it."""
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder, {**compose(["upstream=fbank", "data=synthetic"]), "run_id": "r", "output_root": str(tmp_path)})
    for name in ("tokens.txt", "model.safetensors", "training.json", "upstream.json"):
        (folder / name).write_text("{}")
    mark = tmp_path / "mark"
    (folder / "x.pkl").write_bytes(pickle.dumps(Payload(mark)))
    (folder / "evilmod.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass X: pass\nprotocol = X()\n")
    return folder


def write(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def _set(place: str, value: Any) -> Callable[[dict[str, Any], Path], None]:
    def change(config: dict[str, Any], folder: Path) -> None:
        *parents, last = place.split(".")
        for name in parents:
            config = config[name]
        config[last] = json.loads(json.dumps(value).replace("RUN", str(folder)))

    return change


STRANGERS = {
    "a callable of torch": _set("adaptation", {"_target_": "torch.load", "f": "RUN/x.pkl", "weights_only": False}),
    "a reader of pickles": _set("adaptation", {"_target_": "pandas.read_pickle", "filepath_or_buffer": "RUN/x.pkl"}),
    "open": _set("adaptation", {"_target_": "builtins.open", "file": "RUN/x.pkl", "mode": "w"}),
    "a module in the run": _set("adaptation", {"_target_": "evilmod.X", "name": "frozen"}),
    "the job": _set("job", {"_target_": "evilmod.X", "name": "benchmark"}),
    "a node in a node": _set("loading.train.sampling", {"_target_": "evilmod.X"}),
    "a node in a list": _set("trainer.trackers", [{"_target_": "evilmod.X"}]),
    "a node where nothing reads one": _set("nobody", {"asks": {"_target_": "evilmod.X"}}),
    "a part of it": _set("adaptation", {"_target_": "evilmod.X", "_partial_": True}),
    "a function of ours": _set("adaptation", {"_target_": "mlsuperb.runtime.files.write_atomic", "path": "RUN/a", "pieces": []}),
    "a class of ours that is no part": _set("adaptation", {"_target_": "mlsuperb.runs.run.Run", "config": {}}),
    "a path through a module of ours": _set("adaptation", {"_target_": "mlsuperb.runtime.files.os.system", "command": "x"}),
    "something of torch.optim": _set("trainer.optimizer._target_", "torch.optim.adamw._use_grad_for_differentiable"),
    "no text": _set("adaptation", {"_target_": ["mlsuperb.adaptation.frozen.Frozen"]}),
    "a protocol": _set("scoring.protocols", ["v1", "evilmod.protocol"]),
    "an older address": _set("featurizer._target_", "mlsuperb.featurizer.os.system"),
}  # fmt: skip


@pytest.mark.parametrize("change", STRANGERS.values(), ids=STRANGERS)
def test_a_foreign_run_has_nothing_imported_or_built(
    change: Callable[[dict[str, Any], Path], None], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config, run)
    write(run, config)
    monkeypatch.syspath_prepend(run)  # as `python -m` in that folder has it
    monkeypatch.setattr(classes, "_brought", set())
    soundfile.write(tmp_path / "a.wav", np.full(1600, 0.1), 16000)
    before = sorted(path.name for path in run.iterdir())
    calls = (
        lambda: transcribe.main([str(run), str(tmp_path / "a.wav")]),
        lambda: evaluate.main([str(run), "data=synthetic"]),
        lambda: export.main(["upstream", str(run), str(tmp_path / "out")]),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"config\.yaml names what is no part of mlsuperb .*--config-dir DIR"):
            call()
    assert "evilmod" not in sys.modules
    assert not (tmp_path / "mark").exists()
    assert (run / "x.pkl").stat().st_size > 10
    assert sorted(path.name for path in run.iterdir()) == before


def test_looking_at_a_foreign_run_imports_nothing_either(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    for group in ("head", "task", "trainer"):
        config[group]["_target_"] = "evilmod.X"
    write(run, config)
    assert "trainer.device" not in not_science(config), "a stranger's class declares nothing"
    assert science(config)["head"]["_target_"] == "evilmod.X"
    assert store.read_config(run)["task"]["_target_"] == "evilmod.X"
    (run / "hypotheses.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"does not say .*'evilmod\.X' is no part of mlsuperb"):
        score.facts_of(run, [], {"task": None, "normaliser": None, "units": None})
    assert "evilmod" not in sys.modules


def test_settings_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "secret")
    node = {"_target_": "mlsuperb.training.schedules.Constant"}
    with pytest.raises(TypeError, match="_args_"):
        instantiate({**node, "_args_": [1]})
    built = instantiate(
        {"_target_": "mlsuperb.data.corpora.kaldi.Kaldi", "root": "${oc.env:SECRET}", "language": "eng"}
    )
    assert str(built.root) == "${oc.env:SECRET}"


def test_what_the_package_and_the_user_name_may_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlsuperb.heads.linear.LinearHead", "torch.optim.AdamW", "torch.optim.SGD"):
        assert classes.may_be_built(name)
    for name in ("mlsuperb.commands.sweep.SweepTable", "torch.optim.lr_scheduler.StepLR", "own_classes.Mine", ""):
        assert not classes.may_be_built(name)
    (tmp_path / "own_classes.py").write_text("class Mine:\n    pass\n\n\nprotocol = Mine()\n")
    (tmp_path / "conf" / "head").mkdir(parents=True)
    (tmp_path / "conf" / "head" / "mine.yaml").write_text("inner:\n  - _target_: own_classes.Mine\n")
    (tmp_path / "conf" / "own.yaml").write_text("scoring:\n  protocols:\n    - v1\n    - own_classes.protocol\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"'own_classes\.Mine' is no part of mlsuperb, and the user has not given it"):
        classes.class_named("own_classes.Mine")
    classes.bring(classes.named_in_files(tmp_path / "conf"))
    assert classes.class_named("own_classes.Mine").__name__ == "Mine"
    assert classes.may_be_built("own_classes.protocol")
    compose(["upstream._target_=own_classes.Other"])
    with pytest.raises(ValueError, match=r"own_classes\.Other cannot be imported: module .* has no attribute"):
        classes.class_named("own_classes.Other")
    for given in ("[own_classes.Mine]", ".own.Mine", "5"):
        with pytest.raises(ValueError, match=r"head\._target_: .* cannot be imported"):
            check(compose([f"head._target_={given}"]))


def test_folders_of_the_users_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--config-dir .*none: there is no such folder"):
        classes.named_in_files(tmp_path / "none")
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(ValueError, match=r"a\.yaml cannot be read as YAML"):
        classes.named_in_files(tmp_path)


@pytest.mark.parametrize(
    "content", [b"a: [", b"- a", b"", b"a: \xff", b"!!python/object/apply:os.getcwd []", b"&a {x: *a}"]
)
def test_a_damaged_configuration_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.yaml (cannot be read as YAML|holds no settings).* Restore a copy"):
        store.read_config(tmp_path)


def test_evaluation_finds_the_users_own_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "few.yaml").write_text("defaults: [synthetic, _self_]\nname: few\nroot: own_classes.Other\n")
    with pytest.raises(ValueError, match="few"):
        compose(["data=few"])
    config = compose(["data=few"], config_dirs=[tmp_path])
    assert (config["data"]["name"], config["data"]["root"]) == ("few", "own_classes.Other")
    assert config["data"]["_target_"] == "mlsuperb.data.corpora.synthetic.Synthetic"


def test_an_imported_run_of_which_the_upstream_was_taken_out_is_one_sentence(run: Path, tmp_path: Path) -> None:
    (run / "upstream").mkdir()
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["upstream"]
    write(run, config)
    soundfile.write(tmp_path / "a.wav", np.full(1600, 0.1), 16000)
    with pytest.raises(ValueError, match=r"config\.yaml was edited and cannot be used: upstream has no _target_"):
        transcribe.main([str(run), str(tmp_path / "a.wav")])
