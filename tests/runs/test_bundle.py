from __future__ import annotations

import hashlib
import io
import json
import lzma
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from finished_runs import finished_run

from mlsuperb.runs.bundle import FILES, MANIFEST, merge, pack
from mlsuperb.runs.hypotheses import read_hypotheses
from mlsuperb.runs.store import read
from mlsuperb.scoring.result import BenchmarkResult

PLACE = "/home/somebody/speech"


def run(folder: Path, *, wrong: int = 3) -> Path:
    """A finished run with an evaluation, a status and weights; its audio and its data lie at `PLACE`."""
    finished_run(folder, wrong=wrong, seed=1, root=f"{PLACE}/mls/")
    finished_run(folder / "evaluations" / "kaldi-1a2b3c4d", wrong=wrong, seed=1, root=f"{PLACE}/far/", data="b")
    for one in (folder, folder / "evaluations" / "kaldi-1a2b3c4d"):
        result = json.loads((one / "result.json").read_text())
        result["config"]["data"] = {"name": "d", "root": PLACE}
        result["env"]["command"] = ["mlsuperb", f"data.root={PLACE}"]
        (one / "result.json").write_text(json.dumps(result))
    (folder / "config.yaml").write_text(yaml.safe_dump(result["config"]))
    (folder / "status.json").write_text(json.dumps({"state": "finished", "error": f"in {PLACE}/a.wav"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def contents(bundle: Path) -> dict[str, bytes]:
    with lzma.open(bundle) as packed, tarfile.open(fileobj=packed) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive.getmembers()}


def write(path: Path, files: Mapping[str, bytes], *links: tuple[str, str], listed: Any = None) -> Path:
    """A bundle by hand; `listed`: of the manifest, in place of what fits."""
    fits = {name: {"sha256": hashlib.sha256(one).hexdigest(), "bytes": len(one)} for name, one in files.items()}
    manifest = {"kind": "mlsuperb results", "version": 1, "files": fits if listed is None else listed}
    with lzma.open(path, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in {MANIFEST: json.dumps(manifest).encode(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    pack(
        [run(tmp_path / "exp" / "a-1"), run(tmp_path / "exp" / "b-2", wrong=5)],
        tmp_path / "r.tar.xz",
        scorer={"version": "1"},
    )
    return tmp_path / "r.tar.xz"


def test_runs_come_back_with_their_scores_and_evaluations(bundle: Path, tmp_path: Path) -> None:
    merged = merge([bundle], tmp_path / "all")
    places = ["a-1", "a-1/evaluations/kaldi-1a2b3c4d", "b-2", "b-2/evaluations/kaldi-1a2b3c4d"]
    assert merged.written == [tmp_path / "all" / place for place in places]
    assert merged.there == []
    for place in places:
        before, after = (read(tmp_path / root / place, BenchmarkResult) for root in ("exp", "all"))
        assert after.protocols == before.protocols
        ones = read_hypotheses(tmp_path / "all" / place / "hypotheses.jsonl")
        assert (
            after.hypotheses.sha256
            == hashlib.sha256((tmp_path / "all" / place / "hypotheses.jsonl").read_bytes()).hexdigest()
        )
        assert ones[0].audio == ("far/0.wav" if "evaluations" in place else "mls/0.wav")
        assert [vars(one) | {"audio": ""} for one in ones] == [
            vars(one) | {"audio": ""} for one in read_hypotheses(tmp_path / "exp" / place / "hypotheses.jsonl")
        ]
    assert not list((tmp_path / "all").rglob("*.safetensors"))


def test_what_is_packed_names_no_place_and_is_listed_with_its_hash(bundle: Path) -> None:
    found = contents(bundle)
    manifest = json.loads(found.pop(MANIFEST))
    assert manifest["runs"] == ["a-1", "b-2"]
    assert manifest["scorer"] == {"version": "1"}
    assert {name: one["sha256"] for name, one in manifest["files"].items()} == {
        name: hashlib.sha256(one).hexdigest() for name, one in found.items()
    }
    assert not any(b"/home" in one or b"somebody" in one for one in found.values())
    assert b'"error": "in a.wav"' in found["a-1/status.json"]
    assert yaml.safe_load(found["a-1/config.yaml"])["data"]["root"] == "speech"


def test_the_same_runs_are_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    pack([tmp_path / "exp"], tmp_path / "again.tar.xz", scorer={"version": "1"})
    assert (tmp_path / "again.tar.xz").read_bytes() == bundle.read_bytes()


def test_references_are_stored_once(tmp_path: Path) -> None:
    """Eight runs of the same utterances take less than three: the archive is compressed as a whole."""
    for number in range(8):
        run(tmp_path / "exp" / f"run-{number}", wrong=number)
    one = pack([tmp_path / "exp" / "run-0"], tmp_path / "one.xz", scorer={}).num_bytes
    assert pack([tmp_path / "exp"], tmp_path / "all.xz", scorer={}).num_bytes < 3 * one


def test_runs_that_have_not_finished_are_left_out_by_name(tmp_path: Path) -> None:
    run(tmp_path / "exp" / "a-1")
    (tmp_path / "exp" / "b-2").mkdir()
    (tmp_path / "exp" / "b-2" / "status.json").write_text('{"state": "failed"}')
    packed = pack([tmp_path / "exp"], tmp_path / "r.xz", scorer={})
    assert packed.runs == {"a-1": 2}
    assert packed.left_out == {tmp_path / "exp" / "b-2": "failed"}


def test_hypotheses_of_another_result_are_not_packed(tmp_path: Path) -> None:
    path = run(tmp_path / "a-1") / "hypotheses.jsonl"
    path.write_text(path.read_text().replace("[eng] X", "[deu] Y"))
    with pytest.raises(ValueError, match=r"a-1/hypotheses\.jsonl is not what .*result\.json was made from: restore it"):
        pack([tmp_path / "a-1"], tmp_path / "r.xz", scorer={})
    path.unlink()
    with pytest.raises(ValueError, match=r"a-1/hypotheses\.jsonl was removed: give the command of its run again"):
        pack([tmp_path / "a-1"], tmp_path / "r.xz", scorer={})
    assert not (tmp_path / "r.xz").exists()


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = [run(tmp_path / name / "a-1") for name in ("x", "y")]
    with pytest.raises(ValueError, match=r"two runs are called a-1: .*x/a-1 and .*y/a-1"):
        pack(folders, tmp_path / "r.xz", scorer={})


def test_bundles_are_merged_into_what_is_there(bundle: Path, tmp_path: Path) -> None:
    pack([tmp_path / "exp" / "a-1"], tmp_path / "part.xz", scorer={})
    merge([tmp_path / "part.xz"], tmp_path / "all")
    shutil.rmtree(tmp_path / "all" / "a-1" / "evaluations")
    merged = merge([bundle, tmp_path / "part.xz"], tmp_path / "all")
    assert merged.there == [tmp_path / "all" / "a-1"]
    assert tmp_path / "all" / "a-1" / "evaluations" / "kaldi-1a2b3c4d" in merged.written
    assert tmp_path / "all" / "b-2" in merged.written


def test_another_result_of_the_same_name_is_never_overwritten(bundle: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "exp" / "a-1")
    pack([run(tmp_path / "exp" / "a-1", wrong=9)], tmp_path / "other.xz", scorer={})
    with pytest.raises(ValueError, match=r"r\.tar\.xz and .*other\.xz hold different results by the name a-1"):
        merge([bundle, tmp_path / "other.xz"], tmp_path / "all")
    assert not (tmp_path / "all").exists()
    merge([bundle], tmp_path / "all")
    with pytest.raises(ValueError, match=r"all/a-1 is there already and is not the result that .*other\.xz holds"):
        merge([tmp_path / "other.xz"], tmp_path / "all")
    (tmp_path / "all" / "b-2" / "result.json").unlink()
    with pytest.raises(ValueError, match=r"all/b-2 is there already"):
        merge([bundle], tmp_path / "all")


def test_damaged_bundles_are_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    whole, bad = bundle.read_bytes(), tmp_path / "bad.xz"
    middle = len(whole) // 2
    broken = (
        b"",
        b"no xz at all",
        whole[:100],
        whole[:middle],
        whole[:-20],
        whole[:middle] + b"\0\1" + whole[middle + 2 :],
    )
    for number, content in enumerate(broken):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.xz is (damaged|no bundle of results, or damaged)"):
            merge([bundle, bad], tmp_path / f"into{number}")
        assert not (tmp_path / f"into{number}").exists()
    with pytest.raises(ValueError, match=r"there is no file .*gone\.xz"):
        merge([tmp_path / "gone.xz"], tmp_path / "all")
    with lzma.open(bad, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(tmp_path / "exp" / "a-1" / "result.json", arcname="a-1/result.json")
    with pytest.raises(ValueError, match=r"bad\.xz is no bundle of results: it does not begin with manifest\.json"):
        merge([bad], tmp_path / "all")


def test_files_that_are_not_what_the_manifest_says_are_refused(bundle: Path, tmp_path: Path) -> None:
    found, bad = contents(bundle), tmp_path / "bad.xz"
    manifest = json.loads(found.pop(MANIFEST))
    edited = found | {"a-1/hypotheses.jsonl": found["a-1/hypotheses.jsonl"].replace(b"[eng] X", b"[deu] Y")}
    with pytest.raises(ValueError, match=r"bad\.xz is damaged: a-1/hypotheses\.jsonl has another SHA-256"):
        merge([write(bad, edited, listed=manifest["files"])], tmp_path / "all")
    missing = {name: one for name, one in found.items() if name != "b-2/status.json"}
    with pytest.raises(ValueError, match=r"bad\.xz is damaged: it does not hold b-2/status\.json"):
        merge([write(bad, missing, listed=manifest["files"])], tmp_path / "all")
    with pytest.raises(ValueError, match=r"bad\.xz is damaged: c-3/result\.json is not what its manifest lists"):
        merge([write(bad, found | {"c-3/result.json": b"{}"}, listed=manifest["files"])], tmp_path / "all")
    with pytest.raises(ValueError, match=r"bad\.xz: a-1/result\.json is not a whole result"):
        merge([write(bad, {"a-1/result.json": b'{"schema_version": 1}'})], tmp_path / "all")
    outside = {
        "a-1/result.json": found["a-1/result.json"].replace(b'"path": "hypotheses.jsonl"', b'"path": "../other.jsonl"')
    }
    with pytest.raises(
        ValueError, match=r"bad\.xz is damaged: a-1/hypotheses\.jsonl is not what its result was made from"
    ):
        merge([write(bad, found | outside)], tmp_path / "all")
    with pytest.raises(ValueError, match=r"bad\.xz is damaged: a-1 has no result\.json"):
        merge([write(bad, {"a-1/status.json": b"{}"})], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../result.json", "/tmp/x/result.json", "a-1/../../result.json", "..\\x/result.json", "a-1/model.safetensors",
        "a-1/evaluations/../result.json", "a-1/deeper/x/result.json", "a-1/config.yaml/x", ".hidden/result.json",
        "result.json", "a\n/result.json",
    ],
)  # fmt: skip
def test_names_that_no_bundle_has_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bad\.xz is refused: it holds .*, which no bundle of results has"):
        merge([write(tmp_path / "bad.xz", {name: b"{}"})], tmp_path / "all")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bad.xz"]


def test_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    found = contents(bundle)
    found.pop(MANIFEST)
    with pytest.raises(ValueError, match=r"bad\.xz is refused: it holds 'c-3/result\.json'"):
        merge([write(tmp_path / "bad.xz", found, ("c-3/result.json", "/etc/passwd"))], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_every_file_that_a_bundle_may_hold_is_a_small_one() -> None:
    assert {Path(name).suffix for name in FILES} <= {".json", ".jsonl", ".yaml"}
