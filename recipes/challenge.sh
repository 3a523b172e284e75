#!/usr/bin/env bash
# The challenge of 2025: train on espnet/ml_superb_hf, score its public dev sets as the challenge does, write what is handed in.
#   recipes/challenge.sh --upstream mms_1b
#   recipes/challenge.sh --upstream mms_1b --experiments frozen --data.labels raw
# Without --data-root the data are downloaded (about 16 GB). The evaluation server's test set is private.
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 submission folders, 5 report.
# Own flags:
#   --experiments a,b     names under +exp=v2/ (espnet_2026, ESPnet's recipe since August 2026; frozen, until then and in the challenge)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

data=ml_superb_hf
stage_names=("" data train tables submission report)
last_stage=5
option=([experiments]=espnet_2026)
refused=(size)
parse "$@"
board_flags=(--board challenge --size all)
experiment "+exp=v2/${option[experiments]//,/,v2/}"

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then
    table
    if finished all; then
        for folder in "${some[@]}"; do
            run "$python" -m mlsuperb score "$folder" --protocol challenge "${config_dir[@]}" || true
        done
    fi
    leaderboard
fi
if stage 4 && finished all; then
    for folder in "${some[@]}"; do
        run "$python" -m mlsuperb export challenge "$folder" "$folder/submission" "${config_dir[@]}" || true
    done
fi
if stage 5; then report; fi
finish
