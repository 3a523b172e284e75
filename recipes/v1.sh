#!/usr/bin/env bash
# One run of ML-SUPERB 1.0, from the corpus to its table.
#   recipes/v1.sh --track asr_lid --size 10min --data-root DIR --upstream hubert_base
#   recipes/v1.sh --track mono_asr --size 1h --data-root DIR --upstream xls_r_300m data.mono=eng1 trainer.optimizer.lr=1e-3
# Stages: 1 is the corpus whole, 2 train, decode and score, 3 all scoring protocols. What follows the flags goes to
# mlsuperb.run as it is. Given again, a finished or interrupted run is taken up where it was.
set -euo pipefail

track=asr_lid size=10min data_root= upstream=fbank stage=1 stop_stage=3 dry_run=false python=${PYTHON:-python}

usage() {
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit "${1:-0}"
}

while [[ ${1:-} == -* ]]; do
    case $1 in
        --track) track=$2; shift 2 ;;
        --size) size=$2; shift 2 ;;
        --data-root) data_root=$2; shift 2 ;;
        --upstream) upstream=$2; shift 2 ;;
        --stage) stage=$2; shift 2 ;;
        --stop-stage) stop_stage=$2; shift 2 ;;
        --dry-run) dry_run=true; shift ;;
        -h | --help) usage ;;
        *) echo "unknown flag $1" >&2; usage 2 ;;
    esac
done
if [[ -z $data_root ]]; then
    echo "--data-root is missing: the folder of the corpus (data/README.md)" >&2
    usage 2
fi

run() {
    echo "+ $*"
    $dry_run || "$@"
}

within() { ((stage <= $1 && $1 <= stop_stage)); }

data=("data=ml_superb_$size" "data.root=$data_root")
experiment=("+exp=v1/$track" "${data[@]}" "upstream=$upstream" "$@")

if within 1; then
    run "$python" -m mlsuperb.data check "${data[@]}" || echo "The copy is not whole: the numbers will not be comparable." >&2
fi
if within 2; then
    run "$python" -m mlsuperb.run "${experiment[@]}"
fi
if within 3; then
    config=$("$python" -m mlsuperb.run "${experiment[@]}" --cfg job --resolve)
    run "$python" -m mlsuperb.score "$(sed -n 's/^output_root: //p' <<<"$config")/$(sed -n 's/^run_id: //p' <<<"$config")"
fi
