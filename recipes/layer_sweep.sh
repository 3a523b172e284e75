#!/usr/bin/env bash
# Error rate by layer: every layer of an upstream alone, and a sliding window of fine-tuned blocks.
#   recipes/layer_sweep.sh --data-root DIR --upstream hubert_base --num-blocks 12
#   recipes/layer_sweep.sh --data-root DIR --upstream xls_r_300m --kind windows --seeds 0,1,2
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 figures and report.
# Own flags:
#   --num-blocks N        transformer blocks of the upstream (24): layers 0 to N, windows of a quarter of them by an eighth
#   --layers 0,6,12       these layers instead; 0 is the input of the first block
#   --windows 1-6,7-12    these windows instead; 1 is the first block
#   --kind WHAT           layers, windows, or both (both)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

size=1h
option=([num-blocks]=24 [layers]="" [windows]="" [kind]=both)
parse "$@"
blocks=${option[num-blocks]} layers=${option[layers]} windows=${option[windows]}
[[ $blocks =~ ^[1-9][0-9]*$ ]] || die "--num-blocks $blocks: give a whole number, such as 12"
[[ ${option[kind]} =~ ^(layers|windows|both)$ ]] || die "--kind ${option[kind]}: there are layers, windows, both"
if [[ -z $layers ]]; then layers="range($((blocks + 1)))"; fi
if [[ -z $windows ]]; then
    width=$((blocks < 4 ? 1 : blocks / 4)) step=$((blocks < 8 ? 1 : blocks / 8))
    for ((first = 1; first + width - 1 <= blocks; first += step)); do windows+=",$first-$((first + width - 1))"; done
    windows=${windows#,}
fi
kinds=()
if [[ ${option[kind]} != windows ]]; then
    experiment +exp=v2/sweep/one_layer "featurizer.layer=$layers"
    kinds+=(layers)
fi
if [[ ${option[kind]} != layers ]]; then
    experiment +exp=v2/sweep/layer_window "adaptation.layers=$windows"
    kinds+=(windows)
fi

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then table; fi
if stage 4; then
    for number in "${!kinds[@]}"; do
        if finished "$number"; then analyse layer_sweep "${some[@]}" --out "$(report_folder "layer_sweep-${kinds[number]}")"; fi
    done
    report
fi
finish
