"""The one training loop: `finetune`, `distill` and whatever comes differ in their rows and their loss function only.

Mental model: step n is a pure function of (weights, optimizer, seed, n). The rows come from `batches.at(n)`, dropout
is seeded with (seed, n, process), the learning rate is computed from n. So a checkpoint is weights, optimizer and a few
numbers, and a run that was killed and resumed ends with the weights of one that never stopped, bit for bit on a CPU.

Invariant: the gradient of a step is that of the mean over its rows, however they are cut into micro-batches and
processes: each part's loss (a mean over its own rows) is weighted by its share of the rows, once.

The loop knows nothing of questions: rows, collation, loss, evaluation and saving are handed in.
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor, nn

from destila.config import TrainingSettings
from destila.core.errors import NotFiniteError, UserError
from destila.core.progress import Progress
from destila.core.runs import Run
from destila.core.signals import caught_signals
from destila.training.checkpoints import Checkpoints, publish_model
from destila.training.memory import keep_freed_memory
from destila.training.optimizer import learning_rate_factor, optimizer_for
from destila.training.processes import accelerator_of, device_of
from destila.training.task import Objective, Position, Row, Task, TrainingResult
from destila.training.throughput import Meter, compiling_pays, device_name
from destila.training.trackers import Boards

LOG = logging.getLogger(__name__)
OUT_OF_TIME = 1000  # stands among the signals for the end of a time slice; no signal has this number


def train(
    task: Task[Row],
    *,
    settings: TrainingSettings,
    run: Run,
    stop_after_seconds: float = 0.0,
    trackers: Sequence[str] = (),
) -> TrainingResult:
    """Train, evaluate, checkpoint; resume if the run has a checkpoint.

    On SIGINT or SIGTERM, or when this call has taken `stop_after_seconds`, the step in hand is finished and saved, and
    the result says so. When training ends, the best model (or the last, without evaluation or with `keep_best` off)
    lies in the run directory itself.

    Raises:
        UserError: the loss or the gradient is not finite; the precision does not work here; a checkpoint is damaged.
    """
    deadline = time.monotonic() + (stop_after_seconds or math.inf)
    if device_of(settings).type == "cpu":
        keep_freed_memory()
    loop = Loop(task, settings=settings, run=run, deadline=deadline, trackers=trackers)
    loop.restore()
    total = None if settings.seconds else loop.steps
    progress = Progress(total, what="training", unit="step", initial=loop.position.step, show=loop.main)
    with closing(loop), closing(progress), caught_signals() as received:
        while not loop.done:
            loss, stop = loop.advance(received)
            progress.advance(1, loss=f"{loss:.4f}", **loop.meter.shown())
            loop.evaluate_if_due()
            if stop or loop.is_due(settings.checkpoint_every):
                loop.checkpoint()
            if stop and not loop.done:
                return loop.interrupted(None if stop == OUT_OF_TIME else stop)
        return loop.finish()


class Loop(Generic[Row]):
    """The state of one `train` call."""

    def __init__(
        self,
        task: Task[Row],
        *,
        settings: TrainingSettings,
        run: Run,
        deadline: float = math.inf,
        trackers: Sequence[str] = (),
    ) -> None:
        self.task, self.settings, self.run, self.deadline = task, settings, run, deadline
        self.accelerator = accelerator_of(settings)
        self.main = bool(self.accelerator.is_main_process)
        self.meter = Meter(task, self.accelerator.device, precision=settings.precision)
        task.student.train()
        objective = Objective(task.student, task.loss_fn)
        # Every process must start from the same projections and heads; DDP broadcasts the main process's.
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer_for(objective, settings))
        compiled, reason = compiling_pays(settings.compile, self.accelerator.device, task.tokens_per_row)
        if self.main and reason:
            LOG.info(reason)
        # The state stays that of the plain module: a run may be resumed with or without compiling.
        self.forward = torch.compile(self.objective) if compiled else self.objective
        self.epoch_steps = task.batches.steps_per_epoch
        self.steps = settings.steps or max(1, round(settings.epochs * self.epoch_steps))
        self.checkpoints = Checkpoints(run.checkpoints)
        self.position = Position()
        self.scores: Mapping[str, Any] = {}
        self.boards = Boards(run.path, trackers if self.main else ())

    @property
    def done(self) -> bool:
        """Whether the budget, in seconds or in steps, is spent."""
        if self.settings.seconds:
            return self.position.seconds >= self.settings.seconds
        return self.position.step >= self.steps

    def rate(self) -> float:
        """The learning rate of the next step."""
        budget, spent = float(self.steps), float(self.position.step)
        if self.settings.seconds:
            # Time as a thousand steps: the last ones are not zero, and an early one is not either.
            budget, spent = 1000.0, min(999.0, 1000 * self.position.seconds / self.settings.seconds)
        return self.settings.learning_rate * learning_rate_factor(spent, steps=budget, warmup=self.settings.warmup)

    # ------------------------------------------------------------------------------------------------ one step
    def advance(self, received: Sequence[int]) -> tuple[float, int]:
        """One optimizer step. Returns the loss over all rows, and the signal that any process got, OUT_OF_TIME or 0."""
        step, accelerator = self.position.step, self.accelerator
        # Dropout depends on (seed, step, process) alone, so no generator state needs saving.
        torch.manual_seed((self.settings.seed * 1_000_003 + step) * 4099 + accelerator.process_index)
        with self.meter.waiting():
            rows = self.task.batches.at(step)
        parts = self._backward(rows)
        number = max(received, default=OUT_OF_TIME if time.monotonic() > self.deadline else 0)
        signals = torch.tensor([number], device=accelerator.device)
        if accelerator.num_processes > 1:  # all must see the same loss, and stop at the same step
            parts = {name: accelerator.reduce(value, "sum") for name, value in parts.items()}
            signals = accelerator.gather(signals).max()
        losses = {name: float(value) for name, value in parts.items()}
        self._require_finite("loss", losses["loss"], losses)
        rate = self.rate()
        norm = self._update(rate, losses)
        self.position.step += 1
        self._count_seconds(self.meter.step(rows=len(rows)))
        if self.position.step % self.settings.log_every == 0 or self.position.step == 1 or self.done:
            self.log({**losses, "learning_rate": rate, "gradient_norm": norm, **self.meter.numbers()})
        return losses["loss"], int(signals)

    def _count_seconds(self, seconds: float) -> None:
        if not self.settings.seconds:
            return  # a budget in steps knows no clock: its checkpoints are the same on every machine
        if self.accelerator.num_processes > 1:  # the slowest clock counts, for all
            clocks = self.accelerator.gather(torch.tensor([seconds], device=self.accelerator.device))
            seconds = float(clocks.max())
        self.position.seconds += seconds

    def _backward(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Accumulate the gradient of the mean over `rows`. Returns this process's share of the loss and its parts."""
        accelerator = self.accelerator
        share = rows[accelerator.process_index :: accelerator.num_processes]
        weight_of_row = 1 / len(rows) if share else 0.0
        share = share or rows[:1]  # a process without rows still takes part in the exchange of gradients
        size = self.settings.micro_batch_size or len(share)
        pieces = [share[start : start + size] for start in range(0, len(share), size)]
        sums: dict[str, Tensor] = {}
        for number, piece in enumerate(pieces, start=1):
            last = number == len(pieces)
            exchange: AbstractContextManager[None] = nullcontext() if last else accelerator.no_sync(self.objective)
            with exchange:
                total, parts = self.forward(self.task.collate(piece, accelerator.device))
                weight = len(piece) * weight_of_row
                # Data parallelism averages over processes; the shares already sum to one.
                accelerator.backward(total * (weight * accelerator.num_processes))
            for name, value in {"loss": total, **parts}.items():
                sums[name] = sums.get(name, torch.zeros((), device=accelerator.device)) + value.detach() * weight
        return sums

    def _update(self, rate: float, losses: Mapping[str, float]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        limit = self.settings.clip or math.inf
        norm = float(self.accelerator.clip_grad_norm_(self.objective.parameters(), limit))
        if self.settings.precision != "fp16":  # there an overflow is normal: the scaler skips the step
            self._require_finite("gradient", norm, losses)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _require_finite(self, what: str, value: float, losses: Mapping[str, float]) -> None:
        if not math.isfinite(value):
            terms = ", ".join(f"{name} {number:.4g}" for name, number in losses.items())
            raise self._diverged(f"the {what} is {value} at step {self.position.step + 1} ({terms})")

    def _diverged(self, problem: str) -> UserError:
        """Record that training came to nothing. Returns the error that says how."""
        if self.main:
            self.run.update(status="diverged")
        checkpoint = self.checkpoints.last_state()
        return UserError(
            str(self.run.path),
            problem,
            f"The last good checkpoint is {checkpoint or 'none: no step had been saved'}. "
            "Lower training.learning_rate, or train with another seed or precision.",
        )

    # ------------------------------------------------------------------------------------------------ judging, logging
    def is_due(self, every: int) -> bool:
        """Whether something done `every` steps (0: every epoch) is due after this step; the last step is always due."""
        return self.position.step % (every or self.epoch_steps) == 0 or self.done

    def evaluate_if_due(self) -> None:
        """Score the student on dev and keep it if it is the best so far."""
        if self.task.evaluate is None or not self.is_due(self.settings.evaluate_every):
            return
        if self.main:
            student, name, position = self.student, self.task.criterion, self.position
            try:
                self.scores = self.task.evaluate(student)
            except NotFiniteError as error:
                problem = f"the reader's scores on dev are not finite numbers at step {position.step}"
                raise self._diverged(problem) from error
            student.train()
            self.log({f"dev_{part}": value for part, value in self.scores.items()})
            score = float(self.scores[name])
            if not math.isfinite(score):
                raise self._diverged(f"the {name} on dev is {score} at step {position.step}")
            LOG.info(f"step {position.step}: dev {name.upper()} {score:.2f}")
            if position.best_score is None or score > position.best_score:
                position.best_score, position.best_step = score, position.step
                if self.settings.keep_best:
                    self._save_model("best")
        self.accelerator.wait_for_everyone()

    @property
    def student(self) -> nn.Module:
        """The bare student."""
        objective: Objective = self.accelerator.unwrap_model(self.objective)
        return objective.student

    def log(self, values: Mapping[str, Any]) -> None:
        """Write numbers of this step to metrics.jsonl, TensorBoard and the trackers."""
        if not self.main:
            return
        step = self.position.step
        self.run.log({"step": step, "epoch": round(step / self.epoch_steps, 4), **values})
        self.boards.log(values, step=step)

    # ------------------------------------------------------------------------------------------------ saving, resuming
    def checkpoint(self) -> None:
        """Save all state."""
        self.accelerator.wait_for_everyone()
        if not self.main:
            return
        state = {
            "objective": self.accelerator.unwrap_model(self.objective).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "position": asdict(self.position),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
        }
        self.checkpoints.save_state(self.position.step, state)

    def restore(self) -> None:
        """Go to the last whole checkpoint, if there is one."""
        state = self.checkpoints.load_state()
        if state is not None:
            self.accelerator.unwrap_model(self.objective).load_state_dict(state["objective"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"] and self.accelerator.scaler:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.position = Position(**state["position"])
        self.accelerator.wait_for_everyone()
        if self.main:
            if self.run.finished:
                self._lengthen()
            self.run.forget_after(self.position.step)
            self.checkpoints.forget_after(self.position.best_step)
            self.run.update(status="running", device=device_name(self.accelerator.device))

    def _lengthen(self) -> None:
        """Say what becomes of a run that had finished; if it is to go on, keep its new settings.

        Raises:
            UserError: its checkpoints are gone.
        """
        if not self.position.step:
            problem = "has finished, and its checkpoints are gone: there is nothing to go on from"
            raise UserError(str(self.run.path), problem, "Train again with --overwrite, or into another --output.")
        if self.done:
            LOG.info(f"{self.run.path} has finished after {self.position.step:,} steps: nothing is left to do.")
            return
        total = f"{self.settings.seconds:g} seconds" if self.settings.seconds else f"{self.steps:,} steps"
        LOG.info(
            f"{self.run.path} had finished after {self.position.step:,} steps and goes on to {total}. Its learning "
            f"rate is that of a run of this length: it had fallen to zero, and goes on at {self.rate():.3g}."
        )
        self.run.record.pop("recipe", None)  # the whole knows nothing of the new length
        self.run.keep_settings()

    def interrupted(self, number: int | None) -> TrainingResult:
        """Record that a signal, or the end of a time slice, ended training before its time."""
        if self.main:
            self.run.update(status="interrupted")
        return self._result(signal=number, finished=False)

    def finish(self) -> TrainingResult:
        """Put the chosen model into the run directory."""
        position = self.position
        if self.main:
            if position.best_step and self.settings.keep_best:
                chosen = self.checkpoints.model_path("best", position.best_step)
            else:
                chosen = self._save_model("final")
            publish_model(chosen, self.run.path)
            best = {"best_step": position.best_step, f"best_{self.task.criterion}": position.best_score}
            self.run.update(status="finished", steps=position.step, **best)
        self.accelerator.wait_for_everyone()
        return self._result()

    def _result(self, *, signal: int | None = None, finished: bool = True) -> TrainingResult:
        position = self.position
        return TrainingResult(
            self.run.path, position.step, position.best_step, position.best_score, signal=signal, finished=finished
        )

    def _save_model(self, kind: str) -> Path:
        step = self.position.step
        return self.checkpoints.save_model(kind, step, lambda path: self.task.save(self.student, path, self.scores))

    def close(self) -> None:
        """Release what is open."""
        self.boards.close()
