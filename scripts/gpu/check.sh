#!/usr/bin/env bash
# Everything that only a GPU can show, without a network; written for one H100 or H200 with 16 cores and not run on one yet. Each part is
# independent of the others and has a limit; the limits add up to 855 seconds. What a part that is cut off had measured by then is kept.
#   scripts/gpu/check.sh                         # JSON and log of each part in $OUT (exp/gpu without it)
#   scripts/gpu/check.sh --parts losses,demo,resume,cache,qlora,fsdp                           # in two calls: what comes out (420 s at most),
#   scripts/gpu/check.sh --parts steps,fine_tuning,pretraining,decoding,profile,clustering     # and how fast (435 s at most)
#   scripts/gpu/check.sh --speech DIR            # real speech in the layout of ML-SUPERB, for the part real_speech
#   scripts/gpu/check.sh --dry-run               # every part on the CPU, at toy size: whether the script itself works
# Needs what `pip install '.[cuda,synthetic]'` installs; the interpreter is $PYTHON, or python3.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit

python=${PYTHON:-python3} out=${OUT:-exp/gpu} device=cuda speech="" dry="" chosen=""
die() { echo "check.sh: $*" >&2 && exit 2; }
while (($#)); do
    case $1 in
        --dry-run) dry=1 device=cpu ;;
        --parts) chosen=${2:?--parts needs names} && shift ;;
        --speech) speech=${2:?--speech needs a folder} && shift ;;
        --help | -h) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" && exit ;;
        *) die "there is no $1; see --help" ;;
    esac
    shift
done
mkdir -p "$out" || exit 1
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
if [[ -n $dry ]]; then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
elif ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    die "torch sees no GPU here; --dry-run tries every part on the CPU"
fi

runs=$(mktemp -d) || exit 1 # of all parts, which share the built-in corpus
trap 'rm -rf "$runs"' EXIT
parts=() failed=() started=$SECONDS
# part NAME SECONDS SCRIPT [flag...]: run a script with --json, for so long at most.
part() {
    local name=$1 limit=$2 status=0 start=$SECONDS
    shift 2
    parts+=("$name")
    if [[ -n $dry ]]; then limit=$((5 * limit)); fi
    if [[ -n $chosen && ,$chosen, != *,"$name",* ]]; then return; fi
    echo "== $name"
    rm -f "$out/$name.json"
    timeout -k 10 "$limit" "$python" "$@" --json "$out/$name.json" >"$out/$name.log" 2>&1 || status=$?
    grep -E '^\||: not tried' "$out/$name.log" || true
    if ((status)); then
        failed+=("$name")
        tail -n 15 "$out/$name.log"
    fi
    echo "   $name: $((SECONDS - start)) s, status $status (124: more than $limit s)"
}

gpu=scripts/gpu bench=scripts/bench on=(--device "$device")
if [[ -n $dry ]]; then
    small=(--quick) steps=(--model hubert_base --only lora_v2 --batch 1 --seconds 1 --steps 1)
    tuning=(--quick --adaptations lora_v2 --precision fp32) decoding=(--quick)
    pretraining=(--batch 1 --seconds 2 --blocks 1 --units 20 --steps 1 --rounds 1) units=(--quick)
else
    # A process that builds a model of 300 million weights or trains a toy for two epochs is given 25 seconds.
    small=() steps=(--model xls_r_300m --model mms_1b --only full --only qlora --batch 8 --precision bf16) decoding=(--rounds 1)
    tuning=(--model xls_r_300m --adaptations lora_v2 --precision bf16 --batch 16 --utterances 128 --rounds 1)
    pretraining=(--batch 11 --seconds 15.6 --precision bf16 --steps 10 --rounds 1)
    units=(--rounds 1 --threads "$(nproc)") # faiss trains on the CPU
fi
kept=(--out "$runs")
# what comes out
part losses 60 $gpu/losses.py "${on[@]}" "${small[@]}"
part demo 100 $gpu/runs.py demo "${on[@]}" "${kept[@]}" "${small[@]}"
part resume 110 $gpu/runs.py resume "${on[@]}" "${kept[@]}" "${small[@]}"
part cache 50 $gpu/runs.py cache "${on[@]}" "${kept[@]}" "${small[@]}"
part qlora 50 $gpu/runs.py qlora "${on[@]}" "${kept[@]}" "${small[@]}"
part fsdp 50 $gpu/runs.py fsdp "${on[@]}" "${kept[@]}" "${small[@]}"
if [[ -n $speech ]]; then part real_speech 120 $gpu/runs.py real_speech "${on[@]}" "${kept[@]}" --speech "$speech" "${small[@]}"; fi
# how fast
part steps 100 $bench/adaptation_steps.py "${on[@]}" "${steps[@]}"
part fine_tuning 90 $bench/fine_tuning.py "${on[@]}" "${tuning[@]}"
part pretraining 50 $bench/pretraining.py "${on[@]}" "${pretraining[@]}"
part decoding 60 $bench/decoding.py "${on[@]}" --alone "${decoding[@]}"
part profile 60 $gpu/profile_step.py "${on[@]}" "${small[@]}"
part clustering 75 $bench/clustering.py "${on[@]}" --alone "${units[@]}"

for name in ${chosen//,/ }; do
    [[ " ${parts[*]} " == *" $name "* ]] || die "there is no part $name; there are ${parts[*]}"
done
echo "== $((SECONDS - started)) s in all; figures in $out; failed: ${failed[*]:-none}"
((${#failed[@]} == 0))
