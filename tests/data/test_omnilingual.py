"""The Omnilingual corpus in the layout of its data set on the hub: data/LANGUAGE_SCRIPT/SPLIT-*.parquet, `raw_text`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from own_forms import wave

from mlsuperb.config.build import instantiate
from mlsuperb.config.compose import compose
from mlsuperb.data.manifest import records
from mlsuperb.data.prepared import prepare
from mlsuperb.types import Utterance

ROWS = [("s1", "mama <laugh> gedara"), ("s2", "<noise>"), ("s1", "yanava")]
SPLITS = ("train", "dev", "test")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    configs = []
    for config in ("sin_Sinh", "lij_Latn"):
        for split in SPLITS:
            path = tmp_path / "copy" / "data" / config / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio = [{"bytes": wave(tmp_path, "a.wav").read_bytes(), "path": "a.wav"}] * len(ROWS)
            columns = {"language": [config] * 3, "speaker_id": [one for one, _ in ROWS], "prompt": ["?"] * 3}
            pq.write_table(pa.table({**columns, "audio": audio, "raw_text": [text for _, text in ROWS]}), path)
        files = [{"split": split, "path": f"data/{config}/{split}-*"} for split in SPLITS]
        configs.append({"config_name": config, "data_files": files})
    (tmp_path / "copy" / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n", encoding="utf-8")
    return tmp_path / "copy"


@pytest.mark.parametrize(("tags", "texts"), [("drop", ["mama gedara", "yanava"]), ("keep", [text for _, text in ROWS])])
def test_languages_speakers_and_texts(root: Path, tmp_path: Path, tags: str, texts: list[str]) -> None:
    folders = [f"data.path={root}", f"data.audio_folder={tmp_path / 'written'}"]
    config = compose(["data=omnilingual", "data.config=[sin_Sinh,lij_Latn]", f"data.tags={tags}", *folders])
    prepared = prepare(instantiate(config["data"]), folder=None)
    rows = [row for row in records(prepared.manifest, Utterance) if row.split == "train" and row.language == "sin"]
    assert [row.text for row in rows] == texts
    assert {row.speaker for row in rows} == ({"s1", "s2"} if tags == "keep" else {"s1"})
    assert set(prepared.manifest["language"]) == {"sin", "lij"}
    assert set(prepared.manifest["dataset"]) == {"omnilingual"}
    assert set(prepared.manifest["split"]) == set(SPLITS)
