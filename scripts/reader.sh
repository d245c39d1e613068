#!/usr/bin/env bash
# From a pre-trained encoder to the bundled reader. Every step can be stopped and continued: run the script again.
#
#   TRAIN="es.json" OTHERS="en.json fr.json" DEV=dev.json scripts/reader.sh
#
#   ENCODER  name or directory of the encoder; intfloat/multilingual-e5-small unless given
#   TRAIN    Spanish question files, several with spaces between; the project's own unless given
#   OTHERS   question files in other languages, which teach the reading of Spanish, too; none unless given
#   TEXT     Spanish text files or directories: with the questions they say which pieces the reader keeps
#   DEV      question files to score on
#   SIZE     cpu (two cores, hours), gpu (one large GPU) or small (two cores: the same steps on a few questions, and
#            nothing worth having)
#   SLICE    seconds after which a step ends with exit code 75, to be continued by another call; 0: never
set -euo pipefail
cd "$(dirname "$0")/.."
ENCODER=${ENCODER:-intfloat/multilingual-e5-small} OTHERS=${OTHERS:-} TEXT=${TEXT:-} SIZE=${SIZE:-cpu} SLICE=${SLICE:-0}
TRAIN=${TRAIN:-data/nativa/train.json data/nativa/train-2.json data/nativa/train-3.json}
DEV=${DEV:-data/nativa/dev.json} OUT=${OUT:-runs/reader}
destila=${DESTILA:-python -m destila}
# glibc hands large tensors back at every step, and a virtual machine pays for each page anew: up to half of a step.
export MALLOC_MMAP_THRESHOLD_=8589934592 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456

teacher=() student=() seeds=(1) keep=16000
case $SIZE in
  small)
    teacher=(--data.max_train_examples 64 --training.steps 4 --training.batch_size 8 --training.precision fp32)
    student=("${teacher[@]}") gate=(--max-loss 100) keep=4000 ;;
  gpu)
    # One pass of a large batch for each seed; the student learns from the average of all.
    teacher=(--training.batch_size 64 --training.learning_rate 3e-4) seeds=(1 2 3)
    student=(--training.batch_size 64 --training.learning_rate 6e-4 --training.epochs 6) ;;
esac
gate=("${gate[@]:-}")

# A step that has a run directory is continued; a new one is started.
step() {
  local verb=$1 output=$2
  shift 2
  if [ -e "$output/run.json" ]; then set -- "$@" --resume; fi
  $destila "$verb" "$@" --output "$output" --stop-after-seconds "$SLICE"
}

# A flag before each of several files.
each() {
  local flag=$1
  shift
  for file in "$@"; do printf '%s\n%s\n' "$flag" "$file"; done
}
mapfile -t train < <(each --data.train $TRAIN)
mapfile -t others < <(each --data.train $OTHERS)
mapfile -t texts < <(each --data $TRAIN $TEXT)
mapfile -t scores < <(each --data $DEV)
mkdir -p "$OUT"

# The pieces that the teaching languages use: a third of the multilingual model.
[ -e "$OUT/encoder/config.json" ] || $destila trim "$ENCODER" "${texts[@]}" $(each --data $OTHERS) --output "$OUT/encoder"

# The Spanish questions once more as people type them.
[ -e "$OUT/typed.json" ] || $destila data augment $TRAIN --config configs/reader/typed.toml --output "$OUT/typed.json"

# And with other names, words and orders, for the student.
[ -e "$OUT/varied.json" ] || $destila data augment $TRAIN --config configs/reader/varied.toml --output "$OUT/varied.json"

models=()
for seed in "${seeds[@]}"; do
  start=$OUT/encoder
  # First the reading of any language, then Spanish.
  if [ -n "$OTHERS" ]; then
    step finetune "$OUT/others-$seed" --config configs/reader/others.toml --model.name "$start" "${others[@]}" --training.seed "$seed" "${teacher[@]}"
    start=$OUT/others-$seed
  fi
  step finetune "$OUT/teacher-$seed" --config configs/reader/teacher.toml --model.name "$start" "${train[@]}" --data.train "$OUT/typed.json" \
    --training.seed "$seed" "${teacher[@]}"
  models+=("$OUT/teacher-$seed")
done

# The pieces that Spanish uses most, and the student: every second layer of the teacher.
[ -e "$OUT/pieces/config.json" ] || $destila trim "${models[0]}" "${texts[@]}" --keep "$keep" --output "$OUT/pieces"
mapfile -t more < <(each --teacher.ensemble "${models[@]:1}")
step distill "$OUT/answers" --config configs/reader/student.toml --teacher.name "${models[0]}" "${more[@]}" --teacher.cache "$OUT/cache" \
  --student.tokenizer "$OUT/pieces" "${train[@]}" --data.train "$OUT/typed.json" "${others[@]}" "${student[@]}"

# Then the teacher's states, too, from the first teacher with the student's pieces.
step distill "$OUT/student" --config configs/reader/inside.toml --teacher.name "$OUT/pieces" --student.name "$OUT/answers" "${train[@]}" \
  --data.train "$OUT/typed.json" --data.train "$OUT/varied.json" "${student[@]}"

# When to say "no answer": where it errs as often with an answer in the text as without one.
$destila evaluate --model "$OUT/student" "${scores[@]}" --fit-threshold equal-errors --write
$destila export --model "$OUT/student" --output "$OUT/reader" --precision int8 --overwrite "${scores[@]}" "${gate[@]}"
$destila evaluate "${scores[@]}" --model "${models[0]}" --model "$OUT/student" --model "$OUT/reader"
for model in "${models[0]}" "$OUT/student" "$OUT/reader"; do
  $destila card "$model" "${scores[@]}" --data data/nativa/test.json --overwrite
done

echo "To make this the bundled reader:"
echo "python scripts/ship.py --teacher ${models[0]} --student $OUT/student --export $OUT/reader"
