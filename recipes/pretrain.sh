#!/usr/bin/env bash
# Pre-train a HuBERT as mHuBERT-147 was: units of MFCCs, a model that predicts them, units of one of its layers, a new model, and so on.
#   recipes/pretrain.sh --data synthetic --model hubert_new_tiny --units 100,500 --layers 4
#   recipes/pretrain.sh --data audio_tree --data-root DIR --iterations 3 --trainer mhubert_147 --loading mhubert_147 \
#       clustering=mhubert_147 +data/preparation=mhubert_147 +labelling/sampling=two_level
# Every stage is a run in --out; a killed one goes on when the same command is given again.
# Stages: 1 check the data, then for each iteration one of labels and one of training, and the report.
# Own flags:
#   --iterations N        (2) how many models are trained, one after the other
#   --model NAME          (hubert_new) option of upstream= that is trained in each iteration
#   --upstream NAME       the same
#   --units a,b           (1000) units of each iteration; the last number holds for all that follow
#   --layers a,b          (6,9) layer of the model before that is clustered, from the second iteration on; pnmi or abx: the layer that
#                         is best by it on the dev utterances of --phones
#   --start NAME          (kaldi_mfcc) option of upstream= whose features the first iteration clusters; with --start-layer a teacher
#   --start-layer N       (0)
#   --seeds N             (0) one seed at a time
#   --phones FILE         phone marks (TSV, or a folder of TextGrids): the quality of each iteration's units is measured
# Settings of data, clustering, extraction and labelling go to the labels, all others to the training. MFCCs are clustered as they are,
# layers by clustering=faiss, unless a clustering is given. --data audio_tree is prepared as mHuBERT-147's speech was, which sets dev apart.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([iterations]=2 [model]=hubert_new [units]=1000 [layers]="6,9" [start]=kaldi_mfcc [start-layer]=0 [phones]="")

stages_of() { # the titles of all stages
    local number
    stage_names=("" data)
    for ((number = 1; number <= $1; number++)); do stage_names+=("labels of iteration $number" "training of iteration $number"); done
    stage_names+=(report)
    last_stage=$((${#stage_names[@]} - 1))
}

# The iterations have to be known before the stages are.
iterations_of() {
    local before=""
    for word in "$@"; do
        if [[ $before == --iterations ]]; then printf '%s' "$word"; fi
        if [[ $word == --iterations=* ]]; then printf '%s' "${word#*=}"; fi
        before=$word
    done
}
iterations=$(iterations_of "$@")
iterations=${iterations:-2}
[[ $iterations =~ ^[1-3]$ ]] || die "--iterations $iterations: give 1, 2 or 3"
stages_of "$iterations"
refused=(adaptation lr-sweep launcher)
parse "$@"
[[ ! ${option[layers]} =~ pnmi|abx || -n ${option[phones]} ]] || die "--layers ${option[layers]} needs --phones"
[[ $seeds != *,* ]] || die "one model is trained at a time: give one --seeds value"
[[ -z $upstream ]] || option[model]=$upstream

# Item number $2 of the list $1, or its last one.
item() {
    local -a items
    IFS=, read -ra items <<<"$1"
    if (($2 < ${#items[@]})); then printf '%s' "${items[$2]}"; else printf '%s' "${items[-1]}"; fi
}

of_pretraining

# A layer that the model will not have is known before it is trained; what a published model has, only when it is loaded.
blocks=$("$python" -m mlsuperb.run "${config_dir[@]}" job=pretrain "upstream=${option[model]}" "${train_words[@]}" --cfg job -p upstream 2>/dev/null |
    sed -n 's/^num_blocks: //p') || true
for ((number = 2; number <= iterations; number++)); do
    layer=$(item "${option[layers]}" $((number - 2)))
    if [[ $layer =~ ^[0-9]+$ && -n $blocks ]] && ((layer > blocks)); then
        die "--layers ${option[layers]}: iteration $number clusters layer $layer, and ${option[model]} has $blocks"
    fi
done

# The layer of the model before that iteration $1 clusters.
layer_for() {
    local chosen
    chosen=$(item "${option[layers]}" $(($1 - 2)))
    if [[ $chosen =~ ^(pnmi|abx)$ ]] && ! $dry_run; then
        chosen=$("$python" -m mlsuperb units layers "${config_dir[@]}" upstream=pretrained "upstream.run=${at[iteration$(($1 - 1))]}" \
            "${data_words[@]}" "${language_words[@]}" "${dataset_words[@]}" "${data_only[@]}" --phones "${option[phones]}" --best "$chosen") || exit 1
    fi
    printf '%s' "$chosen"
}

plan_iteration() {
    local words=(job=labels "${data_words[@]}" "${language_words[@]}" "${dataset_words[@]}" "${shared[@]}" "run_name=labels$1") layer
    words+=("clustering.num_units=$(item "${option[units]}" $(($1 - 1)))")
    if (($1 == 1)); then
        words+=("upstream=${option[start]}" "extraction.layer=${option[start-layer]}")
    else
        layer=$(layer_for "$1")
        words+=(upstream=pretrained "upstream.run=@iteration$(($1 - 1))" "extraction.layer=$layer")
        if [[ " ${label_words[*]}" != *" clustering="* ]]; then words+=(clustering=faiss); fi
    fi
    plan "labels$1" "${words[@]}" "${label_words[@]}"
    plan "iteration$1" job=pretrain "upstream=${option[model]}" "targets.run=@labels$1" "${shared[@]}" "run_name=iteration$1" "${train_words[@]}"
}

if stage 1; then
    runs=("$out/none") # there is something to train
    own_data_words=("${data_only[@]}")
    check_data
fi
measured=false # a layer that is chosen by its quality is known once its model is trained
if [[ ${option[layers]} =~ pnmi|abx ]]; then measured=true; fi
if ! $measured; then
    for ((number = 1; number <= iterations; number++)); do plan_iteration "$number"; done
fi
labelled=() made=()
for ((number = 1; number <= iterations; number++)); do
    if $measured; then plan_iteration "$number"; fi
    one $((2 * number)) "labels$number"
    # now, so that phones of other utterances are found out before the training
    if [[ -n ${option[phones]} ]] && ((first_stage <= 2 * number && 2 * number <= last_stage)); then
        run "$python" -m mlsuperb units quality "${at[labels$number]}" --phones "${option[phones]}" || exit 1
    fi
    one $((2 * number + 1)) "iteration$number"
    labelled+=("${at[labels$number]}") made+=("${at[labels$number]}" "${at[iteration$number]}")
done
if stage $((2 * iterations + 2)); then
    if [[ -n ${option[phones]} ]]; then
        run "$python" -m mlsuperb units quality "${labelled[@]}" --phones "${option[phones]}" --out "$out/reports/pretrain-units" || true
    fi
    run "$python" -m mlsuperb report "${made[@]}" --out "$out/reports/pretrain.html" || true
    echo "The last model: upstream=pretrained upstream.run=${made[-1]}"
fi
if $failed; then exit 1; fi
