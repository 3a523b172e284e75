#!/usr/bin/env bash
# ML-SUPERB 2.0: its experiments beside each other (conf/exp/v2), each with its own upstream, or all with that of --upstream.
#   recipes/v2.sh --data-root DIR --upstream xls_r_300m,mms_1b
#   recipes/v2.sh --data-root DIR --experiments first/middle_against_full,sweep/lora_rank
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 report.
# Own flags:
#   --experiments a,b     names under +exp=v2/ (all that are in the paper; with --upstream without whisper and owsm, which are one)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

size=1h
option=([experiments]="")
parse "$@"
experiments=${option[experiments]}
if [[ -z $experiments ]]; then
    experiments=frozen,frozen_transformer,frozen_conformer,frozen_e_branchformer
    experiments+=,frozen_transformer_attention,frozen_conformer_attention,frozen_e_branchformer_attention
    experiments+=,full,partial_bottom,partial_middle,partial_top,adapter,lora
    if [[ -z $upstream ]]; then experiments+=,whisper,owsm; fi
fi
together=""
for name in ${experiments//,/ }; do
    if [[ $name == */* ]]; then
        experiment "+exp=v2/$name" # a sweep by itself
    else
        together+=",v2/$name"
    fi
done
if [[ -n $together ]]; then experiment "+exp=${together#,}"; fi

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then table; fi
if stage 4; then report; fi
finish
