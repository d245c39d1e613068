#!/usr/bin/env bash
# From raw text to the reader: TEXT=my-texts scripts/reader_from_text.sh. Every step can be stopped and continued: run the script again.
#   TEXT    directory of text files: a paragraph a line, a blank line between documents (.txt, .txt.gz, .txt.xz)
#   SIZE    full (a large GPU, an hour), cpu (two cores, four to five hours: the way of the bundled model, without its
#           detours) or small (two cores, minutes: the same steps as full, and nothing worth having)
#   TRAIN, DEV    question files, several of them with spaces between; WEIGHTS of the text's sources as a TOML table
#   ASK     with SIZE=cpu, the text that the teacher is asked about; TEXT unless given
#   QUICK   with SIZE=cpu, the steps of each pre-training and no more than ten times as many questions: to try the way in minutes
#   SLICE   seconds after which a step ends with exit code 75, to be continued by another call; 0: never
set -euo pipefail
cd "$(dirname "$0")/.."
TEXT=${TEXT:?set it to a directory of text files}
SIZE=${SIZE:-full} SLICE=${SLICE:-0} WEIGHTS=${WEIGHTS:-"{}"} OUT=${OUT:-runs/reader}
TRAIN=${TRAIN:-data/nativa/train.json} DEV=${DEV:-data/nativa/dev.json}
destila=${DESTILA:-python -m destila}

# The small size: the same files with a shape, a budget and an arithmetic for two cores.
encoder=() teacher=() student=()
if [ "$SIZE" = small ]; then
  encoder=(--text.vocabulary_size 4000 --model.length 160 --model.shape.layers 4 --model.shape.heads 4
    --model.shape.hidden 128 --model.shape.feed_forward 512 --training.batch_size 16 --training.precision fp32
    --training.seconds 60 --training.evaluate_every 100 --training.checkpoint_every 100 --dev-rows 64)
  teacher=(--window.length 160 --window.stride 48 --training.epochs 1 --training.precision fp32
    --data.max_train_examples 200 --data.max_dev_examples 60)
  student=("${teacher[@]}" --student.shape.layers 2 --student.shape.heads 4 --student.shape.hidden 64
    --student.shape.feed_forward 256)
fi

# The size for a machine without a GPU: an encoder that begins small and grows, and becomes the student, not only the teacher.
cpu=
if [ "$SIZE" = cpu ]; then cpu=-cpu; fi
alone=() more=() gate=()
if [ "$SIZE" = cpu ] && [ -n "${QUICK:-}" ]; then
  encoder=(--training.steps "$QUICK" --dev-rows 32)
  alone=(--data.max_train_examples $((10 * QUICK)) --data.max_dev_examples $((10 * QUICK)))
  teacher=("${alone[@]}" --training.steps "$QUICK") more=(--unlabeled.questions $((10 * QUICK)))
  gate=(--max-loss 100) # a reader that has learned nothing scores by chance
fi

# A step that has a run directory is continued; a new one is started.
step() {
  local verb=$1 output=$2
  shift 2
  if [ -e "$output/run.json" ]; then set -- "$@" --resume; fi
  $destila "$verb" "$@" --output "$output" --stop-after-seconds "$SLICE"
}

questions=()
for file in $TRAIN; do questions+=(--data.train "$file"); done
dev=()
for file in $DEV; do dev+=(--data.dev "$file"); done

# Variations of the labeled questions, for a model that has read little soon knows them by heart; others for every step.
varied() {
  mkdir -p "$OUT"
  # shellcheck disable=SC2086 -- several files with spaces between
  if [ ! -e "$OUT/varied-$1.json" ]; then
    $destila data augment $TRAIN --output "$OUT/varied-$1.json" --variation.seed "$1" --variation.copies "$2"
  fi
}

# One step of pre-training on the text: its output, its configuration, and what differs.
pretrain() {
  step pretrain "$OUT/$1" --config "reader/raw-text/$2" --text.files "$TEXT" --text.store "$OUT/text" --text.weights "$WEIGHTS" \
    "${encoder[@]}" "${@:3}"
}

# Train a tokenizer and an encoder on the text: masked words, and questions whose answers are spans that recur.
pretrain encoder "pretrain$cpu"

if [ "$SIZE" = cpu ]; then
  # Without a GPU: then questions as people ask them, on longer rows; then the same at twice the width.
  pretrain encoder-asking pretrain-cpu-asking --model.name "$OUT/encoder"
  pretrain encoder-grown pretrain-cpu-asking --config reader/raw-text/pretrain-cpu-grown --model.name "$OUT/encoder-asking"

  # What it learns from labeled questions without a teacher, and the teacher: the same, grown, on other variations.
  varied 1 6 && varied 2 3 && varied 3 2
  step finetune "$OUT/student-alone" --config reader/raw-text/student-alone-cpu --model.name "$OUT/encoder-grown" \
    "${questions[@]}" --data.train "$OUT/varied-1.json" "${dev[@]}" "${alone[@]}"
  step finetune "$OUT/teacher" --config reader/raw-text/teacher-cpu --model.name "$OUT/student-alone" \
    "${questions[@]}" --data.train "$OUT/varied-2.json" "${dev[@]}" "${teacher[@]}"
  student=("${alone[@]}" "${more[@]}" --data.train "$OUT/varied-3.json" --student.name "$OUT/student-alone"
    --teacher.ensemble "$OUT/student-alone" --unlabeled.files "${ASK:-$TEXT}" --unlabeled.store "$OUT/text"
    --teacher.cache "$OUT/cache")
else
  # Teach the encoder to answer questions: the teacher.
  step finetune "$OUT/teacher" --config reader/raw-text/teacher --model.name "$OUT/encoder" "${questions[@]}" "${dev[@]}" "${teacher[@]}"
fi

# Distill the teacher into a student of a seventh of its parameters, or fewer: the reader.
step distill "$OUT/student" --config "reader/raw-text/reader$cpu" --teacher.name "$OUT/teacher" "${questions[@]}" "${dev[@]}" "${student[@]}"

scores=()
for file in $DEV; do scores+=(--data "$file"); done

# A small reader is fooled by questions that were written to look answerable: set "no answer" by other paragraphs instead.
if [ "$SIZE" = cpu ]; then
  $destila evaluate --model "$OUT/student" "${scores[@]}" --fit-threshold equal-errors --write
fi

# Score both on the questions kept apart, with intervals and a paired test.
$destila evaluate "${scores[@]}" --model "$OUT/teacher" --model "$OUT/student"

# Write the reader in eight bits, and refuse to if that costs more than half a point of F1.
$destila export --model "$OUT/student" --output "$OUT/reader" --precision int8 --overwrite "${scores[@]}" "${gate[@]}"

# Model cards, with scores of the questions kept apart and of the project's own test.
for model in teacher student reader; do
  $destila card "$OUT/$model" "${scores[@]}" --data data/nativa/test.json --overwrite
done

echo "To make this the bundled model:"
echo "python scripts/ship.py --teacher $OUT/teacher --student $OUT/student --export $OUT/reader"
