#!/usr/bin/env bash
# ML-SUPERB 1.0, language identification: one model for all languages.
#   recipes/lid.sh --upstream hubert_base --size 10min --data-root DIR
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 report.
# Own flags:
#   --board YEAR          published rows to stand beside (2024)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([board]=2024)
parse "$@"
board --board "${option[board]}" --size "$size"
multilingual +exp=v1/lid

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then table; leaderboard; fi
if stage 4; then report; fi
finish
