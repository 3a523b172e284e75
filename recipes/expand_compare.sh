#!/usr/bin/env bash
# Language expansion with one thing changed: units, rank, hours of the new language, layer, learning rate or share of old speech. One table
# of what each gains on the new language and forgets of the old ones.
#   recipes/expand_compare.sh --compare rank --base mhubert_tiny --new kat --old deu,spa --data synthetic --units 100 --layer 3 --exp demo
# Each variant is made by recipes/expand.sh, which has its own --help and takes all flags but these. Runs that are there already are kept.
# Own flags:
#   --compare WHAT        units: 256, 1000, 3000   rank: 8, 16, 24, 32, 64   hours: 10min, 1h   layer: 6, 9, 11   share: 0.05, 0.1, 0.2, 0.5
#                         lr: 1e-4, 5e-4, 2e-3
#   --exp NAME            experiment with a frozen head that judges each variant, such as demo; needed
#   --values a,b          others than these
#   --system NAME         (one) of expand.sh that is trained; share: combined
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

option=([compare]="" [values]="" [system]=one [exp]="" [phones]="" [new]="" [out]=exp)
parse_passed "exp phones new out" "$@"
compare=${option[compare]} values=${option[values]} system=${option[system]} phones=${option[phones]}
case $compare in
    units) usual=256,1000,3000 flag=(--units) ;;
    rank) usual=8,16,24,32,64 flag=(--adaptation.rank) ;; # alpha stays twice the rank
    hours) usual=10min,1h flag=(--size) ;;
    layer) usual=6,9,11 flag=(--layer) ;;
    share) usual=0.05,0.1,0.2,0.5 flag=(--share) system=combined ;;
    lr) usual=1e-4,5e-4,2e-3 flag=(--trainer.optimizer.lr) ;;
    *) die "--compare $compare: there are units, rank, hours, layer, share, lr" ;;
esac
[[ -n ${option[exp]} ]] || die "--exp is missing: the experiment with a frozen head that judges each variant, such as demo"

exec 3>&1
words=() own=() pooled=() named=""
for value in $(tr ',' ' ' <<<"${values:-$usual}"); do
    printf '== %s: %s\n' "$compare" "$value"
    more=("${flag[@]}" "$value")
    if [[ $compare == rank ]]; then more+=(--adaptation.alpha "$((2 * value))"); fi
    said=$(bash "$(dirname "${BASH_SOURCE[0]}")/expand.sh" "${passed[@]}" --systems "$system" "${more[@]}" | tee >(cat >&3)) || exit $?
    folder() { sed -n "s/^judged by \(.*\)$/\1/p" <<<"$said" | tr ' ' '\n' | sed -n "s/^$1=//p"; }
    base=base # is the same for all variants, but for those whose units or layer are others
    if [[ $compare =~ ^(units|layer|hours)$ ]]; then base=base-$value; fi
    for one in "$base:base" "$compare-$value:$system"; do
        if [[ " ${named} " == *" ${one%%:*} "* ]]; then continue; fi
        named+=" ${one%%:*}"
        words+=("${one%%:*}=$(folder "head-${one##*:}")")
        if [[ -n $phones ]]; then
            own+=("${one%%:*}=$(folder "units-new-${one##*:}")") pooled+=("${one%%:*}=$(folder "units-pooled-${one##*:}")")
        fi
    done
done
printf '== %s: the table\n' "$compare"
if [[ -n $phones ]]; then words+=(--units "${own[@]}" --pooled-units "${pooled[@]}" --phones "$phones"); fi
run "$python" -m mlsuperb expansion "${words[@]}" --new "${option[new]}" --out "${option[out]}/reports/expansion-$compare.md"
