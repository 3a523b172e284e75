"""What a run is in a benchmark: its track, and where its settings leave the published experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlsuperb.benchmark.misfits import BENCHMARK, CONVENTIONS
from mlsuperb.config.compose import compose
from mlsuperb.runs.identity import science
from mlsuperb.scoring.boards.entries import shown_deviations

# What may differ without a deviation: ML-SUPERB 1.0 leaves upstream and learning rate to the user (README of ESPnet's
# egs2/ml_superb/asr1); a seed and the place of the data are no settings of an experiment.
FREE = ("upstream", "trainer.optimizer.lr", "seed", "data.root", "data.audio_folder")
# How features are kept, the coarsest first; null and fp32 do not round. Finer than the experiment asks for is no deviation.
CACHES = ("int8", "bf16", "int16", "fp32", None)
CACHE = "cache.dtype"
PLUS = "pyopenjtalk-plus"  # which brings the module pyopenjtalk as well
FOLLOWED = ("size", "mono")  # settings of the data that an experiment is published for several values of
# Experiments that were published with several adaptations (tables 2 and 3 of the PEFT study); others fix theirs.
ADAPTATIONS = {"peft_study": ("frozen", "lora_peft_study", "qlora_peft_study")}


def describe(
    config: Mapping[str, Any], *, conventions: str | None = None, packages: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """`benchmark` of a result: the node of the configuration, and `deviations`: setting -> [published, here].

    The published experiment is composed with the same corpus option, size and monolingual run, so that what follows from
    them (phonemes for jpn, iterations for 1h) is no deviation. Where another option was chosen for a group, the group
    stands with both names beside its settings. `upstream`: the same of the upstream's settings against its option; no
    deviation, but with another checkpoint it is another model than its name says.

    Args:
        conventions: under which the upstream is run (`mlsuperb.upstreams.conventions`); None where it has none.
        packages: installed, with their versions (`packages` of `mlsuperb.runs.environment`).
    """
    if not config.get("benchmark"):
        return None
    node = {key: config["benchmark"].get(key) for key in BENCHMARK}
    overrides = _published_overrides(config)
    try:
        published = compose(overrides)
    except ValueError as error:  # an option from a folder that is no longer given: a result is written all the same
        failed = {"benchmark": [" ".join(overrides), f"could not be composed: {error}"]}
        return {**node, "deviations": failed, "upstream": {}}
    chosen = {
        group: [published[group]["name"], config[group]["name"]]
        for group in published
        if isinstance(published[group], Mapping)
        and group not in FREE
        and "_target_" in published[group]
        and group in config
        if published[group]["_target_"] != config[group]["_target_"]
    }
    ours, theirs = science(config), science(published)
    leaves = {path: values for path, values in _differences(theirs, ours) if path != CACHE or _coarser(*values)}
    changed = dict(_differences(theirs["upstream"], ours["upstream"]))
    run_as = _conventions(published, conventions) | _phonemes(config, packages or {})
    return {**node, "deviations": {**chosen, **leaves, **run_as}, "upstream": changed}


def _phonemes(config: Mapping[str, Any], packages: Mapping[str, str]) -> dict[str, list[Any]]:
    """The deviation of Japanese phonemes that were made by pyopenjtalk-plus, whose dictionary is another one."""
    japanese = config["task"].get("units") == "phoneme" and config["benchmark"].get("run") == "jpn"
    if not japanese or PLUS not in packages:
        return {}
    return {"phonemes of jpn": ["pyopenjtalk", f"{PLUS} {packages[PLUS]}"]}


def _coarser(published: str | None, here: str | None) -> bool:
    """Whether features are rounded more than in the published experiment."""
    return CACHES.index(here) < CACHES.index(published)


def _conventions(published: Mapping[str, Any], here: str | None) -> dict[str, list[Any]]:
    """The deviation of an upstream that is not run as those of the published rows; none where it has no conventions. Of an
    option that says nothing of it (`upstream=s3prl`, a user's own) either of s3prl's is right."""
    wanted = published["upstream"].get(CONVENTIONS)
    if published["benchmark"].get(CONVENTIONS) != "s3prl" or here is None or here == wanted:
        return {}
    return {} if wanted is None and here != "checkpoint" else {f"upstream.{CONVENTIONS}": [wanted or "s3prl", here]}


def _published_overrides(config: Mapping[str, Any]) -> list[str]:
    """What composes the published experiment for a run's corpus, size, monolingual run and upstream."""
    node, data, adaptation = config["benchmark"], config["data"], config["adaptation"]["name"]
    found = [f"+exp={node['experiment']}", f"data={data['name']}", f"upstream={config['upstream']['name']}"]
    found += [f"data.{key}={data[key]}" for key in FOLLOWED if data.get(key) is not None]
    found += [f"benchmark.run={node['run']}"] if node["run"] else []
    several = ADAPTATIONS.get(node["experiment"].split("/")[0], ())
    return [*found, f"adaptation={adaptation}"] if adaptation in several else found


def against_official(
    benchmark: Mapping[str, Any] | None, release: Mapping[str, Any] | None, *, synthetic: bool
) -> list[str]:
    """Why a run is no official one; empty where nothing here says so (`scoring.scored_run.standing` adds what a
    result says itself).

    Args:
        benchmark: what `describe` returned.
        release: `data.release` of the result: `name`, `whole`, `why`; None where the corpus has no releases.
        synthetic: these data are of no release, and that is said elsewhere.
    """
    reasons = []
    if benchmark is None:
        reasons.append("no published experiment: its settings come from none of +exp=v1/..., v2/..., peft_study/...")
    elif deviations := benchmark["deviations"]:
        reasons.append(f"not as +exp={benchmark['experiment']}: {'; '.join(shown_deviations(deviations))}")
    if release is None and not synthetic:
        reasons.append("the data are no published release")
    elif release is not None and not release["whole"]:
        reasons.append(f"the {release['name']} release is not whole: {release['why']}")
    return reasons


def _differences(published: Any, here: Any, *, path: str = "") -> Iterator[tuple[str, list[Any]]]:
    """(path, [published, here]) of every setting that is not the same; None where one has no such setting."""
    is_option = path.count(".") == 1 and path.endswith("._target_")  # stands with its name beside the settings
    if is_option or path in FREE or path in [f"data.{key}" for key in FOLLOWED]:
        return
    if isinstance(published, Mapping) or isinstance(here, Mapping):
        first, second = (node if isinstance(node, Mapping) else {} for node in (published, here))
        for key in dict.fromkeys([*first, *second]):
            yield from _differences(first.get(key), second.get(key), path=f"{path}.{key}" if path else key)
    elif published != here:
        yield path, [published, here]
