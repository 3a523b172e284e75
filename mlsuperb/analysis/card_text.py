"""The text of a model card: everything under its metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from mlsuperb.data.languages import language_name
from mlsuperb.scoring.comparison.run_facts import NONE, UNKNOWN, overlap
from mlsuperb.scoring.score import NOT_APPLICABLE
from mlsuperb.scoring.table import SYNTHETIC, protocol_tables

TASKS = {
    "asr": "transcribes speech",
    "lid": "names the language of speech",
    "asr_lid": "names the language of speech and transcribes it",
}
PARTS = ("featurizer", "specaug", "head", "objective", "task", "loading", "decoding", "trainer")
UNSHOWN = (
    *("name", "card", "_target_", "_partial_", "device", "num_workers", "keep_audio_gb", "trackers", "log_every"),
    "checkpoint_every",
)
LICENSE = (
    "None is given here: whoever publishes this model chooses one, within what the licences of its upstream and of its "
    "training speech allow, and writes it as `license:` into the first lines of this file."
)


def body(result: Mapping[str, Any], *, run: str, training: Mapping[str, Any] | None) -> str:
    """Markdown; the arguments are those of `model_card`."""
    other = "" if training is result else f" on {result['data']['name']}"
    sections = {
        f"# {result['run_id']}{other}": _what(result),
        "## Limits": _list(_limits(result, training)),
        "## Use": _use(result, run),
        "## Scores": _scores(result),
        "## Training": _training(result, training),
        "## What was left out": _list(_skipped(result)),
        "## Official?": _official(result),
        "## License": LICENSE,
    }
    return "\n\n".join(f"{title}\n\n{text}" for title, text in sections.items()) + "\n"


def _what(result: Mapping[str, Any]) -> str:
    upstream, adaptation = result["upstream"], result["adaptation"]
    trained = f"{result['num_trainable']:,} of {result['num_total']:,} parameters"
    first = f"**{SYNTHETIC}**\n\n" if result["synthetic"] else ""
    return (
        f"{first}A model that {TASKS[result['task']['name']]}: a `{result['head']['name']}` head on the layers of "
        f"`{upstream['name']}`{_checkpoint(upstream)}, adaptation `{adaptation['name']}`. {trained} were trained. "
        f"Trained and scored with mlsuperb {result['code']['package_version']}, a toolkit for the ML-SUPERB benchmarks "
        "(arXiv 2305.10615, 2406.08641)."
    )


def _checkpoint(upstream: Mapping[str, Any]) -> str:
    loaded = upstream.get("loaded", {})
    if loaded.get("weights") == "random":
        return " (random weights)"
    if "checkpoint" not in loaded:
        return ""
    at = loaded.get("commit") or ", ".join(
        f"{name} sha256 {sha[:12]}" for name, sha in (loaded.get("sha256") or {}).items()
    )
    origin = loaded.get("exported_from")
    came = f", exported from the run `{origin['run_id']}`" if origin else ""
    # of a folder the name only: where it lay on some machine helps nobody
    name = loaded["checkpoint"] if loaded.get("commit") else PurePath(str(loaded["checkpoint"])).name
    return f" (`{name}`, {at or 'version unknown'}{came})"


def _limits(result: Mapping[str, Any], training: Mapping[str, Any] | None) -> Iterator[str]:
    if result["synthetic"]:
        yield "The speech was made by a synthesiser reading random words: nothing here says how the model does on real speech."
    trained = (training or {"data": {}})["data"].get("languages", {}).get("train")
    if trained:
        named = ", ".join(f"{language_name(code)} (`{code}`)" for code in trained)
        task = result["task"]["name"]
        others = {"lid": "cannot name", "asr": "writes badly, if at all,", "asr_lid": "cannot name, and writes badly,"}[
            task
        ]
        yield f"Languages heard in training ({len(trained)}): {named}. It {others} any other."
    else:
        yield "Which languages it was trained on is not recorded; the table below has those it was tested on."
    yield f"Speech heard by the upstream before: {_pretrained(result)}"
    yield (
        "Scores are of read or prepared recordings cut into utterances; noise, overlapping speakers, long recordings and "
        "accents outside the data were not tested unless a dataset of the table holds them. Error rates differ much "
        "between languages: look at the one you need."
    )


def _pretrained(result: Mapping[str, Any]) -> str:
    upstream = result["upstream"]
    if origin := upstream.get("loaded", {}).get("exported_from"):
        return _exported(origin)
    corpora = upstream.get("card", {}).get("pretrained_on")
    found = overlap(result)
    if corpora is None or found == UNKNOWN:
        return "not known, so whether it heard the test speech is not known either."
    if not corpora:
        return "none."
    if found == NONE:
        return f"{', '.join(corpora)}; by their names none of the corpora tested on."
    return f"{', '.join(corpora)}. Tested on the same corpora: {found}; scores there may be too good."


def _exported(origin: Mapping[str, Any]) -> str:
    """Of an upstream that another run trained."""
    data, earlier = origin.get("data") or {}, origin.get("pretrained_on")
    languages = f", languages {', '.join(data['languages'])}" if data.get("languages") else ""
    before = "not known" if earlier is None else ", ".join(earlier) or "none"
    return (
        f"{data.get('name') or 'not known'}{' (synthetic)' if data.get('synthetic') else ''}{languages}, in the run "
        f"`{origin['run_id']}`; before that: {before}. Scores on speech of these corpora may be too good."
    )


def _use(result: Mapping[str, Any], run: str) -> str:
    needs = (
        ""
        if result["upstream"].get("loaded", {}).get("commit") is None
        else (
            "\n\nThe upstream's weights are not in the folder: they are fetched from the hub, at the commit given above."
        )
    )
    return (
        f"With mlsuperb installed:\n\n```bash\nmlsuperb transcribe {run} recording.wav        # language and text\n"
        f"mlsuperb evaluate {run} data=... data.root=DIR  # scores on other data\n```\n\n"
        f"`{run}` is the folder with this file, `model.safetensors` (what was trained), `tokens.txt` and "
        f"`config.yaml`.{needs}"
    )


def _scores(result: Mapping[str, Any]) -> str:
    names = {
        "v1": "`v1` pools all utterances of a subset (ML-SUPERB 1.0)",
        "v2": "`v2` averages over datasets, then languages (ML-SUPERB 2.0)",
        "challenge": "`challenge` is the public script of the 2025 challenge",
        "challenge_server": "`challenge_server` its server's rules, which differ",
    }
    protocols = [name for name in result["protocols"] if name != NOT_APPLICABLE]
    explained = "; ".join(names.get(name, f"`{name}`") for name in protocols)
    tables = "\n".join(cells.to_markdown() for cells in protocol_tables(result["protocols"]))
    return f"In %, by protocol: {explained}. Numbers of two protocols are not to be compared.\n\n{tables}".rstrip()


def _training(result: Mapping[str, Any], training: Mapping[str, Any] | None) -> str:
    config = (training or result)["config"]
    parts = [f"{name}: {_settings(config[name])}" for name in ("upstream", "adaptation", *PARTS) if name in config]
    if training is None:
        return _list(["Not trained here: an imported model, whose training is not recorded.", *parts])
    benchmark, cost = training.get("benchmark"), training["cost"]
    commit = training["code"].get("commit")
    code = f"{commit[:12]}{', changed since' if training['code'].get('dirty') else ''}" if commit else "of a package"
    lines = [
        f"Experiment: {'`' + benchmark['experiment'] + '`' if benchmark else 'none of the published ones'}",
        f"Data: {_data(training['data'])}",
        f"Seed {training['seed']}, code {code}, {training['date']}",
        f"{cost.get('iterations', 0):,} iterations, {cost.get('train_wall_s', 0) / 3600:.2f} h, "
        f"{cost.get('peak_memory_gb', 0)} GB of memory at most{_speed(cost)}",
    ]
    return _list([*lines, *parts])


def _speed(cost: Mapping[str, Any]) -> str:
    """What newer results say besides."""
    counted, rtfx, device = cost.get("macs_per_s"), cost.get("rtfx"), cost.get("device")
    macs = [f"{counted[part] / 1e9:,.2f} G ({part})" for part in ("upstream", "head")] if counted else []
    said = [
        f", decoding {rtfx:,.1f} s of audio a second" if rtfx else "",
        f", on {device}" if device else "",
        f"; multiply-accumulates for a second of audio: {', '.join(macs)}" if macs else "",
    ]
    return "".join(said)


def _data(data: Mapping[str, Any]) -> str:
    splits = ", ".join(
        f"{name} {split['num_utterances']:,} utterances ({split['duration_s'] / 3600:.2f} h, sha256 {split['sha256'][:10]})"
        for name, split in data["splits"].items()
    )
    release = data.get("release")
    released = f", release {release['name']}{'' if release['whole'] else ' in part'}" if release else ""
    return f"`{data['name']}`{released}: {splits}"


def _settings(node: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in _flat(node))
    return f"`{node['name']}`{' with ' + settings if settings else ''}"


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by path, without names, facts, what is not set, what only computes, and places on some machine."""
    for key, value in node.items():
        if key in UNSHOWN or value in (None, [], "") or (isinstance(value, str) and "/" in value):
            continue
        if isinstance(value, Mapping):
            kind = f" {value['_target_'].rpartition('.')[2]}" if "_target_" in value else ""
            inner = dict(_flat(value, f"{prefix}{key}."))
            yield from [(f"{prefix}{key}", kind.strip()), *inner.items()] if kind else inner.items()
        else:
            yield f"{prefix}{key}", value


def _skipped(result: Mapping[str, Any]) -> Iterator[str]:
    skipped = result["data"].get("skipped") or {}
    for reason, entry in skipped.items():
        splits = ", ".join(f"{split} {number:,}" for split, number in entry["splits"].items())
        yield f"{entry['count']:,} of the corpus: {reason}{f' ({splits})' if splits else ''}"
    if not skipped:
        yield "No utterance of the corpus was skipped."
    if unaligned := result["training"].get("num_unaligned"):
        yield f"{unaligned:,} times an utterance was too short for its text and weighed nothing in training."
    for name, reason in result["protocols"].get(NOT_APPLICABLE, {}).items():
        yield f"Protocol {name} was not applied: {reason}"


def _official(result: Mapping[str, Any]) -> str:
    if result["official"]:
        return "Yes: nothing is known that speaks against putting these numbers beside the published ones."
    return "No, because:\n\n" + _list(result["not_official_because"])


def _list(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)
