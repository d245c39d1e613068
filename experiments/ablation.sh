#!/usr/bin/env bash
# What each part of the recipe is worth, as one table: TEACHER=models/teacher TRAIN=train.json DEV=dev.json experiments/ablation.sh
# Stop it whenever you like and run it again: finished cells stay, the one that was interrupted goes on.
#   TEACHER        directory or hub id of a fine-tuned reader that shares no question with DEV
#   TRAIN, DEV     question files, several of them with spaces between; DEV is scored, and nothing is chosen on it
#   TEXT           raw text files or directories, for the general stage and more inputs; without it those are left out
#   SHAPE          the student, as TOML; its heads must be the teacher's (the paper's attention term compares them)
#   STEPS, BATCH   optimizer steps of every row, all stages together, and windows of a step; with a teacher of 6 x 256, a
#                  student of 4 x 96 and 16 windows of 150 tokens, a step that looks inside takes a second on one core
#   SEEDS, ROWS    "1 2 3"; "alone paper born terms scale stages inputs general vocabulary labels answers states own"
#   ENCODER        a small encoder of `destila pretrain`; with it there is a row for a student that begins as that one
#   ANSWERABLE     1: only questions that have an answer are learned and scored, and all must be answered
#   LENGTH, LIMIT  tokens of a window, and how many questions of TRAIN are read
#   LR             learning rate of every row
#   RELATION_HEADS divides the width of teacher and student
#   PARAGRAPHS, QUESTIONS    more inputs: other paragraphs of each question, and questions made of TEXT
#   EVALUATIONS    how often a cell is scored on its way, and CURVE: on every so manieth question; at the end on all
#   JOBS, OUT      processes at once, of one thread each; where everything goes
set -euo pipefail
cd "$(dirname "$0")/.."
export TEACHER=${TEACHER:?set it to a fine-tuned reader} TRAIN=${TRAIN:?set it to question files} DEV=${DEV:?set it to question files}
export OUT=${OUT:-runs/ablation} OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
JOBS=${JOBS:-1}
python=${PYTHON:-python}

# Each process takes every JOBS-th cell; if one fails, the others finish what they are at, and the script says so.
processes=()
for ((job = 0; job < JOBS; job++)); do
  $python experiments/ablation.py "$job" "$JOBS" &
  processes+=($!)
done
trap 'kill "${processes[@]}" 2>/dev/null || true' INT TERM
failed=0
for process in "${processes[@]}"; do wait "$process" || failed=1; done
[ "$failed" = 0 ] || { echo "a cell failed or was stopped; run the script again to go on" >&2; exit 1; }

$python experiments/ablation_table.py
