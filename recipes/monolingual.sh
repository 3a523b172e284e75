#!/usr/bin/env bash
# ML-SUPERB 1.0, the monolingual track: 13 runs, a model each. The table averages them within a language, then over the languages.
#   recipes/monolingual.sh --upstream hubert_base --size 10min --data-root DIR
#   recipes/monolingual.sh --upstream hubert_base --size 1h --data-root DIR --languages eng1,swa
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 report.
# Own flags:
#   --languages a,b       languages (eng) or runs (eng1) of the track, instead of all 13
#   --board YEAR          published rows to stand beside (2024)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([board]=2024)
parse "$@"
board --board "${option[board]}" --size "$size"
mono_runs
language_words=()
experiment +exp=v1/mono_asr "data.mono=$mono"

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then table; leaderboard; fi
if stage 4; then report; fi
finish
