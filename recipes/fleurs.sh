#!/usr/bin/env bash
# FLEURS-102, the second benchmark of the mHuBERT-147 paper: a recogniser for each language, and one model that tells languages apart.
#   recipes/fleurs.sh --data-root DIR --upstream mhubert_147 --languages swa,wol,yor
#   recipes/fleurs.sh --data-root DIR --upstream mhubert_147 --task lid
# Stages: 1 check the data, 2 train, decode and score, 3 tables, 4 report.
# Own flags:
#   --task WHAT           asr, lid, or both (both)
#   --languages a,b       instead of all 102
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

data=fleurs
option=([task]=both)
parse "$@"
[[ ${option[task]} =~ ^(asr|lid|both)$ ]] || die "--task ${option[task]}: there are asr, lid, both"
if [[ $data == fleurs && -z $data_root ]]; then
    die "--data-root is missing: the folder of FLEURS (data/README.md), or --data synthetic"
fi
if [[ $data == synthetic ]]; then : "${languages:=deu,ell,hin,kat,spa,swa}"; fi
all=afr,amh,ara,asm,ast,aze,bel,ben,bos,bul,cat,ceb,ces,ckb,cmn,cym,dan,deu,ell,eng,est,fas,fil,fin,fra,ful,gle,glg,guj,hau,heb,hin
all+=,hrv,hun,hye,ibo,ind,isl,ita,jav,jpn,kam,kan,kat,kaz,kea,khm,kir,kor,lao,lav,lin,lit,ltz,lug,luo,mal,mar,mkd,mlt,mon,mri,msa
all+=,mya,nep,nld,nob,nso,nya,oci,ori,orm,pan,pol,por,pus,ron,rus,slk,slv,sna,snd,som,spa,srp,swa,swe,tam,tel,tgk,tha,tur,ukr,umb
all+=,urd,uzb,vie,wol,xho,yor,yue,zul
if [[ ${option[task]} != lid ]]; then
    language_words=("data.languages=$(lists "${languages:-$all}")")
    experiment +exp=fleurs/asr
fi
language_words=()
if [[ -n $languages ]]; then language_words=("data.languages=$(list "$languages")"); fi # for the check, too
if [[ ${option[task]} != asr ]]; then experiment +exp=fleurs/lid; fi

if stage 1; then check_data; fi
if stage 2; then train; fi
if stage 3; then table; fi
if stage 4; then report; fi
finish
