"""`conf/` is found from a wheel, from a checkout and from an editable install, wherever the command is given."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

ROOT = Path(__file__).resolve().parents[1]
WHERE = "import mlsuperb, mlsuperb.config.options as o; print(mlsuperb.__file__, o.conf_dir(), sep='\\n')"
OWN_UPSTREAM = '''
from mlsuperb.upstreams.fbank import Fbank


class Mine(Fbank):
    """A user's own upstream."""

    def __init__(self, *, bands: int) -> None:
        super().__init__(num_mels=bands)
'''
OWN_YAML = {
    "upstream/mine.yaml": "name: mine\n_target_: my_upstreams.Mine\nbands: 40\ncard: {source: mine}\n",
    "exp/group/mine.yaml": """\
# @package _global_
defaults:
  - override /upstream: mine
  - override /head: transformer_light
  - override /decoding: greedy
  - override /trainer: debug
  - _self_
run_name: mine
head:
  size: 32
  frontend: linear
""",
}


def python(*arguments: str, cwd: Path, path: list[Path]) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    pip = ["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    python(*pip, "--wheel-dir", str(folder), str(ROOT), cwd=folder, path=[])
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `pip install` would put into site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder: YAML files, and a module beside them."""
    for name, content in OWN_YAML.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(content, encoding="utf-8")
    (tmp_path / "own" / "my_upstreams.py").write_text(OWN_UPSTREAM, encoding="utf-8")
    return tmp_path / "own"


def test_the_wheel_holds_every_yaml_the_licence_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    yamls = {f"mlsuperb/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    published = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mlsuperb").rglob("*.yaml")}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mlsuperb").rglob("*.py")}
    assert len(yamls) >= 60
    assert len(modules) >= 60
    assert len(published) >= 8
    assert {name for name in names if name.endswith(".yaml")} == yamls | published
    assert {name for name in names if name.endswith(".py")} == modules
    models = {
        f"mlsuperb/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "models").rglob("*") if path.is_file()
    }
    assert {name for name in names if name.startswith("mlsuperb/models/")} == models
    assert "mlsuperb/models/mhubert_tiny/model.safetensors" in models
    assert {"mlsuperb/py.typed", "mlsuperb/__init__.pyi"} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"mlsuperb"}, "one package, no stray folder"


def test_the_index_page_has_links_that_lead_somewhere(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    text = archive.read(metadata).decode()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) >= 15
    assert all(link.startswith("https://") for link in links), links
    assert "https://github.com/mlsuperb/mlsuperb/blob/main/docs/benchmark.md" in links
    assert "Project-URL: Documentation, https://" in text


def test_a_wheel_runs_from_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    package, conf = python("-c", WHERE, cwd=tmp_path, path=[unpacked]).split()
    assert Path(package) == unpacked / "mlsuperb" / "__init__.py"
    assert Path(conf) == unpacked / "mlsuperb" / "conf"
    config = yaml.safe_load(python("-m", "mlsuperb.run", "--cfg", "job", cwd=tmp_path, path=[unpacked]))
    assert config["upstream"]["name"] == "fbank"
    depth = (
        "from mlsuperb.upstreams.bundled import Bundled; print(Bundled(model='mhubert_tiny', revision='').num_layers)"
    )
    assert python("-c", depth, cwd=tmp_path, path=[unpacked]).split()[-1] == "7"
    shown = python("-m", "mlsuperb.run", "--help", cwd=tmp_path, path=[unpacked])
    assert "hubert_base" in shown
    assert "exp/v1: asr_lid" in shown
    assert list(tmp_path.iterdir()) == [], "neither leaves anything behind"


def test_a_user_adds_a_class_and_its_yaml_to_a_wheel(unpacked: Path, own: Path, tmp_path: Path) -> None:
    """`--config-dir` with an own upstream and an own experiment: shown, composed, trained, scored."""
    place = {"cwd": tmp_path, "path": [unpacked, own]}
    command = ["-m", "mlsuperb.run", "--config-dir", str(own)]
    assert ", mine, " in python(*command, "--help", **place)
    composed = yaml.safe_load(python(*command, "upstream=mine", "upstream.bands=20", "--cfg", "job", **place))
    assert composed["upstream"] | {"card": 0} == {
        "name": "mine", "_target_": "my_upstreams.Mine", "bands": 20, "card": 0
    }  # fmt: skip
    small = ["data.languages=[deu,swa]", "data.minutes=0.3", "data.test_minutes=0.1"]
    shown = python(*command, "+exp=group/mine", *small, **place)
    (path,) = (tmp_path / "exp").glob("*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["run_id"].startswith("mine-")
    assert result["upstream"]["settings"] == {"bands": 40}
    assert result["code"]["commit"] is None, "an installed package has no commit"
    assert "Synthetic data" in shown
    wave = tmp_path / "a.wav"
    soundfile.write(wave, np.random.default_rng(0).standard_normal(16000) * 0.1, 16000)
    written = python("-m", "mlsuperb", "transcribe", "--config-dir", str(own), str(path.parent), str(wave), **place)
    assert written.startswith(f"{wave}\t"), "built, since the user names the class again"


def test_a_checkout_runs_from_another_folder(tmp_path: Path) -> None:
    package, conf = python("-c", WHERE, cwd=tmp_path, path=[ROOT]).split()
    assert (Path(package), Path(conf)) == (ROOT / "mlsuperb" / "__init__.py", ROOT / "conf")
    config = yaml.safe_load(python("-m", "mlsuperb.run", "--cfg", "job", cwd=tmp_path, path=[ROOT]))
    assert config["upstream"]["name"] == "fbank"


def test_an_editable_install_is_the_checkout(tmp_path: Path) -> None:
    """hatchling's editable wheel is a .pth file that names the checkout, and (because `conf` is force-included) a copy of
    conf/ from the day it was installed, in site-packages/mlsuperb. That copy must not be the one that is read."""
    site = tmp_path / "site-packages"
    (site / "mlsuperb" / "conf").mkdir(parents=True)
    (site / "mlsuperb" / "conf" / "config.yaml").write_text("defaults: [stale]\n", encoding="utf-8")
    (site / "mlsuperb.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    code = f"import site; site.addsitedir({str(site)!r}); {WHERE}"
    package, conf = python("-I", "-c", code, cwd=tmp_path, path=[]).split()
    assert (Path(package), Path(conf)) == (ROOT / "mlsuperb" / "__init__.py", ROOT / "conf")
