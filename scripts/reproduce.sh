#!/usr/bin/env bash
# The paper from download to table (arXiv 2312.04193): a machine with a GPU of 16 GB or more, a network, and some days.
# Every step can be stopped and continued: run the script again. Set OUT to put the runs elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-runs}

# Install what trains.
make install-train
destila=.venv/bin/destila

# Download SQuAD-es v1.1, and look at what the files hold before anything is learned from them.
$destila data fetch squad-es-v1.1
$destila data check squad-es-v1.1/train squad-es-v1.1/dev

# A step that has a run directory is continued; a new one is started.
train() {
  local verb=$1 output=$2
  shift 2
  if [ -e "$output/run.json" ]; then set -- "$@" --resume; fi
  $destila "$verb" "$@" --output "$output"
}

# The rows of the paper's table that are fine-tuned: multilingual BERT and BETO.
train finetune "$OUT/multilingual-bert" --config baselines/multilingual-bert
train finetune "$OUT/beto" --config baselines/beto

# The student without distillation: the same shape, data and budget.
train distill "$OUT/student-alone" --config paper --config baselines/student-alone

# The student of the paper.
train distill "$OUT/paper" --config paper

# The table: every model against the teacher, with intervals and paired tests, on the whole dev set.
$destila evaluate --data squad-es-v1.1/dev \
  --model stevemobs/roberta-large-fine-tuned-squad-es \
  --model "$OUT/paper" --model "$OUT/student-alone" --model "$OUT/beto" --model "$OUT/multilingual-bert" \
  --predictions "$OUT/predictions.json" --overwrite
