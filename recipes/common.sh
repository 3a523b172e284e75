# shellcheck shell=bash
# What every recipe shares: flags, commands, stages. Sourced; a recipe then says
#   data=fleurs size=1h               other defaults of the common flags
#   refused=(launcher)                common flags that it has no use for: --help leaves them out
#   option=([experiments]="")         its own flags, --experiments VALUE, with their defaults; those that begin with false
#                                     or true are switches
#   parse "$@"                        reads the flags
#   experiment +exp=v1/lid ...        once for each sweep; looks up the names, collects the folders in runs=()
#   if stage 2; then train; fi        and so on
#   finish
set -euo pipefail

# One clear sentence, and the exit status of a wrong call.
die() {
    printf '%s: %s (--help lists the flags)\n' "${0##*/}" "$*" >&2
    exit 2
}

needs_bash() { # whose version is $1.$2; here, above all lines that an older one cannot read
    if (($1 < 4 || ($1 == 4 && $2 < 4))); then die "recipes need bash 4.4 or newer, and this is $1.$2 (macOS: brew install bash)"; fi
}
needs_bash "${BASH_VERSINFO[0]}" "${BASH_VERSINFO[1]}"

# read by the recipes, too
# shellcheck disable=SC2034
{
    python=${PYTHON:-python}
    data=ml_superb data_root="" size=10min out=exp languages="" datasets="" seeds="" lr_sweep="" upstream="" launcher=""
    first_stage=1 last_stage=4 dry_run=false failed=false looked_up=false
    run_starts=() run_counts=() some=() own_words=() config_dir=() data_words=() language_words=() dataset_words=()
    own_data_words=() runs=() commands=() starts=() lengths=() board_flags=()
    label_words=() train_words=() data_only=() shared=() planned=() # of pre-training
    passed=() # to another recipe
    refused=()
    declare -A option=() given=() words_of=() at=()
    stage_names=("" data train tables report)
}

own_usage() {
    sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
}

# Flags of all recipes, with their defaults in brackets, but for those that this one `refused` or lists among its own.
common_flags() {
    local line flag own gpus="; several GPUs take a run each"
    if refuses launcher; then gpus=", 1 a GPU"; fi
    own=$(own_usage)
    while IFS= read -r line; do
        flag=${line#  --} && flag=${flag%% *}
        if [[ $own != *"  --$flag "* ]] && ! refuses "$flag"; then printf '%s\n' "$line"; fi
    done <<FLAGS
  --upstream a,b        what is benchmarked; several are a sweep
  --adaptation a,b      what is trained inside it
  --data NAME           ml_superb, synthetic, or another option of data= ($data)
  --data-root DIR       where the corpus lies
  --size 10min|1h       training set of ml_superb and synthetic ($size)
  --languages a,b       instead of the published ones
  --datasets a,b        instead of the published ones; all: every one that the tree has of the languages
  --trainer NAME        instead of the published one (debug: a few steps on the CPU)
  --seeds 0,1,2         repeats, shown as mean and standard deviation
  --lr-sweep [LIST]     learning rates, of which the tables take the best on dev (without LIST: 1e-2 to 1e-6 in decades)
  --launcher slurm      one job per run, through submitit
  --config-dir DIR      your own YAML files
  --out DIR             where runs go ($out)
  --stage N             first stage that is done (1)
  --stop-stage N        last stage that is done ($last_stage)
  --ngpu N              as in ESPnet: 0 is the CPU$gpus
  --nj N                as in ESPnet: worker processes that load audio
  --dry-run             print the commands, run nothing
FLAGS
}

usage() {
    own_usage
    printf '\nCommon flags:\n%s\n' "$(common_flags)"
    printf '  --GROUP VALUE, --GROUP.SETTING VALUE, setting=value    anything else that mlsuperb.run takes\n'
    printf 'Given again, finished runs are shown and interrupted ones carried on.\n'
}

# Words as they can be pasted into a shell.
quoted() {
    local word
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then
            printf '%s ' "$word"
        elif [[ $word != *\'* ]]; then
            printf "'%s' " "$word"
        else
            printf '%q ' "$word"
        fi
    done
}

# Show a command and run it. What was killed or interrupted ends the recipe; what failed is told of at the end.
run() {
    local line status=0
    line=$(quoted "$@")
    printf '+ %s\n' "${line% }"
    if $dry_run; then return; fi
    "$@" || status=$?
    if ((status >= 128)); then
        printf '%s\n' "killed ($status): give the same command again, it goes on from the last checkpoint" >&2
        exit "$status"
    elif ((status)); then
        failed=true
    fi
    return "$status"
}

# The flags of a recipe that calls another for each of its variants: its own become options, all others are `passed` on, and so are
# those of its own that are named here.
parse_passed() {
    local both=" $1 " name
    shift
    while (($#)); do
        case $1 in
            -h | --help) own_usage; exit 0 ;;
            --dry-run) dry_run=true && passed+=("$1") && shift && continue ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" && continue ;;
            --*) (($# > 1)) || die "$1 needs a value" ;;
            *) passed+=("$1") && shift && continue ;;
        esac
        name=${1#--}
        if [[ ! -v option[$name] || $both == *" $name "* ]]; then passed+=("$1" "$2"); fi
        if [[ -v option[$name] ]]; then option[$name]=$2; fi
        if [[ $name =~ ^config[-_]dir$ ]]; then config_dir=(--config-dir "$2"); fi
        shift 2
    done
}

# setting=PATH for Hydra, which reads =, commas, brackets and letters like é in a value as its own signs unless it is quoted.
path_word() {
    local LC_ALL=C path=$2
    if [[ ! $path =~ ^[A-Za-z_./][A-Za-z0-9_./:@%+-]*$ ]]; then
        path="'$(sed -E "s/(\\\\*)'/\\1\\1\\\\'/g; s/(\\\\+)\$/\\1\\1/" <<<"$path")'"
    fi
    printf '%s=%s' "$1" "$path"
}

# A list of texts for Hydra: ["deu","nan"]. Quoted, since nan would be a number. `all` is no restriction.
list() {
    if [[ $1 == all ]]; then printf null; else printf '["%s"]' "${1//,/'","'}"; fi
}

parse() {
    while (($#)); do
        case $1 in
            -h | --help) usage; exit 0 ;;
            --dry-run) dry_run=true; shift ;;
            --lr-sweep)
                given[lr-sweep]=1 lr_sweep=1e-2,1e-3,1e-4,1e-5,1e-6 && shift
                if [[ ${1:-} =~ ^[0-9.][^=]*$ ]]; then lr_sweep=$1 && shift; fi
                ;;
            --lr-sweep=* | --[!-]*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
            --[!-]*)
                if [[ ${option[${1#--}]:-} =~ ^(true|false)$ ]]; then
                    option[${1#--}]=true && given[${1#--}]=1 && shift
                    continue
                fi
                if (($# < 2)) || [[ $2 =~ ^-($|[^0-9.]) || -z $2 ]]; then die "$1 needs a value"; fi
                take "${1#--}" "$2"
                shift 2
                ;;
            -*) die "there is no flag $1" ;;
            *=* | ~*) word "$1"; shift ;;
            *) die "'$1' is neither a flag nor setting=value" ;;
        esac
    done
    checked
}

# One flag with its value.
take() {
    given[$1]=1
    case $1 in
        upstream | data | size | languages | datasets | seeds | launcher | out) printf -v "$1" '%s' "$2" ;;
        data-root) data_root=$(path_word data.root "$2") ;;
        stage) first_stage=$2 ;;
        stop-stage) last_stage=$2 ;;
        config-dir) config_dir=(--config-dir "$2") ;;
        stop_stage | data_root | config_dir) unset "given[$1]" && take "${1//_/-}" "$2" ;; # ESPnet's spelling
        nj) alias_of "--nj $2" "loading.num_workers=$2" ;;
        ngpu) of_gpus "$2" ;;
        *) if [[ -v option[$1] ]]; then option[$1]=$2; else word "$1=$2"; fi ;;
    esac
}

# A flag of ESPnet's recipes, as the settings that it stands for here.
alias_of() {
    local setting
    printf '%s: %s\n' "$1" "${*:2}" >&2
    for setting in "${@:2}"; do word "$setting"; done
}

of_gpus() {
    case $1 in
        0) alias_of "--ngpu 0" trainer.device=cpu ;;
        1) alias_of "--ngpu 1" trainer.device=cuda ;;
        [2-9] | [1-9][0-9])
            if refuses launcher; then
                die "--ngpu $1: one run at a time here; --dry-run prints the commands, of which torchrun takes one (docs/scaling.md)"
            fi
            alias_of "--ngpu $1" hydra/launcher=local "hydra.launcher.n_jobs=$1" # so many runs at a time
            ;;
        *) die "--ngpu $1: give a number; one run on several GPUs is torchrun's (docs/scaling.md)" ;;
    esac
}

# One setting=value; what a flag says, too, is taken as the flag.
word() {
    case ${1%%=*} in
        upstream | data) take "${1%%=*}" "${1#*=}" ;;
        data.root) given[data-root]=1 data_root=$1 ;; # as Hydra reads it
        data.size) take size "${1#*=}" ;;
        seed) take seeds "${1#*=}" ;;
        output_root) take out "${1#*=}" ;;
        hydra/launcher) take launcher "${1#*=}" ;;
        *) own_words+=("$1") ;;
    esac
}

refuses() { [[ " ${refused[*]} " == *" $1 "* ]]; }

checked() {
    local number word flag
    for flag in "${refused[@]}"; do
        [[ -z ${given[$flag]:-} ]] || die "--$flag is no flag of this recipe"
    done
    for number in "$first_stage" "$last_stage"; do
        if [[ ! $number =~ ^[1-9]$ ]] || ((number >= ${#stage_names[@]})); then
            die "there is no stage $number: stages are $(stages)"
        fi
    done
    if ((first_stage > last_stage)); then die "--stage $first_stage comes after --stop-stage $last_stage"; fi
    [[ $size =~ ^(10min|1h)$ ]] || die "--size $size: there are 10min and 1h"
    [[ -z $seeds || $seeds =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--seeds $seeds: give whole numbers, such as 0,1,2"
    [[ -z $lr_sweep || $lr_sweep =~ ^[0-9.eE+,-]+$ ]] || die "--lr-sweep $lr_sweep: give numbers, such as 1e-3,1e-4"
    case $data in
        ml_superb) data_words=("data=ml_superb_$size") ;;
        ml_superb_10min | ml_superb_1h)
            [[ -z ${given[size]:-} || $data == "ml_superb_$size" ]] || die "--data $data is not --size $size"
            size=${data#ml_superb_} && data_words=("data=$data")
            ;;
        synthetic) data_words=(data=synthetic "data.size=$size") ;;
        *)
            [[ -z ${given[size]:-} ]] || die "--size goes with --data ml_superb and synthetic, not with $data"
            data_words=("data=$data")
            ;;
    esac
    if [[ -n $data_root ]]; then
        data_words+=("$data_root")
    elif [[ $data == ml_superb* && $data != ml_superb_hf ]]; then
        die "--data-root is missing: the folder of the corpus (data/README.md), or --data synthetic"
    fi
    if [[ -n $languages ]]; then language_words=("data.languages=$(list "$languages")"); fi
    if [[ -n $datasets ]]; then dataset_words=("data.datasets=$(list "$datasets")"); fi
    for word in "${own_words[@]}"; do # settings of the data that are no sweep: for what is not mlsuperb.run
        if [[ $word == data.* && ($word != *,* || $word == *[*) ]]; then own_data_words+=("$word"); fi
    done
}

stages() {
    local number text=""
    for ((number = 1; number < ${#stage_names[@]}; number++)); do text+=", $number ${stage_names[number]}"; done
    printf '%s' "${text#, }"
}

# Whether a stage was asked for, with its title.
stage() {
    look_up
    if ((first_stage > $1 || $1 > last_stage)); then return 1; fi
    printf '== Stage %s: %s\n' "$1" "${stage_names[$1]}"
}

# A sweep of mlsuperb.run: its words, then what the flags say.
experiment() {
    local words=("${config_dir[@]}" -m "$@" "${data_words[@]}" "${language_words[@]}" "${dataset_words[@]}")
    if [[ -n $upstream ]]; then words+=("upstream=$upstream"); fi
    if [[ -n $seeds ]]; then words+=("seed=$seeds"); fi
    if [[ -n $lr_sweep ]]; then words+=("trainer.optimizer.lr=$lr_sweep"); fi
    if [[ -n $launcher ]]; then words+=("hydra/launcher=$launcher"); fi
    words+=("$(path_word output_root "$out")" "${own_words[@]}")
    starts+=("${#commands[@]}") lengths+=("${#words[@]}") commands+=("${words[@]}")
}

# The folders of all sweeps, in `runs`. Unknown names end the recipe, before anything has begun.
look_up() {
    local number first lines folder
    if $looked_up || ((${#starts[@]} == 0)); then return; fi
    looked_up=true
    lines=$(for number in "${!starts[@]}"; do
        first=$((starts[number] + ${#config_dir[@]} + 1))
        (IFS=$'\t' && printf '%s\n' "${commands[*]:first:starts[number] + lengths[number] - first}")
    done | "$python" -m mlsuperb folders --sweeps "${config_dir[@]}") || exit 2
    run_starts=(0)
    while read -r folder; do
        if [[ -n $folder ]]; then runs+=("$folder") && continue; fi
        run_counts+=($((${#runs[@]} - run_starts[-1])))
        run_starts+=("${#runs[@]}")
    done <<<"$lines"$'\n'
}

all_finished() {
    local folder
    for folder in "${runs[@]}"; do
        if [[ ! -f $folder/result.json ]]; then return 1; fi
    done
}

# Is the copy of the corpus whole? Asked while there is something to train.
check_data() {
    local status=0
    if [[ $data == synthetic ]]; then
        echo "the built-in corpus needs no check"
        return
    elif ! $dry_run && all_finished; then
        echo "every run has its result: no check"
        return
    fi
    run "$python" -m mlsuperb data check "${config_dir[@]}" "${data_words[@]}" "${language_words[@]}" "${dataset_words[@]}" \
        "${own_data_words[@]}" || status=$?
    if ((status > 1)); then exit "$status"; fi
    failed=false
    if ((status)); then echo "The copy is not whole: its numbers are not comparable with published ones." >&2; fi
}

# A sweep of the multilingual tracks. The built-in corpus speaks two few-shot languages beside its six there, so that no column
# of a board stays empty.
multilingual() {
    if [[ $data == synthetic && -z $languages ]]; then language_words=("data.languages=$(list deu,ell,hin,kat,spa,swa,dan,tur)"); fi
    experiment "$@"
}

# The 13 runs of the monolingual track (run_mono.sh of the original), or those of --languages, such as eng,rus or eng1,rus.
mono_runs() {
    local one language found=()
    for one in eng1 eng2 eng3 fra1 fra2 deu1 deu2 rus swa swe jpn cmn xty; do
        for language in ${languages//,/ }; do
            if [[ $language == "$one" || $language == "${one%[0-9]}" ]]; then found+=("$one") && break; fi
        done
        if [[ -z $languages ]]; then found+=("$one"); fi
    done
    if ((${#found[@]} == 0)); then
        die "--languages $languages: the monolingual track has eng (eng1 eng2 eng3), fra (fra1 fra2), deu (deu1 deu2), rus, swa," \
            "swe, jpn, cmn, xty"
    fi
    local IFS=,
    # shellcheck disable=SC2034  # read by the recipes
    mono="${found[*]}"
}

# Each word of a,b as a list of its own, for a sweep over lists: ["a"],["b"].
lists() {
    printf '["%s"]' "${1//,/'"],["'}"
}

# Every sweep. A run that fails does not end its sweep, nor a sweep the recipe.
train() {
    local number
    for number in "${!starts[@]}"; do
        run "$python" -m mlsuperb.run "${commands[@]:starts[number]:lengths[number]}" || true
    done
}

# Runs beside each other.
table() {
    local flags=()
    if [[ $seeds == *,* ]]; then flags+=(--over-seeds); fi
    if [[ -n $lr_sweep ]]; then flags+=(--best trainer.optimizer.lr); fi
    run "$python" -m mlsuperb table "${runs[@]}" "${flags[@]}" || true
}

# What the leaderboard is asked for; said before anything has begun, since a wrong name would come out after the training.
board() {
    board_flags=("$@")
    "$python" -m mlsuperb leaderboard "$@" --format csv >/dev/null || exit 2
}

# Our rows beside published ones.
leaderboard() {
    run "$python" -m mlsuperb leaderboard "$out" "${board_flags[@]}" || true
}

# `some` becomes the runs of sweep number $1, or of `all`, that have a result; in a dry run whether or not they have.
finished() {
    local folder from=0 count=${#runs[@]}
    if [[ $1 != all ]]; then from=${run_starts[$1]} count=${run_counts[$1]}; fi
    some=()
    for folder in "${runs[@]:from:count}"; do
        if $dry_run || [[ -f $folder/result.json ]]; then some+=("$folder"); fi
    done
    if ((${#some[@]} == 0)); then echo "no run has finished: nothing to show" >&2 && failed=true; fi
    ((${#some[@]}))
}

# A folder in $out/reports, of its own for what was asked for: WHAT-UPSTREAM-SIZE.
report_folder() {
    local recipe="${0##*/}"
    printf '%s/reports/%s-%s-%s' "$out" "${1:-${recipe%.sh}}" "${upstream:-default}" "$size"
}

# Figures of runs, with their numbers.
analyse() {
    run "$python" -m mlsuperb analyse "$@" "${config_dir[@]}" || true
}

# One page of everything that the runs show.
report() {
    if finished all; then run "$python" -m mlsuperb report "${some[@]}" --out "$(report_folder)/report.html" || true; fi
}

# What went wrong, and what to do.
finish() {
    local number
    if $dry_run || ! $failed; then return; fi
    if all_finished; then
        echo "A command above failed, though every run has its result." >&2
    else
        echo "Runs without a result:" >&2
        for number in "${!starts[@]}"; do
            "$python" -m mlsuperb folders --unfinished "${commands[@]:starts[number]:lengths[number]}" >&2 || true
        done
        echo "Give the same command again: what has finished stays, the rest is carried on." >&2
    fi
    exit 1
}

trap 'echo "interrupted: give the same command again, it goes on from the last checkpoint" >&2; exit 130' INT TERM

# Pre-training and language expansion. Settings of data, clustering, extraction and labelling go to the labels (label_words), those of
# the data also to what checks them (data_only), all others to the training (train_words).
of_pretraining() {
    case $data in # speech for pre-training needs no transcripts; these readers know
        synthetic | several | audio_tree | shar) ;;
        *) data_words+=(+data.text=optional) ;;
    esac
    local word key
    for word in "${own_words[@]}"; do
        key=${word%%=*}
        case ${key#"${key%%[!+~]*}"} in # without the + and ~ before it
            data | data[./@]*) label_words+=("$word") data_only+=("$word") ;;
            clustering* | extraction* | labelling*) label_words+=("$word") ;;
            *) train_words+=("$word") ;;
        esac
    done
    if [[ $data == audio_tree && " ${data_only[*]}" != *"data/preparation="* ]]; then # a tree has no dev utterances of its own
        label_words+=(+data/preparation=mhubert_147) data_only+=(+data/preparation=mhubert_147)
    fi
    # shellcheck disable=SC2034  # read by the recipes
    shared=("$(path_word output_root "$out")" "seed=${seeds:-0}")
}

# Runs that build upon each other. `plan NAME WORDS...` says what one is told; there `targets.run=@NAME` is the folder of another.
# `one STAGE NAME` does the work, if its stage was asked for (-: it has been). `at` has the folders once a run was needed.
plan() {
    planned+=("$1")
    words_of[$1]=$(IFS=$'\t' && printf '%s' "${*:2}")
}

settle() {
    local name number folders
    folders=$(for name in "${planned[@]}"; do printf '%s\t%s\n' "$name" "${words_of[$name]}"; done |
        "$python" -m mlsuperb folders --chain "${config_dir[@]}") || exit 2
    mapfile -t folders <<<"$folders"
    for number in "${!planned[@]}"; do at[${planned[number]}]=${folders[number]}; done
}

one() {
    local number words
    [[ -v at[$2] ]] || settle
    IFS=$'\t' read -ra words <<<"${words_of[$2]}"
    for number in "${!words[@]}"; do
        if [[ ${words[number]} == *=@* ]]; then words[number]=${words[number]%%=@*}=${at[${words[number]#*=@}]}; fi
    done
    if [[ $1 == - ]] || stage "$1"; then run "$python" -m mlsuperb.run "${config_dir[@]}" "${words[@]}" || exit 1; fi
}
