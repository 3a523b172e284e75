#!/usr/bin/env bash
# Teach a pre-trained HuBERT a new language through LoRA and keep its old ones (arXiv 2406.14092), beside the baselines.
#   recipes/expand.sh --base mhubert_tiny --new kat --old deu,spa --data synthetic --units 100 --layer 3 --trainer mhubert_tiny --loading.train.max_batch_s 32
#   recipes/expand.sh --base DIR --new wol --old eng,fra --data ml_superb --data-root DIR --exp real_speech --exp-data-root DIR
# Every stage is a run in --out; a killed one goes on when the same command is given again. Systems:
#   one      LoRA on the first units of the new language: of MFCCs, or of a layer of the base
#   two      LoRA on units of a layer of `one`
#   combined LoRA on units pooled over old and new languages, with a share of old speech
#   full     all weights, on the units of `two`
# and, if --systems names them:
#   full_combined  all weights, on the units and the speech of `combined`
#   ewc            all weights, held where the old languages need them (elastic weight consolidation), on the units of `two`
# Stages: 1 check the data, 2 first units, 3 one, 4 units of a layer, 5 two, 6 pooled units, 7 combined, 8 all weights, 9 judge them.
# Stage 9, with --phones: units of each system's layer (fitted on the new language, and pooled) for the test utterances of all languages,
# compared with phones. With --exp: the same frozen head on each system, and the table of gain and forgetting.
# Own flags:
#   --base NAME|FOLDER    option of upstream=, the folder of a run of job=pretrain, or one in the hub's layout
#   --new LANG            the language that is learnt
#   --old a,b             languages that are to be kept
#   --units K             (1000)
#   --start mfcc|base     (mfcc) what the first units are of; base: of its layer, as DiscoPhon does
#   --layer N             (6) that is clustered
#   --share S             (0.2) of old speech in `combined`
#   --systems a,b         (one,two,combined,full) that are trained
#   --lora-settings "a=b" settings of the trainings by LoRA, such as "trainer.optimizer.lr=1e-3 adaptation.rank=64"
#   --full-settings "a=b" settings of the trainings of all weights, such as "trainer.optimizer.lr=1e-3"
#   --base-labels FOLDER  labels of old languages whose units the base's head predicts, for ewc
#   --seeds N             (0) one seed at a time
#   --phones FILE         phone marks of the test utterances: PNMI, PER, boundaries by language; those of the built-in corpus are known
#   --exp NAME            experiment with a frozen head for stage 9, such as real_speech or demo
#   --exp-data-root DIR   its corpus, where it is not the built-in one
#   --exp-settings "a=b"  other settings of it, such as "trainer.max_epochs=6"
# Settings of data, clustering, extraction and labelling go to the labels, all others to the trainings.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([base]="" [new]="" [old]="" [units]=1000 [layer]=6 [share]=0.2 [start]=mfcc [phones]="" [exp]="" [exp-data-root]="" [exp-settings]="")
option+=([systems]="one,two,combined,full" [lora-settings]="" [full-settings]="" [base-labels]="")
stage_names=("" data "first units" one "units of a layer" two "pooled units" combined "all weights" judgement)
last_stage=9
refused=(upstream adaptation languages datasets lr-sweep launcher)
parse "$@"
for flag in base new old; do [[ -n ${option[$flag]} ]] || die "--$flag is missing"; done
[[ -z $seeds || $seeds =~ ^[0-9]+$ ]] || die "--seeds $seeds: one seed at a time"
[[ ,${option[old]}, != *,${option[new]},* ]] || die "--new ${option[new]} is among --old ${option[old]}"
[[ ${option[start]} =~ ^(mfcc|base)$ ]] || die "--start ${option[start]}: there are mfcc and base"
for system in ${option[systems]//,/ }; do
    [[ $system =~ ^(one|two|combined|full|full_combined|ewc)$ ]] || die "--systems $system: there are one, two, combined, full, full_combined, ewc"
done
[[ ,${option[systems]}, != *,ewc,* || -n ${option[base-labels]} ]] || die "--systems ewc needs --base-labels"
if [[ $data == synthetic && -z ${option[phones]} ]]; then option[phones]=built-in; fi
wanted() { [[ ,${option[systems]}, == *,$1,* ]]; }

of_pretraining
new="data.languages=$(list "${option[new]}")"
all="data.languages=$(list "${option[new]},${option[old]}")"
units="clustering.num_units=${option[units]}"
base=(upstream="${option[base]}") # as job=labels takes it
if [[ -d ${option[base]}/huggingface ]]; then
    base=(upstream=pretrained "$(path_word upstream.run "${option[base]}")")
elif [[ ${option[base]} == */* || -d ${option[base]} ]]; then
    base=(upstream=hf "$(path_word upstream.checkpoint "${option[base]}")")
fi

labels() { # of name $1, with the words that follow
    plan "$1" job=labels "${data_words[@]}" "${shared[@]}" "run_name=$1" "${@:2}" "${label_words[@]}"
}

expansion() { # of name $1, by the experiment $2, on the labels of name $3, with the words that follow
    plan "$1" "+exp=expand/$2" "${base[@]}" "targets.run=@$3" "${shared[@]}" "run_name=$1" "${train_words[@]}" "${@:4}"
}

# The layer that is clustered, of the base or of a run.
layer_of() {
    layer=("${base[@]}")
    if [[ $1 != base ]]; then layer=(upstream=pretrained "upstream.run=@$1"); fi
    layer+=("extraction.layer=${option[layer]}" clustering=faiss)
}

# What stage 9 makes of a system: units, fitted on the new language or pooled, of the test utterances of all; a head.
judged() {
    local fit on
    layer_of "$1"
    if [[ -n ${option[phones]} ]]; then
        for fit in new pooled; do
            if [[ $fit == new ]]; then on=$new; else on=$all; fi
            labels "fit-$fit-$1" "$on" "$units" "${layer[@]}" "labelling.splits=[train]"
            labels "units-$fit-$1" "$all" "$units" "${layer[@]}" "labelling.run=@fit-$fit-$1" "labelling.splits=[test]"
        done
    fi
    [[ -n ${option[exp]} ]] || return 0
    local words=("${base[@]}")
    if [[ $1 != base ]]; then words=(upstream=pretrained "upstream.run=@$1"); fi
    if [[ -n ${option[exp-data-root]} ]]; then words+=("$(path_word data.root "${option[exp-data-root]}")"); fi
    local settings
    read -ra settings <<<"${option[exp-settings]}"
    plan "head-$1" "+exp=${option[exp]}" "$all" "${words[@]}" "run_name=head-$1" "${shared[@]}" "${settings[@]}"
}

if [[ ${option[start]} == mfcc ]]; then layer=(upstream=kaldi_mfcc); else layer_of base; fi
read -ra lora <<<"${option[lora-settings]}"
read -ra whole <<<"${option[full-settings]}"
old_speech=("loading.sampling.new=$(list "${option[new]}")" "loading.sampling.share=${option[share]}")
labels "units-${option[start]}" "$new" "$units" "${layer[@]}"
expansion one adapt "units-${option[start]}" "${lora[@]}"
layer_of one
labels units-layer "$new" "$units" "${layer[@]}"
labels units-pooled "$all" "$units" "${layer[@]}"
systems=()
for system in one two combined full full_combined ewc; do # the last three have no settings of LoRA: these stand in --lora-settings
    wanted "$system" || continue
    systems+=("$system")
    case $system in
        two) expansion two adapt units-layer "${lora[@]}" ;;
        combined) expansion combined replay units-pooled "${old_speech[@]}" "${lora[@]}" ;;
        full) expansion full full units-layer "${whole[@]}" ;;
        full_combined)
            expansion full_combined full units-pooled "+loading/sampling@loading.sampling=replay" "${old_speech[@]}" "${whole[@]}"
            ;;
        ewc) expansion ewc ewc units-layer "$(path_word preservation.run "${option[base-labels]}")" "${whole[@]}" ;;
    esac
done
for system in base "${systems[@]}"; do judged "$system"; done

if stage 1; then
    runs=("$out/none") # there is something to train
    language_words=("$all") own_data_words=("${data_only[@]}")
    check_data
fi
one 2 "units-${option[start]}"
one 3 one
if wanted two || wanted full || wanted ewc; then one 4 units-layer; fi
if wanted two; then one 5 two; fi
if wanted combined || wanted full_combined; then one 6 units-pooled; fi
if wanted combined; then one 7 combined; fi
if stage 8; then
    for system in full full_combined ewc; do
        if wanted "$system"; then one - "$system"; fi
    done
fi
if stage 9; then
    if [[ ${option[phones]} == built-in ]] && ! $dry_run; then
        path=$("$python" -m mlsuperb units phones "${config_dir[@]}" "${data_words[@]}" "$all" "${data_only[@]}" | tail -n 1)
        option[phones]=${path%/*/*/*} # CORPUS/studio/kat/phones.tsv
    fi
    quality=() heads=() trained=() words=() own=() pooled=() judged_by=()
    for system in base "${systems[@]}"; do
        if [[ -n ${option[phones]} ]]; then
            for fit in new pooled; do
                one - "fit-$fit-$system"
                one - "units-$fit-$system"
                quality+=("${at[units-$fit-$system]}") judged_by+=("units-$fit-$system=${at[units-$fit-$system]}")
            done
            own+=("$system=${at[units-new-$system]}") pooled+=("$system=${at[units-pooled-$system]}")
        fi
        if [[ -n ${option[exp]} ]]; then
            one - "head-$system"
            heads+=("${at[head-$system]}") words+=("$system=${at[head-$system]}") judged_by+=("head-$system=${at[head-$system]}")
        fi
        if [[ $system != base ]]; then trained+=("${at[$system]}"); fi
    done
    if [[ -n ${option[phones]} ]]; then
        run "$python" -m mlsuperb units quality "${quality[@]}" --phones "${option[phones]}" --by language --out "$out/reports/expansion-units"
        words+=(--units "${own[@]}" --pooled-units "${pooled[@]}" --phones "${option[phones]}")
    fi
    if [[ -n ${option[exp]} ]]; then
        run "$python" -m mlsuperb table "${heads[@]}" --by language
        run "$python" -m mlsuperb expansion "${words[@]}" --new "${option[new]}" --out "$out/reports/expansion.md"
    fi
    run "$python" -m mlsuperb report "${trained[@]}" --out "$out/reports/expansion.html" || true
    printf 'judged by %s\n' "${judged_by[*]}"
    for system in "${systems[@]}"; do printf '%s: upstream=pretrained upstream.run=%s\n' "$system" "${at[$system]}"; done
fi
if $failed; then exit 1; fi
