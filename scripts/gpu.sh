#!/usr/bin/env bash
# The bundled reader on a machine with one large GPU and no network. Two halves:
#
#   ENCODER=DIR TRAIN="es.json" OTHERS="en.json fr.json" DEV=dev.json scripts/gpu.sh pack     here: build/parcel, 64 MiB at most
#   scripts/gpu.sh run                                                                        there: the rest; run it again to go on
#
# The other machine needs Python with torch, transformers, accelerate, safetensors, tokenizers and pydantic, and this tree
# without models/. Weights are written before anything is scored; runs/reader holds all of it. SIZE=small tries every step on a CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
PARCEL=${PARCEL:-build/parcel} OUT=${OUT:-runs/reader}
export PYTHONPATH=src OUT SIZE=${SIZE:-gpu}
python=${PYTHON:-python3}
case ${1:-} in
  pack)
    read -ra train <<<"${TRAIN:-data/nativa/train.json data/nativa/train-2.json data/nativa/train-3.json}"
    read -ra others <<<"${OTHERS:-}"
    read -ra dev <<<"${DEV:-data/nativa/dev.json}"
    mkdir -p "$PARCEL"
    names() { for file in "$@"; do basename "$file"; done | xargs; }
    printf 'TRAIN="%s"\nOTHERS="%s"\nDEV="%s"\n' "$(names "${train[@]}")" "$(names "${others[@]}")" "$(names "${dev[@]}")" >"$PARCEL/files.sh"
    $python scripts/parcel.py pack --model "${ENCODER:?the encoder, trimmed: destila trim}" --data "${train[*]} ${others[*]} ${dev[*]}" "$PARCEL"
    ;;
  run)
    $python scripts/parcel.py unpack "$PARCEL" "$OUT"
    # shellcheck disable=SC1091
    . "$PARCEL/files.sh"
    within() { for file in $1; do echo "$OUT/data/$file"; done | xargs; }
    TRAIN=$(within "$TRAIN") OTHERS=$(within "$OTHERS") DEV=$(within "$DEV") ENCODER=$OUT/encoder DESTILA="$python -m destila" scripts/reader.sh
    ;;
  *)
    sed -n '2,9p' "$0"
    exit 2
    ;;
esac
