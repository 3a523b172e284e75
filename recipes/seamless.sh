#!/usr/bin/env bash
# Adapt a model of speech and text to a language with little speech (arXiv 2410.13445): by its speech, by text alone, by both, or through a
# related language.
#   recipes/seamless.sh --model seamless_m4t --target ory --pivot ben --keep eng,hin --data ml_superb --data-root DIR --text tsv --text.train T.tsv --text.dev D.tsv
#   recipes/seamless.sh --model seamless_new --start exp/base-... --target swa --pivot tur --keep deu --data synthetic --text synthetic
# Every system is a run in --out; a killed one goes on when the same command is given again. Systems:
#   zero_shot             the model as it is
#   encoder, encoder_wide adapters of --width and --wide in the encoder, by speech
#   lora                  LoRA in the encoder's attention, by speech
#   decoder               adapters in the decoder, by speech
#   length_adaptor        the length adaptor, by speech
#   replay                adapters of --width in the encoder, by speech of which --share is of the languages of --keep
#   ewc                   the same by speech of --target alone, held where the languages of --keep need them
#   text                  adapters in the decoder, by translations out of English, without speech
#   text_then_asr         these, and adapters in the encoder by speech
#   joint                 adapters in the decoder, by speech and text in turn
#   pivot                 the length adaptor, by speech of --pivot alone
# Stages: 1 check the data, 2 zero_shot, 3 by speech, 4 by text, 5 by both, 6 pivot, 7 tables.
# Own flags:
#   --model NAME          option of model=
#   --start FOLDER        a run of job=translation whose weights all systems begin with
#   --target LANG         the language
#   --pivot LANG          a related language with speech; without it, there is no such system
#   --keep a,b            languages whose test utterances show what is forgotten; without it, there are no replay and ewc
#   --share S             (0.2) of the speech of replay that is of --keep
#   --quota HOURS         (all) training speech of each language and dataset of --keep that replay and ewc may use
#   --text NAME           (none) option of text=; its settings: --text.train FILE and so on. zero_shot and decoder are scored on it, too
#   --width N             (256) --wide N (2048)
#   --systems a,b         (all that can be) that are trained
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([model]="" [start]="" [target]="" [pivot]="" [keep]="" [text]="" [width]=256 [wide]=2048 [systems]="" [share]=0.2 [quota]="")
stage_names=("" data "zero shot" "by speech" "by text" "by both" pivot tables)
last_stage=7
refused=(upstream adaptation languages datasets lr-sweep launcher)
parse "$@"
for flag in model target; do [[ -n ${option[$flag]} ]] || die "--$flag is missing"; done

known=(zero_shot encoder encoder_wide lora decoder length_adaptor)
if [[ -n ${option[keep]} ]]; then known+=(replay ewc); fi
if [[ -n ${option[text]} ]]; then known+=(text text_then_asr joint); fi
if [[ -n ${option[pivot]} ]]; then known+=(pivot); fi
systems=("${known[@]}")
if [[ -n ${option[systems]} ]]; then IFS=, read -ra systems <<<"${option[systems]}"; fi
for system in "${systems[@]}"; do
    [[ " ${known[*]} " == *" $system "* ]] || die "--systems $system: there are ${known[*]}"
done
wanted() { [[ " ${systems[*]} " == *" $1 "* ]]; }

for word in "${own_words[@]}"; do # told of now, not after the systems before it
    if wanted joint && [[ $word == trainer.iterations_per_epoch=*[13579] ]]; then
        die "$word: joint takes speech and text in turn, give an even number (or other --systems)"
    fi
done

# Words of the speech: settings of data go to each part; the others, but for those of the text and of ewc, to the runs.
reader=("${data_words[0]#data=}") of_data=("${data_words[@]:1}") of_runs=() of_text=() of_ewc=()
for word in "${own_words[@]}"; do
    case $word in
        data.* | +data*) of_data+=("$word") ;;
        text.* | +text.*) of_text+=("$word") ;;
        preservation.*) of_ewc+=("$word") ;;
        *) of_runs+=("$word") ;;
    esac
done

# A corpus of parts, each a language or some with the splits that are taken: name:languages:splits ...
corpus() {
    local part name languages splits word taken=""
    speech=(data=several)
    for part in "$@"; do
        IFS=: read -r name languages splits <<<"$part"
        [[ -n $languages ]] || continue
        speech+=("+data@data.corpora.$name=${reader[0]}" "data.corpora.$name.languages=$(list "$languages")")
        for word in "${of_data[@]}"; do speech+=("${word/data./data.corpora.$name.}"); done
        taken+="$name:[$splits],"
    done
    speech+=("data.splits={${taken%,}}")
}

run_of() { # of name $1, by the experiment $2, with the words that follow
    local start=()
    if [[ -n ${option[start]} && " $* " != *" start.run="* ]]; then start=(start=run "$(path_word start.run "${option[start]}")"); fi
    plan "$1.$seed" "+exp=seamless/$2" "model=${option[model]}" "${speech[@]}" "${start[@]}" "${@:3}" "run_name=$1" "$(path_word output_root "$out")" \
        "seed=$seed" "${of_runs[@]}"
}

by_text=()
if [[ -n ${option[text]} ]]; then by_text=("text=${option[text]}" "${of_text[@]}"); fi
if [[ ${option[text]} == synthetic ]]; then by_text+=("text.target_language=${option[target]}"); fi
planned_with() { # of seed $1, all systems
    seed=$1
    corpus "target:${option[target]}:train,dev,test" "kept:${option[keep]}:test"
    if [[ $seed == "${all_seeds[0]}" ]]; then run_of zero_shot zero_shot "${by_text[@]}"; fi # nothing is drawn
    run_of encoder asr adaptation=encoder_adapters "adaptation.width=${option[width]}"
    run_of encoder_wide asr adaptation=encoder_adapters "adaptation.width=${option[wide]}"
    run_of lora asr adaptation=lora
    run_of decoder asr adaptation=decoder_adapters "adaptation.width=${option[width]}" "${by_text[@]}"
    run_of length_adaptor asr adaptation=length_adaptor
    if [[ -n ${option[text]} ]]; then
        run_of text text "adaptation.width=${option[width]}" "${by_text[@]}"
        run_of text_then_asr text_then_asr "start.run=@text.$seed" "adaptation.width=${option[width]}"
        run_of joint joint "adaptation.width=${option[width]}" "${by_text[@]}"
    fi
    if [[ -n ${option[keep]} ]]; then
        corpus "target:${option[target]}:train,dev,test" "kept:${option[keep]}:train,test"
        if [[ -n ${option[quota]} ]]; then speech+=("++data.corpora.kept.max_train_hours=${option[quota]}"); fi
        local held=(adaptation=encoder_adapters "adaptation.width=${option[width]}")
        run_of replay replay "${held[@]}" "loading.sampling.new=$(list "${option[target]}")" "loading.sampling.share=${option[share]}"
        run_of ewc ewc "${held[@]}" "preservation.languages=$(list "${option[keep]}")" "${of_ewc[@]}"
    fi
    if [[ -n ${option[pivot]} ]]; then
        corpus "pivot:${option[pivot]}:train,dev" "target:${option[target]}:test" "kept:${option[keep]}:test"
        run_of pivot pivot
    fi
}

IFS=, read -ra all_seeds <<<"${seeds:-0}"
for seed in "${all_seeds[@]}"; do planned_with "$seed"; done
seeds_of() { # of system $1
    if [[ $1 == zero_shot ]]; then echo "${all_seeds[0]}"; else echo "${all_seeds[@]}"; fi
}

each() { # of stage $1, the systems that follow
    local system seed
    stage "$1" || return 0
    for system in "${@:2}"; do
        wanted "$system" || continue
        for seed in $(seeds_of "$system"); do one - "$system.$seed"; done
    done
}

if stage 1; then
    runs=("$out/none") # there is something to train
    all="${option[target]}${option[pivot]:+,${option[pivot]}}${option[keep]:+,${option[keep]}}"
    language_words=("data.languages=$(list "$all")") own_data_words=("${of_data[@]}")
    check_data
fi
each 2 zero_shot
each 3 encoder encoder_wide lora decoder length_adaptor replay ewc
each 4 text
each 5 text_then_asr joint
each 6 pivot
if stage 7; then
    [[ ${#at[@]} -gt 0 ]] || settle
    made=() named=()
    for system in "${systems[@]}"; do
        of_seeds=""
        for seed in $(seeds_of "$system"); do
            made+=("${at[$system.$seed]}") of_seeds+=",${at[$system.$seed]}"
        done
        named+=("$system=${of_seeds#,}")
    done
    over=(--intervals)
    if ((${#all_seeds[@]} > 1)); then over=(--over-seeds); fi
    run "$python" -m mlsuperb table "${made[@]}" "${over[@]}" || true
    run "$python" -m mlsuperb table "${made[@]}" --by language || true
    if wanted zero_shot && [[ -n ${option[keep]} ]] && ((${#systems[@]} > 1)); then
        for rate in wer cer; do
            run "$python" -m mlsuperb expansion "${named[@]}" --new "${option[target]}" --rate "$rate" --out "$out/reports/seamless-$rate.md" || true
        done
    elif wanted zero_shot; then
        for folder in "${made[@]:1}"; do run "$python" -m mlsuperb compare "${made[0]}" "$folder" --any-training || true; done
    fi
fi
if $failed; then exit 1; fi
