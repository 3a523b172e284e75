#!/usr/bin/env bash
# What a few hours of real speech say of upstreams, heads, adaptations and layers, by about 20 core hours per seed, without the transfer (docs/results.md).
#   recipes/evidence.sh --data-root DIR --checkpoint WHISPER_BASE_DIR --mono-root DIR --seeds 0,1,2
#   recipes/evidence.sh --data-root DIR --parts heads,tracks
# Stages: 1 check the data, 2 train, decode and score, 3 test every language's model on all, 4 tables and figures, 5 packed results.
# Own flags:
#   --parts a,b           some of upstreams,heads,tracks,mono,layers,adaptations,transfer,objectives,padding (all of them)
#   --checkpoint DIR      weights of the main upstream, where the hub is out of reach
#   --beside a,b          upstreams beside the main one, which is --upstream (fbank,mhubert_tiny beside whisper_base)
#   --num-layers N        layers of the main upstream, the input of its first block among them (7)
#   --mono-root DIR       a tree of one language, in the same layout, for the part mono
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

parts=upstreams,heads,tracks,mono,layers,adaptations,transfer,objectives,padding
option=([parts]="$parts" [checkpoint]="" [beside]="fbank,mhubert_tiny" [num-layers]=7 [mono-root]="")
stage_names=("" data train tests figures pack)
last_stage=5
refused=(adaptation lr-sweep size)
parse "$@"
for part in ${option[parts]//,/ }; do
    [[ ,$parts, == *,"$part",* ]] || die "--parts $part: there are ${parts//,/, }"
done
[[ ${option[num-layers]} =~ ^[1-9][0-9]*$ ]] || die "--num-layers ${option[num-layers]}: give a whole number, such as 7"
: "${seeds:=0}"
main=("upstream=${upstream:-whisper_base}") beside=${option[beside]} upstream=""
if [[ -n ${option[checkpoint]} ]]; then main+=("$(path_word upstream.checkpoint "${option[checkpoint]}")"); fi
declare -A part_of=()

# The training set of what follows.
sized() {
    case $data in
        ml_superb*) data_words[0]="data=ml_superb_$1" ;;
        synthetic) data_words[1]="data.size=$1" ;;
        *) die "--data $data: there is no training set of $1" ;;
    esac
}

# A sweep of a part, if that part was asked for.
part() {
    if [[ ,${option[parts]}, != *,"$1",* ]]; then return; fi
    part_of[$1]+=" ${#starts[@]}"
    experiment "${@:2}"
}

# The runs of a part that have a result, in `some`.
of_part() {
    local number all=()
    for number in ${part_of[$1]:-}; do
        if finished "$number"; then all+=("${some[@]}"); fi
    done
    some=("${all[@]}")
    ((${#some[@]}))
}

frozen=+exp=evidence/frozen heads="head=transformer_light,conformer_small,e_branchformer_small"
sized 1h
part upstreams "$frozen" "upstream=$beside"
part upstreams "$frozen" "${main[@]}"
sized 10min
part upstreams "$frozen" "upstream=$beside"
part upstreams "$frozen" "${main[@]}"
part heads "$frozen" "$heads" "${main[@]}"
part heads "$frozen" "$heads" "upstream=${beside##*,}"
part heads +exp=evidence/attention "$heads" "${main[@]}"
part tracks "$frozen" task=asr,lid "${main[@]}"
part tracks "$frozen" task=asr,lid "upstream=$beside"
if [[ -n ${option[mono-root]} ]]; then
    whole=("${data_words[@]}")
    data_words=("${data_words[0]}" "$(path_word data.root "${option[mono-root]}")")
    # shellcheck disable=SC2016  # Hydra fills these in
    name='run_name=evidence-mono-${upstream.name}-s${seed}'
    part mono "$frozen" task=asr "$name" "upstream=$beside"
    part mono "$frozen" task=asr "$name" "${main[@]}"
    data_words=("${whole[@]}")
fi
# shellcheck disable=SC2016
name='run_name=evidence-layer${featurizer.layer}-${upstream.name}-s${seed}'
part layers "$frozen" "$name" featurizer=one_layer "featurizer.layer=range(${option[num-layers]})" "${main[@]}"
part adaptations +exp=evidence/adapted adaptation=frozen '~trainer.learning_rates.upstream' "${main[@]}" # nothing is trained there
part adaptations +exp=evidence/adapted adaptation=full,partial_bottom,partial_middle,partial_top,houlsby,lora,lora_mixture,qlora "${main[@]}"
part objectives "$frozen" task=lid objective=classifier,classifier_attentive,classifier_ecapa decoding=argmax "${main[@]}"
part objectives "$frozen" task=asr objective=ctc_dro "${main[@]}"
part objectives "$frozen" objective=ctc_hierarchical "${main[@]}"
# shellcheck disable=SC2016
part objectives "$frozen" 'run_name=evidence-${featurizer.name}-${upstream.name}-s${seed}' featurizer=weighted_sum_per_dimension "${main[@]}"
if [[ ${main[0]} == upstream=whisper* ]]; then
    # shellcheck disable=SC2016
    part padding "$frozen" 'run_name=evidence-30s-${upstream.name}-s${seed}' upstream.pad_to_30s=true "${main[@]}"
fi
: "${languages:=deu,eng,fas,fra,rus,spa,twi,ukr,wol}"
all=(${language_words[@]+"${language_words[@]}"}) language_words=("data.languages=$(lists "$languages")")
# shellcheck disable=SC2016
name='run_name=evidence-transfer-${upstream.name}-${data.languages.0}-s${seed}'
part transfer "$frozen" task=asr "$name" "${main[@]}"
language_words=("${all[@]}")

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3 && [[ -n ${part_of[transfer]:-} ]] && of_part transfer; then
    for folder in "${some[@]}"; do
        run "$python" -m mlsuperb evaluate "$folder" "${config_dir[@]}" "${data_words[@]}" "data.languages=$(list "$languages")" \
            "${own_data_words[@]}" "manifests=$out/manifests" || true
    done
fi
if stage 4; then
    table
    if [[ -n ${part_of[transfer]:-} ]] && of_part transfer; then analyse transfer "${some[@]}" --out "$(report_folder evidence-transfer)"; fi
    if [[ -n ${part_of[layers]:-} ]] && of_part layers; then analyse layer_sweep "${some[@]}" --out "$(report_folder evidence-layers)"; fi
    if [[ -n ${part_of[upstreams]:-} ]] && of_part upstreams; then
        analyse layer_weights "${some[@]}" --out "$(report_folder evidence-layer_weights)"
        for folder in "${some[@]}"; do # the first that has its weights: one that was unpacked from results has none
            if [[ $folder == *"-${main[0]#upstream=}-"* ]] && { $dry_run || [[ -f $folder/model.safetensors ]]; }; then
                analyse tsne "$folder" --num-utterances 300 --out "$(report_folder evidence-tsne)"
                break
            fi
        done
    fi
fi
if stage 5 && finished all; then run "$python" -m mlsuperb results pack "${some[@]}" --out "$(report_folder)/evidence.tar.xz" || true; fi
finish
