#!/usr/bin/env bash
# The study of parameter-efficient fine-tuning and of layers (conf/exp/peft_study): monolingual ASR, multilingual ASR, LID and ASR+LID,
# frozen, LoRA and QLoRA; its SUPERB_s, the weights of the layers by language, t-SNE of language identity by layer.
#   recipes/peft_study.sh --data-root DIR --upstream hubert_base,xls_r_300m
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 figures and report.
# Own flags:
#   --adaptation a,b      (frozen,lora_peft_study,qlora_peft_study)
#   --languages a,b       of the seven: eng fra deu rus swa swe xty
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([adaptation]="frozen,lora_peft_study,qlora_peft_study")
parse "$@"
: "${upstream:=hubert_base,xls_r_300m}"
[[ -z $datasets ]] || die "--datasets: the study has one dataset a language"
declare -A dataset=([eng]=mls [fra]=mls [deu]=swc [rus]=M-AILABS [swa]=ALFFA [swe]=NST [xty]=mexico-el) # as conf/exp/peft_study
pairs=""
for language in ${languages//,/ }; do
    name=${dataset[$language]:-}
    [[ -n $name ]] || die "--languages $language: the study has eng, fra, deu, rus, swa, swe, xty"
    if [[ $data == synthetic ]]; then name=studio; fi
    pairs+=",[$language,$name]"
done
language_words=()
if [[ -n $pairs ]]; then language_words=("data.pairs=[${pairs#,}]"); fi
experiment +exp=peft_study/multi_asr "adaptation=${option[adaptation]}"
experiment +exp=peft_study/lid,peft_study/asr_lid "adaptation=${option[adaptation]}"
pair_words=("${language_words[@]}") language_words=()
experiment +exp=peft_study/mono_asr "benchmark.run=${languages:-eng,fra,deu,rus,swa,swe,xty}" "adaptation=${option[adaptation]}"
language_words=("${pair_words[@]}") # for the check
names_language=1 mono=2 # numbers of these sweeps

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then
    table
    leaderboard --board peft_study --size "$size"
fi
if stage 4; then
    if finished "$mono"; then analyse layer_weights "${some[@]}" --out "$(report_folder)"; fi
    if finished "$names_language"; then
        for folder in "${some[@]}"; do analyse tsne "$folder"; done
    fi
    report
fi
finish
