#!/usr/bin/env bash
# The study of parameter-efficient fine-tuning and of layers (conf/exp/peft_study): monolingual ASR, multilingual ASR, LID and ASR+LID,
# frozen, LoRA and QLoRA; its SUPERB_s, the weights of the layers by language, t-SNE of language identity by layer.
#   recipes/peft_study.sh --data-root DIR --upstream hubert_base,xls_r_300m
#   recipes/peft_study.sh --data-root DIR --upstream fbank,tiny --languages fra,spa,eng,deu --datasets all      a tree of your own
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 figures and report.
# Own flags:
#   --adaptation a,b      (frozen,lora_peft_study,qlora_peft_study)
#   --languages a,b       (eng,fra,deu,rus,swa,swe,xty) others go with --datasets
#   --datasets a,b        instead of the study's one dataset a language; all: every one that the tree has of the languages
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([adaptation]="frozen,lora_peft_study,qlora_peft_study")
parse "$@"
board --board peft_study --size "$size"
: "${upstream:=hubert_base,xls_r_300m}"
seven=eng,fra,deu,rus,swa,swe,xty
if [[ -z $datasets ]]; then
    for language in ${languages//,/ }; do
        [[ ,$seven, == *",$language,"* ]] || die "--languages $language: the study has ${seven//,/, }; other languages need --datasets, such" \
            "as --datasets all"
    done
else
    : "${languages:=$seven}"
    dataset_words+=(data.pairs=null) # the study's
fi
if [[ -n $languages ]]; then language_words=("data.languages=$(list "$languages")"); fi
experiment +exp=peft_study/multi_asr "adaptation=${option[adaptation]}"
experiment +exp=peft_study/lid,peft_study/asr_lid "adaptation=${option[adaptation]}"
together=("${language_words[@]}") language_words=()
experiment +exp=peft_study/mono_asr "benchmark.run=${languages:-$seven}" "adaptation=${option[adaptation]}"
language_words=("${together[@]}") # for the check
names_language=1 mono=2           # numbers of these sweeps

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then table; leaderboard; fi
if stage 4; then
    if finished "$mono"; then analyse layer_weights "${some[@]}" --out "$(report_folder)"; fi
    if finished "$names_language"; then
        for folder in "${some[@]}"; do analyse tsne "$folder"; done
    fi
    report
fi
finish
