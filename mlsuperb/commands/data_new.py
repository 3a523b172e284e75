"""`mlsuperb data new PATH`: what lies there, how it is read, and a first command with it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsuperb.commands.settings import configured
from mlsuperb.scoring.table import tell

if TYPE_CHECKING:
    from mlsuperb.data.corpora.recognise import Form
    from mlsuperb.data.corpora.sample import SplitSample
    from mlsuperb.runtime.console import Console

FIRST_TRY = "upstream=fbank head=linear trainer=debug"


def new(words: Sequence[str], out: Path | None, *, console: Console) -> bool:
    """Say how the data at the path in `words` are read, and write a YAML file of it into the folder `out`; further words are
    settings of `data`. Whether they can be read as they are.

    Raises:
        ValueError: there is no path or nothing there, or it is in no known form.
    """
    from mlsuperb.data.corpora.recognise import recognise, unknown_form

    paths = [word for word in words if not re.match(r"\+{0,2}data([.@][^=]*)?=", word)]
    if len(paths) != 1:
        raise ValueError("give one file or folder: mlsuperb data new PATH [data.language=CODE ...]")
    path = Path(paths[0]).absolute()
    form = recognise(path)
    if form is None:
        raise ValueError(unknown_form(path))
    settings = [f"data.{name}={_for_hydra(value)}" for name, value in form.settings.items()]
    given = [word for word in words if word not in paths]
    overridden = {word.lstrip("+").partition("=")[0] for word in given}
    settings = [one for one in settings if one.partition("=")[0] not in overridden] + given
    line = shlex.join([f"data={form.reader}", *settings])
    tell(console, f"{path}: {form.what}, which data={form.reader} reads.")
    if not _describe([f"data={form.reader}", *settings], console=console):
        tell(console, f"Then add the setting here: mlsuperb data new {shlex.quote(str(path))} data.SETTING=...")
        return False
    if out is not None:
        name = _write(form, settings, out, path)
        line = f"--config-dir {shlex.quote(str(out))} data={name}"
        tell(console, f"written: {out / 'data' / name}.yaml")
    tell(console, f"look at all of it:  mlsuperb data describe {shlex.join([f'data={form.reader}', *settings])}")
    tell(console, *_first_commands(form, line))
    return True


def _first_commands(form: Form, line: str) -> list[str]:
    """What can be done with such data, whose settings are `line`."""
    if form.reader == "audio_tree":  # no transcripts
        return [
            f"make units of it, to pre-train on (docs/pretraining.md): mlsuperb run job=labels {line} clustering.num_units=100"
        ]
    lid = " task=lid" if form.reader == "voxlingua107" else ""
    return [
        f"see it run (four updates, so its numbers mean nothing): mlsuperb run {line} {FIRST_TRY}{lid}",
        f"train on it (upstream=fbank: log-mels, a baseline): mlsuperb run +exp=real_speech {line} upstream=hubert_base{lid}",
    ]


def _describe(overrides: Sequence[str], *, console: Console) -> bool:
    """Print what a sample of the rows shows; False where they cannot be read as they are."""
    from mlsuperb.data.corpora.sample import sample_of
    from mlsuperb.data.languages import language_name

    try:
        corpus = configured(overrides, "data")[1]
        splits = sample_of(corpus)
    except ValueError as error:
        tell(console, f"not yet: {error}")
        return False
    for split, found in splits.items():
        named = ", ".join(f"{code} {language_name(code)}" for code in found.languages)
        tell(console, f"  {split}: {_size(found)}; {named}")
    if share := getattr(corpus, "held_out", None):
        tell(console, f"  where a language has no dev or no test, {share:.0%} of its train becomes one (data.held_out)")
    elif "test" not in splits:
        tell(console, "  there is no test split, so nothing is scored on these data: they can be trained on alone")
    return True


def _size(found: SplitSample) -> str:
    number = f"{found.num_rows:,} utterances" if found.is_all else f"more than {found.num_rows:,} utterances"
    if not found.num_opened:
        return f"{number}, none of whose audio can be read ({found.fault})" if found.fault else number
    seconds = found.hours * 3600
    scales = ((3600, "h"), (60, "min"), (1, "s"))
    length = next(f"{seconds / scale:.1f} {unit}" for scale, unit in scales if seconds >= scale or scale == 1)
    return f"{number}, about {length} (by {found.num_opened} of them)"


def _for_hydra(value: str) -> str:
    """A value that Hydra's grammar reads as this text; lists stay lists."""
    plain = re.fullmatch(r"[\w./:@%+-]*|\[[\w./,:-]*\]", value, re.ASCII)
    return value if plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _write(form: Form, settings: Sequence[str], out: Path, path: Path) -> str:
    """Write `out`/data/NAME.yaml, an option that builds on that of the reader; its name."""
    import yaml

    from mlsuperb.config.compose import compose

    node: dict[str, Any] = compose([f"data={form.reader}", *settings])["data"]
    names = {one.lstrip("+").partition("=")[0].removeprefix("data.").partition(".")[0] for one in settings}
    name = re.sub(r"\W+", "_", path.stem, flags=re.ASCII).strip("_").lower() or "mine"
    name = f"my_{name}" if name[0].isdigit() or name == form.reader else name
    target = out / "data" / f"{name}.yaml"
    if target.exists():
        raise ValueError(f"{target} is there already. Remove it, or give another folder with --out.")
    target.parent.mkdir(parents=True, exist_ok=True)
    chosen = {key: node[key] for key in node if key in names}
    text = yaml.safe_dump(chosen, allow_unicode=True, sort_keys=False)
    target.write_text(
        f"# {form.what}, of {path}\ndefaults:\n  - {form.reader}\n  - _self_\nname: {name}\n{text}", encoding="utf-8"
    )
    return name
