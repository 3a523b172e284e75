#!/usr/bin/env bash
# Transfer: train on each of some languages (or datasets), test each model on all of them.
#   recipes/transfer.sh --data-root DIR --upstream hubert_base                            Spanish, French, Portuguese
#   recipes/transfer.sh --data-root DIR --upstream xls_r_300m --languages deu,nld,eng
#   recipes/transfer.sh --data-root DIR --across datasets --languages eng --datasets mls,nchlt,voxpopuli
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 test on all, 5 figures and report.
# Own flags:
#   --across WHAT         languages, or datasets of a language (languages)
#   --languages a,b       (spa,fra,por; across datasets eng)
#   --datasets a,b        (mls; across datasets mls,nchlt,voxpopuli)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([across]=languages)
stage_names=("" data train tables tests report)
last_stage=5
parse "$@"
own_set=mls # of +exp=transfer and the like
if [[ $data == synthetic ]]; then own_set=studio; fi
case ${option[across]} in
    languages)
        : "${languages:=spa,fra,por}"
        language_words=("data.languages=$(lists "$languages")")
        tests=("data.languages=$(list "$languages")" "data.datasets=$(list "${datasets:-$own_set}")")
        experiment +exp=transfer
        language_words=("${tests[0]}") # for the check
        ;;
    datasets)
        [[ $datasets != all ]] || die "--across datasets trains on each: name them, such as --datasets mls,nchlt"
        : "${languages:=eng}"
        if [[ $data == synthetic ]]; then : "${datasets:=studio,phone,room}"; else : "${datasets:=mls,nchlt,voxpopuli}"; fi
        language_words=("data.languages=$(lists "$languages")")
        dataset_words=("data.train_datasets=$(lists "$datasets")")
        experiment +exp=transfer_datasets # tests on every dataset of its language
        language_words=("data.languages=$(list "$languages")") dataset_words=() tests=()
        ;;
    *) die "--across ${option[across]}: there are languages, datasets" ;;
esac

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then table; fi
if stage 4 && ((${#tests[@]})) && finished all; then
    for folder in "${some[@]}"; do
        run "$python" -m mlsuperb evaluate "$folder" "${config_dir[@]}" "${data_words[@]}" "${tests[@]}" "${own_data_words[@]}" \
            "manifests=$out/manifests" || true
    done
fi
if stage 5 && finished all; then
    analyse transfer "${some[@]}" --by "${option[across]%s}" --out "$(report_folder "transfer-${option[across]}")"
    report
fi
finish
