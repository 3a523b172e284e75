from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))
from fake_runs import make_run

from mlsuperb.analysis.chart import Chart
from mlsuperb.analysis.report import page as pages
from mlsuperb.analysis.report.sound import audio_roots
from mlsuperb.analysis.runs import short_names
from mlsuperb.commands import report
from mlsuperb.commands.report import main
from mlsuperb.runs.store import find
from mlsuperb.scoring.result import BenchmarkResult

EVIL = '<img src=x onerror="alert(1)"><script>alert(2)</script>&"\''


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside style and script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.inside not in ("style", "script") else ""


def write_report(folders: list[Path], **options) -> Path:
    return pages.write_report(find(folders, BenchmarkResult).runs, **options)


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def is_file_beside(tag: str, page: Path, name: str) -> bool:
    """A link that somebody may follow: nothing is loaded by it."""
    return tag == "a" and not Path(name).is_absolute() and (page.parent / name).is_file()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    few = ("eng", "nan", "ara", "hin", "tha")
    return [
        make_run(folder / "a", languages=few),
        make_run(folder / "b", languages=few, seed=1, setting="lora", noise=0.05),
        make_run(folder / "c", languages=few, seed=2, setting="full", same_data="other"),
    ]


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of figures take most of a report's time."""
    monkeypatch.setattr(Chart, "save", lambda chart, folder: [])


@pytest.fixture(scope="module")
def single(runs: list[Path]) -> Path:
    return write_report(runs[:1])


def test_a_run_gets_a_page_and_figures(runs, single) -> None:
    assert single == runs[0] / "report.html"
    page = read(single)
    titles = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert titles == [
        *(
            "summary",
            "signatures",
            "scores",
            "languages",
            "datasets",
            "training",
            "influences",
            "confusion",
            "unit_errors",
        ),
        *("layers", "embeddings", "utterances", "find", "data", "settings", "cost"),
    ]
    assert "Synthetic data: these numbers say nothing about real speech." in page.text
    assert "mlsuperb analyse tsne" in page.text
    assert sum(tag == "audio" for tag, _ in page.tags) == 16
    assert sum(a.get("class") == "words" for _, a in page.tags) == 18, "the two at the top are among the worst, too"
    assert sum("data-sound" in a for _, a in page.tags) == 2, "and are heard there by the same sound"
    drawn = sum(tag == "svg" for tag, _ in page.tags)
    for suffix in ("svg", "png", "csv"):
        # bars of languages are a table in the page
        assert len(list((runs[0] / "figures").glob(f"*.{suffix}"))) == drawn + 1
    assert len(pd.read_csv(runs[0] / "analysis" / "utterances.csv")) == 20


def test_the_page_is_whole_in_itself(single) -> None:
    page = read(single)
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")) or is_file_beside(tag, single, value), (tag, name, value[:60])
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    text = single.read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"url\((?!#)|@import", text)


def test_what_others_wrote_is_text(tmp_path, no_figures) -> None:
    run = make_run(tmp_path / "run", languages=("eng", "fra"), audio=False)
    path = run / "hypotheses.jsonl"
    path.write_text(
        path.read_text(encoding="utf-8").replace("[eng] ", f"[eng] {EVIL}".replace('"', '\\"')), encoding="utf-8"
    )
    result = run / "result.json"
    result.write_text(result.read_text(encoding="utf-8").replace("hubert_base", "<b>$hubert_base$"), encoding="utf-8")
    page = read(write_report([run]))
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert "<script>" in page.text
    assert "<b>$hubert_base$" in page.text


def test_runs_stand_side_by_side(runs, tmp_path, capsys) -> None:
    out = tmp_path / "set" / "report.html"
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.yaml").write_text("seed: 0")
    main([str(runs[0].parent), str(tmp_path / "unfinished"), "--out", str(out), "--max-audio", "3"])
    printed = capsys.readouterr().out
    assert f"left out: {tmp_path / 'unfinished'}: not started" in printed
    assert "Written to" in printed
    page = read(out)
    text = " ".join(page.text.split())
    assert "may not be compared with frozen-s0 and is in no table of scores: data differ in split test" in text
    assert sum(tag == "audio" for tag, _ in page.tags) == 3
    assert "to keep the page small (at most 3" in text
    languages = re.search(r'<table id="table-languages".*?</table>', out.read_text(encoding="utf-8"), re.S).group(0)
    assert "lora-s1" in languages
    assert "full-s2" not in languages
    assert (tmp_path / "set" / "figures" / "layer_weights.csv").is_file()
    assert set(pd.read_csv(tmp_path / "set" / "figures" / "curve_losses.csv")["run"]) == {
        "frozen-s0",
        "lora-s1",
        "full-s2",
    }


def test_another_page_of_a_folder_keeps_the_figures_of_the_first(runs, tmp_path) -> None:
    path = write_report(runs[:1], out=tmp_path / "b.html", max_audio=0)
    assert ">b_figures/curve_losses.csv<" in path.read_text(encoding="utf-8")
    assert (tmp_path / "b_figures" / "curve_losses.csv").is_file()


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (("h-frozen-asr-s0-1a", "h-lora-asr-s1-2b"), ["frozen-s0", "lora-s1"]),
        (("h-frozen-mono_asr-eng-s0-1a", "h-frozen-lid-s0-2b"), ["mono_asr-eng", "lid"]),
        (("h-lid-s0-1a", "h-lid-s0-2b"), ["1a", "2b"]),
        (("mine", "yours"), ["mine", "yours"]),
        (("h-lid-1a", "h-lid-1a"), ["1: h-lid-1a", "2: h-lid-1a"]),
    ],
)
def test_names_are_what_tells_runs_apart(ids, names) -> None:
    assert short_names(ids) == names


def test_every_task_has_a_page(tmp_path, no_figures) -> None:
    for task in ("asr", "lid"):
        page = read(write_report([make_run(tmp_path / task, languages=("eng", "fra"), task=task, audio=False)]))
        sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
        assert ("confusion" in sections) == (task == "lid")
    both = [make_run(tmp_path / f"lid{n}", languages=("eng", "fra"), task="lid", audio=False, seed=n) for n in (0, 1)]
    assert "LID % by language" in read(write_report(both, out=tmp_path / "both.html")).text


def test_parts_that_are_not_the_benchmarks_are_named(tmp_path, no_figures) -> None:
    run = make_run(tmp_path / "run", languages=("eng", "fra"), audio=False)
    text = read(write_report([run])).text
    assert "Objective" not in text
    assert "Weights of the languages" not in text
    result = json.loads((run / "result.json").read_text())
    result["config"] |= {"objective": {"name": "ctc_dro"}, "featurizer": {"name": "weighted_sum"}}
    for epoch in result["training"]["history"]:
        epoch |= {"dro_weights/eng": 0.25, "dro_weights/fra": 0.75}
    (run / "result.json").write_text(json.dumps(result))
    text = read(write_report([run])).text
    assert re.search(r"Objective\s*ctc_dro", text)
    assert "Featurizer" not in text
    assert "Weights of the languages by epoch" in text


def test_the_stages_of_the_model_are_shown_where_they_were_analysed(tmp_path, no_figures) -> None:
    run = make_run(tmp_path / "run", languages=("eng", "fra"), audio=False)
    folder = run / "analysis"
    folder.mkdir(exist_ok=True)
    points = "stage,id,language,predicted,correct,x,y\nblock 1,a,eng,eng,True,0,0\nblock 1,b,fra,eng,False,1,1\n"
    neighbours = (
        "stage,k,accuracy,num_utterances,chance,accuracy_other_speakers,num_other_speakers\nblock 1,5,75,2,50,,0\n"
    )
    (folder / "tsne.csv").write_text(points, encoding="utf-8")
    (folder / "knn.csv").write_text(neighbours, encoding="utf-8")
    assert "There are no t-SNE" in read(write_report([run])).text  # no stamp: the analysis was cut off
    stored = {"made_of": {"hypotheses": "others"}, "constant": ["head output"]}
    (folder / "tsne.json").write_text(json.dumps(stored), encoding="utf-8")
    text = " ".join(read(write_report([run])).text.split())
    assert "Languages at each stage of the model (t-SNE of 2 utterances)" in text
    assert "the mean is the same for all utterances: head output" in text
    assert "made from other hypotheses than this result" in text


def test_audio_that_is_gone_is_counted(tmp_path, no_figures) -> None:
    page = read(write_report([make_run(tmp_path / "run", languages=("eng", "fra"), audio=False)]))
    text = " ".join(page.text.split())
    assert "The audio of 8 utterances was not measured: there is no such file." in text
    assert "whose audio is gone or cannot be read" in text
    assert not [tag for tag, _ in page.tags if tag == "audio"]


def test_a_page_keeps_its_size(runs, tmp_path, monkeypatch, no_figures) -> None:
    monkeypatch.setattr("mlsuperb.analysis.report.sound.MAX_BYTES", 10_000)
    page = read(write_report(runs[:1], out=tmp_path / "small.html"))
    assert 0 < sum(tag == "audio" for tag, _ in page.tags) < 4
    monkeypatch.setattr("mlsuperb.analysis.report.blocks.MAX_ROWS", 3)
    text = " ".join(read(write_report(runs[:1], out=tmp_path / "small.html")).text.split())
    assert "2 more languages are left out to keep the page small" in text


def test_mistakes_are_explained(runs, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"no finished run: .*: it holds no run\. Give folders of runs"):
        main([str(tmp_path)])
    with pytest.raises(
        ValueError, match=r"no hypotheses of the split 'dev_dialect'; it has test: give one of them with --split"
    ):
        main([str(runs[0]), "--split", "dev_dialect"])
    with pytest.raises(ValueError, match=r"--max-audio is -1; give 0"):
        main([str(runs[0]), "--max-audio", "-1"])
    assert report.MAX_AUDIO == 20


def test_sound_comes_from_the_runs_own_data_or_from_where_the_reader_says(tmp_path, no_figures, capsys) -> None:
    """The page is made to be passed on; a run of somebody else may name any file of the reader."""
    run = make_run(tmp_path / "run", languages=("eng", "fra"))
    private = tmp_path / "private"
    (tmp_path / "audio").rename(private)
    link = tmp_path / "audio"
    link.mkdir()
    path = run / "hypotheses.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        own = Path(row["audio"])
        (link / own.name).symlink_to(private / own.name)  # below the data by its name alone
        row["audio"] = [str(private / own.name), str(own), f'pieces:[["{private / own.name}", 0.0, 1.0]]'][number % 3]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page = read(write_report([run]))
    text = " ".join(page.text.split())
    assert not [tag for tag, _ in page.tags if tag == "audio"]
    assert "0 utterances with audio" in text
    assert "8 whose audio lies outside of the run's data" in text
    main([str(run), "--audio-root", str(private)])
    page = read(run / "report.html")
    assert sum(tag == "audio" for tag, _ in page.tags) == 8
    assert f"their sound came from {private} (8)" in " ".join(page.text.split())


def test_a_root_that_holds_everything_is_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    wide = {"root": "/", "audio_folder": str(tmp_path / "home"), "audio_root": str(tmp_path / "home" / "me")}
    assert audio_roots(wide) == []
    tables = {"train": "t/train.tsv", "dev": None, "test": "t/test.tsv", "audio_root": "."}
    assert audio_roots(tables) == [Path("t")]
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "t.csv").write_text("x")
    names = {"train": "train", "dev": "validation", "test": "test"}  # of splits, no paths
    assert audio_roots({"path": str(tmp_path / "words"), **names, "audio_folder": "written"}) == [
        tmp_path / "words",
        Path("written"),
    ]
    assert audio_roots({"path": "google/fleurs", **names, "audio_folder": "written"}) == [Path("written")]
    assert audio_roots({"path": str(tmp_path / "words" / "t.csv"), "train": None}) == [tmp_path / "words"]
    parts = {"corpora": {"a": {"root": "A", "train": "train"}, "b": {"root": "B"}}}
    assert audio_roots(parts) == [Path("A"), Path("B")]


def test_pages_of_several_runs_go_to_their_folder(runs, tmp_path, monkeypatch, no_figures) -> None:
    """Untracked files beside the code would make every later run of a checkout unofficial."""
    monkeypatch.chdir(tmp_path)
    first, other = write_report(runs[:2], max_audio=0), write_report(runs[1:3], max_audio=0)
    assert first.parent == other.parent == Path("exp/reports")
    assert first != other, "a page of other runs does not take its place"
    assert write_report(runs[1::-1], max_audio=0) == first
    assert [path.name for path in tmp_path.iterdir()] == ["exp"]


def test_a_report_writes_through_no_link(tmp_path) -> None:
    run = make_run(tmp_path / "run", languages=("eng", "fra"), audio=False)
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    (run / "figures").mkdir()
    (run / "analysis").mkdir(exist_ok=True)
    links = (".report.html.tmp", "report.html", "figures/curve_losses.svg", "figures/.curve_losses.csv.tmp")
    for name in (*links, "analysis/utterances.csv"):
        (run / name).symlink_to(precious)
    write_report([run])
    assert precious.read_text() == "precious"
    assert (run / "report.html").is_file()
    assert not (run / "report.html").is_symlink()
