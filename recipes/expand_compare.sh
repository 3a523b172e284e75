#!/usr/bin/env bash
# Language expansion with one thing changed: units, rank, hours of the new language, layer, learning rate or share of old speech. One table
# of what each gains on the new language and forgets of the old ones.
#   recipes/expand_compare.sh --compare rank --base mhubert_tiny --new kat --old deu,spa --data synthetic --units 100 --layer 3 --exp demo
# Each variant is made by recipes/expand.sh, which has its own --help and takes all flags but these. Runs that are there already are kept.
# Own flags:
#   --compare WHAT        units: 256, 1000, 3000   rank: 8, 16, 24, 32, 64   hours: 10min, 1h   layer: 6, 9, 11   share: 0.05, 0.1, 0.2, 0.5
#                         lr: 1e-4, 5e-4, 2e-3
#   --values a,b          others than these
#   --system NAME         (one) of expand.sh that is trained; share: combined
set -euo pipefail

compare="" values="" system=one exp="" phones="" new="" out=exp dry_run=false
passed=()
die() {
    printf '%s: %s (--help lists the flags)\n' "${0##*/}" "$*" >&2
    exit 2
}
while (($#)); do
    case $1 in
        -h | --help) sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0" && exit 0 ;;
        --dry-run) dry_run=true && passed+=("$1") && shift && continue ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" && continue ;;
        --*) (($# > 1)) || die "$1 needs a value" ;;
        *) passed+=("$1") && shift && continue ;;
    esac
    case $1 in
        --compare) compare=$2 ;;
        --values) values=$2 ;;
        --system) system=$2 ;;
        --exp) exp=$2 && passed+=("$1" "$2") ;;
        --phones) phones=$2 && passed+=("$1" "$2") ;;
        --new) new=$2 && passed+=("$1" "$2") ;;
        --out) out=$2 && passed+=("$1" "$2") ;;
        *) passed+=("$1" "$2") ;;
    esac
    shift 2
done
case $compare in
    units) usual=256,1000,3000 flag=(--units) ;;
    rank) usual=8,16,24,32,64 flag=(--adaptation.rank) ;; # alpha stays twice the rank
    hours) usual=10min,1h flag=(--size) ;;
    layer) usual=6,9,11 flag=(--layer) ;;
    share) usual=0.05,0.1,0.2,0.5 flag=(--share) system=combined ;;
    lr) usual=1e-4,5e-4,2e-3 flag=(--trainer.optimizer.lr) ;;
    *) die "--compare $compare: there are units, rank, hours, layer, share, lr" ;;
esac
[[ -n $exp ]] || die "--exp is missing: the experiment with a frozen head that judges each variant, such as demo"

python=${PYTHON:-python}
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
call=("$python" -m mlsuperb expansion "${words[@]}" --new "$new" --out "$out/reports/expansion-$compare.md")
printf '+ %s\n' "${call[*]}"
if ! $dry_run; then "${call[@]}"; fi
