#!/usr/bin/env bash
# Pre-train with one thing changed, then train the same head on each of the models: one table of CER and language
# identification, with bootstrap intervals.
#   recipes/pretrain_compare.sh --compare sampling --data synthetic --model hubert_new_tiny --units 100 --layers 4 --trainer mhubert_tiny
# Each model is made by recipes/pretrain.sh, which has its own --help and takes all flags but these. Runs that are there already are kept.
# Own flags:
#   --compare WHAT        clustering: faiss, sklearn   batches: crops, padding   sampling: none, language, dataset, both
#                         alpha, beta: 1, 0.9, 0.7, 0.5   start: MFCCs, a teacher (--teacher)   size: --models
#   --teacher NAME        (whisper_base) option of upstream= whose layer is clustered first
#   --teacher-layer N     (4)
#   --models a,b          (hubert_new_tiny,hubert_new) options of upstream= that are trained
#   --exp NAME            (demo) experiment that benchmarks each model
#   --exp-data-root DIR   corpus of that experiment, where it is not the built-in one
#   --seeds a,b           (0) of the benchmark
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([compare]="" [teacher]=whisper_base [teacher-layer]=4 [models]="hubert_new_tiny,hubert_new" [exp]=demo [exp-data-root]="" [seeds]=0 [out]=exp)
parse_passed out "$@"
compare=${option[compare]} teacher=${option[teacher]} seeds=${option[seeds]}

names=() words=() # one variant each: its name, and what pretrain.sh is given for it
variant() { names+=("$1") && words+=("${*:2}"); }
law="+loading/sampling=two_level"
case $compare in
    clustering) for one in faiss sklearn; do variant "$one" "clustering=$one"; done ;;
    batches) variant crops loading=crops && variant padding loading.crops=null ;;
    sampling)
        variant none
        variant language "$law loading.sampling.beta=1"
        variant dataset "$law loading.sampling.alpha=1"
        variant both "$law"
        ;;
    alpha | beta) for one in 1 0.9 0.7 0.5; do variant "$compare$one" "$law loading.sampling.$compare=$one"; done ;;
    start) variant mfcc && variant "$teacher-${option[teacher-layer]}" "--start $teacher --start-layer ${option[teacher-layer]}" ;;
    size) for one in ${option[models]//,/ }; do variant "$one" "--model $one"; done ;;
    *) die "--compare $compare: there are clustering, batches, sampling, alpha, beta, start, size" ;;
esac

runs=()
for number in "${!names[@]}"; do
    printf '== %s: %s\n' "$compare" "${names[number]}"
    read -ra own <<<"${words[number]}"
    said=$(bash "$(dirname "${BASH_SOURCE[0]}")/pretrain.sh" "${passed[@]}" "${own[@]}" | tee >(cat >&2)) || exit $?
    model=$(sed -n 's/^The last model: upstream=pretrained upstream.run=//p' <<<"$said")
    for seed in ${seeds//,/ }; do
        call=("+exp=${option[exp]}" upstream=pretrained "$(path_word upstream.run "$model")" "seed=$seed" "run_name=$compare-${names[number]}-s$seed" "$(path_word output_root "${option[out]}")")
        if [[ -n ${option[exp-data-root]} ]]; then call+=("$(path_word data.root "${option[exp-data-root]}")"); fi
        run "$python" -m mlsuperb.run "${config_dir[@]}" "${call[@]}"
        runs+=("$("$python" -m mlsuperb folders "${config_dir[@]}" "${call[@]}")")
    done
done
printf '== %s: the table\n' "$compare"
over=()
if [[ $seeds == *,* ]]; then over=(--over-seeds); fi
run "$python" -m mlsuperb table "${runs[@]}" --intervals "${over[@]}"
