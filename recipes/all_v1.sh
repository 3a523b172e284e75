#!/usr/bin/env bash
# The whole row of ML-SUPERB 1.0 for an upstream and a size: 13 monolingual runs and three multilingual ones, and SUPERB_s.
#   recipes/all_v1.sh --upstream hubert_base --size 10min --data-root DIR
#   recipes/all_v1.sh --upstream hubert_base --size 10min --data-root DIR --check --tolerance 2
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 report.
# Own flags:
#   --languages a,b       of the multilingual tracks; of the monolingual one those that it has
#   --board YEAR          published rows to stand beside, and the references of SUPERB_s (2024)
#   --check               hold the row against the published one of this upstream; exit status 1 if it is further away
#   --tolerance X         than this, in points of a rate (3)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([board]=2024 [check]=false [tolerance]=3)
parse "$@"
board --board "${option[board]}" --size "$size" --tolerance "${option[tolerance]}"
mono_runs
multilingual +exp=v1/multi_asr,v1/lid,v1/asr_lid
language_words=()
experiment +exp=v1/mono_asr "data.mono=$mono"
if ${option[check]}; then board_flags+=(--check); fi

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then table; leaderboard; fi
if stage 4; then report; fi
finish
