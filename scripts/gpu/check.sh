#!/usr/bin/env bash
# Everything that only a GPU can show, in at most 8 minutes on one H100 or H200, without a network. Each part is independent of the others.
#   scripts/gpu/check.sh                         # JSON of each part in $OUT (exp/gpu without it)
#   scripts/gpu/check.sh --parts losses,steps    # some of them
#   scripts/gpu/check.sh --speech DIR            # real speech in the layout of ML-SUPERB, for the part real_speech
#   scripts/gpu/check.sh --dry-run               # every part on the CPU, at toy size: whether the script itself works
# Needs what `pip install '.[cuda]'` installs; the interpreter is $PYTHON, or python3.
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
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
if [[ -n $dry ]]; then
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
elif ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    die "torch sees no GPU here; --dry-run tries every part on the CPU"
fi

parts=() failed=() started=$SECONDS
# part NAME SECONDS SCRIPT [flag...]: run a script with --json, for so long at most.
part() {
    local name=$1 limit=$2 status=0 start=$SECONDS
    shift 2
    parts+=("$name")
    if [[ -n $dry ]]; then limit=$((5 * limit)); fi
    if [[ -n $chosen && ,$chosen, != *,"$name",* ]]; then return; fi
    echo "== $name"
    timeout -k 10 "$limit" "$python" "$@" --json "$out/$name.json" >"$out/$name.log" 2>&1 || status=$?
    if ((status)); then
        failed+=("$name")
        tail -n 15 "$out/$name.log"
    else
        grep '^|' "$out/$name.log" || true
    fi
    echo "   $name: $((SECONDS - start)) s, status $status (124: more than $limit s)"
}

gpu=scripts/gpu bench=scripts/bench on=(--device "$device")
if [[ -n $dry ]]; then
    small=(--quick) steps=(--model hubert_base --only lora_v2 --batch 1 --seconds 1 --steps 1)
    tuning=(--quick --adaptations lora_v2) pretraining=(--batch 1 --seconds 2 --blocks 1 --units 20 --steps 1 --rounds 1) units=(--quick)
else
    small=() steps=(--model xls_r_300m --model mms_1b --only full --only lora_v2 --only qlora --batch 8 --precision bf16)
    tuning=(--model xls_r_300m --batch 16 --utterances 128 --rounds 1) units=(--rounds 1)
    pretraining=(--batch 11 --seconds 15.6 --precision bf16 --steps 10 --rounds 1)
fi
part losses 60 $gpu/losses.py "${on[@]}" "${small[@]}"
part demo 120 $gpu/runs.py demo "${on[@]}" "${small[@]}"
if [[ -n $speech ]]; then part real_speech 120 $gpu/runs.py real_speech "${on[@]}" --speech "$speech" "${small[@]}"; fi
part cache 60 $gpu/runs.py cache "${on[@]}" "${small[@]}"
part qlora 60 $gpu/runs.py qlora "${on[@]}" "${small[@]}"
part fsdp 60 $gpu/runs.py fsdp "${on[@]}" "${small[@]}"
part resume 120 $gpu/runs.py resume "${on[@]}" "${small[@]}"
part steps 90 $bench/adaptation_steps.py "${on[@]}" "${steps[@]}"
part fine_tuning 120 $bench/fine_tuning.py "${on[@]}" "${tuning[@]}"
part decoding 60 $bench/decoding.py "${on[@]}" --alone "${small[@]}"
part pretraining 60 $bench/pretraining.py "${on[@]}" "${pretraining[@]}"
part clustering 60 $bench/clustering.py "${on[@]}" "${units[@]}"
part profile 60 $gpu/profile_step.py "${on[@]}" "${small[@]}"

for name in ${chosen//,/ }; do
    [[ " ${parts[*]} " == *" $name "* ]] || die "there is no part $name; there are ${parts[*]}"
done
echo "== $((SECONDS - started)) s in all; figures in $out; failed: ${failed[*]:-none}"
((${#failed[@]} == 0))
