#!/usr/bin/env bash
# Teach a pre-trained HuBERT a new language through LoRA and keep its old ones (arXiv 2406.14092), beside what that is compared with.
#   recipes/expand.sh --base mhubert_tiny --new kat --old deu,spa --data synthetic --units 100 --layer 3 --trainer mhubert_tiny
#   recipes/expand.sh --base DIR --new wol --old eng,fra --data audio_tree --data-root DIR
# Every stage is a run in --out; a killed one goes on when the same command is given again. Systems:
#   one      LoRA on units of MFCCs of the new language
#   two      LoRA on units of a layer of `one`
#   combined LoRA on units pooled over old and new languages, with a share of old speech
#   full     all weights, on the units of `two`
# Stages: 1 check the data, 2 units of MFCCs, 3 one, 4 units of a layer, 5 two, 6 pooled units, 7 combined, 8 full, 9 judge them.
# Stage 9 labels the test utterances of all languages with units of each system's layer (with those of the new language, and pooled) and,
# with --phones, compares them with phones; with --exp, it trains the same frozen head on each system.
# Own flags:
#   --base NAME|FOLDER    option of upstream=, the folder of a run of job=pretrain, or one in the hub's layout
#   --new LANG            the language that is learnt
#   --old a,b             languages that are to be kept
#   --units K             (1000)
#   --layer N             (6) that is clustered, from the second iteration on
#   --share S             (0.2) of old speech in `combined`
#   --systems a,b         (one,two,combined,full) that are trained
#   --phones FILE         phone marks of the test utterances: PNMI, PER, boundaries by language
#   --exp NAME            experiment with a frozen head for stage 9, such as real_speech or demo
#   --exp-data-root DIR   its corpus, where it is not the built-in one
# Settings of data, clustering, extraction and labelling go to the labels, all others to the trainings.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([base]="" [new]="" [old]="" [units]=1000 [layer]=6 [share]=0.2 [phones]="" [exp]="" [exp-data-root]="")
option[systems]="one,two,combined,full"
stage_names=("" data "units of MFCCs" one "units of a layer" two "pooled units" combined full judgement)
last_stage=9
parse "$@"
for flag in base new old; do [[ -n ${option[$flag]} ]] || die "--$flag is missing"; done
[[ -z $languages ]] || die "--languages: give --new and --old"
[[ -z $seeds || $seeds =~ ^[0-9]+$ ]] || die "--seeds $seeds: one seed at a time"
[[ ,${option[old]}, != *,${option[new]},* ]] || die "--new ${option[new]} is among --old ${option[old]}"
for system in ${option[systems]//,/ }; do
    [[ $system =~ ^(one|two|combined|full)$ ]] || die "--systems $system: there are one, two, combined, full"
done
wanted() { [[ ,${option[systems]}, == *,$1,* ]]; }

of_pretraining
new="data.languages=$(list "${option[new]}")"
all="data.languages=$(list "${option[new]},${option[old]}")"
units="clustering.num_units=${option[units]}"
base=(upstream="${option[base]}") # as job=labels takes it
if [[ -d ${option[base]}/huggingface ]]; then
    base=(upstream=pretrained upstream.run="${option[base]}")
elif [[ ${option[base]} == */* || -d ${option[base]} ]]; then
    base=(upstream=hf upstream.checkpoint="${option[base]}")
fi

# Labels of name $2 in stage $1, with the words that follow.
labels() {
    local words=(job=labels "${data_words[@]}" "${shared[@]}" "run_name=$2" "${@:3}" "${label_words[@]}")
    one "$1" "${words[@]}"
}

of_layer() { # its words, for the run in $1
    printf '%s\n' upstream=pretrained "upstream.run=$1" "extraction.layer=${option[layer]}" clustering=faiss
}

# A training of name $2 in stage $1 by the experiment $3 on the labels in $4.
expansion() {
    one "$1" "+exp=expand/$3" "${base[@]}" "targets.run=$4" "${shared[@]}" "run_name=$2" "${@:5}" "${train_words[@]}"
}

if stage 1; then
    runs=("$out/none") # there is something to train
    language_words=("$all") own_data_words=("${data_only[@]}")
    check_data
fi
systems=(base) folders=("")
labels 2 units-mfcc "$new" "$units" upstream=kaldi_mfcc
expansion 3 one adapt "${made[-1]}"
first=${made[-1]} systems+=(one) folders+=("$first")
mapfile -t layer <<<"$(of_layer "$first")"
labels 4 units-layer "$new" "$units" "${layer[@]}"
second_units=${made[-1]}
if wanted two; then
    expansion 5 two adapt "$second_units"
    systems+=(two) folders+=("${made[-1]}")
fi
if wanted combined; then
    labels 6 units-pooled "$all" "$units" "${layer[@]}"
    expansion 7 combined replay "${made[-1]}" "loading.sampling.new=$(list "${option[new]}")" "loading.sampling.share=${option[share]}"
    systems+=(combined) folders+=("${made[-1]}")
fi
if wanted full; then
    expansion 8 full full "$second_units"
    systems+=(full) folders+=("${made[-1]}")
fi

# Stage 9, of a system: its units, fitted on the new language or pooled, on the test utterances of all.
judged=() heads=()
judge() {
    local words=("${base[@]}" "extraction.layer=${option[layer]}" clustering=faiss) fit name=$1
    if [[ -n $2 ]]; then mapfile -t words <<<"$(of_layer "$2")"; fi
    for fit in new pooled; do
        if [[ $fit == new ]]; then local on=$new; else local on=$all; fi
        labels - "fit-$fit-$name" "$on" "$units" "${words[@]}" "labelling.splits=[train]"
        labels - "units-$fit-$name" "$all" "$units" "${words[@]}" "labelling.run=${made[-1]}" "labelling.splits=[test]"
        judged+=("${made[-1]}")
    done
    if [[ -n ${option[exp]} ]]; then
        words=("${base[@]}")
        if [[ -n $2 ]]; then words=(upstream=pretrained "upstream.run=$2"); fi
        if [[ -n ${option[exp-data-root]} ]]; then words+=("data.root=${option[exp-data-root]}"); fi
        one - "+exp=${option[exp]}" "${words[@]}" "run_name=head-$name" "${shared[@]}"
        heads+=("${made[-1]}")
    fi
}

if stage 9; then
    for number in "${!systems[@]}"; do judge "${systems[number]}" "${folders[number]}"; done
    if [[ -n ${option[phones]} ]]; then
        run "$python" -m mlsuperb units quality "${judged[@]}" --phones "${option[phones]}" --by language --out "$out/reports/expansion-units"
    fi
    if ((${#heads[@]})); then
        run "$python" -m mlsuperb table "${heads[@]}" --intervals
        run "$python" -m mlsuperb table "${heads[@]}" --by language
    fi
    run "$python" -m mlsuperb report "${folders[@]:1}" --out "$out/reports/expansion.html" || true
fi
for number in "${!systems[@]}"; do
    if ((number)); then printf '%s: upstream=pretrained upstream.run=%s\n' "${systems[number]}" "${folders[number]}"; fi
done
if $failed; then exit 1; fi
