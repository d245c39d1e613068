"""A folder of documents becomes a file of questions: passages -> drafts -> filters -> SQuAD JSON.

Mental model: a maker (`destila.data.generation`) drafts questions about one passage after the other, several at once
where it waits for a server; each draft goes through the filters that need no other, and what passes is appended to
NAME.parts, a journal. When all passages are done, what needs all questions (duplicates, balance) is applied, and the
output appears whole. The same command goes on after a kill: the journal knows the passages that are done, and the cache
of replies those that were about to be.

Invariant: the output follows from the documents, the settings, the replies and the reader alone, in whatever order
replies came and however often the command was killed. Only a maker of questions sees the texts.
"""

import hashlib
import json
import logging
import os
from collections import Counter, deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from destila.config import DataGenerateSettings, FolderSettings, GenerationSettings, GeneratorSettings
from destila.config.loader import settings_of
from destila.core.caches import with_cache
from destila.core.errors import UserError
from destila.core.journal import Journal
from destila.core.outputs import check_file
from destila.core.progress import Listener, Progress, listening
from destila.core.records import Answer, Example
from destila.core.strict_json import dumps
from destila.data.generation.built_in import BuiltInMaker
from destila.data.generation.drafts import Drafts, Passage, QuestionMaker
from destila.data.generation.endpoint import Endpoint
from destila.data.generation.prompts import messages
from destila.data.sentences import passages
from destila.data.sources import cache_directory, spread
from destila.data.squad import UNUSABLE, check_target, save
from destila.data.tokenizers import encodable
from destila.inference.documents.folder import Folder, told_notes
from destila.inference.reader import Reader
from destila.training.question_filters import balanced, example_of, round_trip

LOG = logging.getLogger(__name__)
SHORTEST = 80  # characters of a passage that is asked about
SHOWN = 10  # files that cannot be read
FIRST_FAILURES, FAILURES = 5, 20  # in a row: before the first reply, and later; then the server is to blame
CHARACTERS_PER_TOKEN = 3.0  # of Spanish, for the estimate; tokenizers of large models take 3 to 4.5


class NoQuestionsError(UserError):
    """The filters left nothing, or nothing was made."""


@dataclass(frozen=True)
class Generated:
    """What `generate` made.

    Attributes:
        output: the file.
        questions, answerable: how many, and how many of them have an answer.
        passages, documents: that were asked about.
        drafts: questions that were made in all.
        left_out: how many of these each filter left out, by its name.
        faults: passages without a usable reply, by what was wrong.
        tokens_in, tokens_out: of the language model in this call and those before it that were cut short; what came
            from the cache not counted.
        price: of these tokens, in the currency of the settings; None where no price is given.
    """

    output: Path
    questions: int
    answerable: int
    passages: int
    documents: int
    drafts: int
    left_out: Mapping[str, int]
    faults: Mapping[str, int]
    tokens_in: int = 0
    tokens_out: int = 0
    price: float | None = None


def generate(
    folder: str | Path,
    output: str | Path,
    *,
    settings: DataGenerateSettings | Mapping[str, Any] | None = None,
    maker: QuestionMaker | None = None,
    progress: Listener | None = None,
    **changes: Any,
) -> Generated:
    """Make questions about the documents of a folder, and keep those that a reader answers as they were meant.

    >>> import destila
    >>> made = destila.generate("my-documents", "questions.json", max_passages=2)
    >>> made.questions > 0, made.output.name
    (True, 'questions.json')

    Args:
        settings: a `DataGenerateSettings`, or None for the defaults.
        maker: makes the questions instead of what `generator` says.
        progress: is told of all progress; None: nobody is.
        changes: settings that differ, such as generator={"url": ..., "model": ...}.

    Returns:
        What was made. The same call goes on after a kill.

    Raises:
        UserError: no document can be read, the server cannot be used, no question is left, or the output exists.
    """
    chosen = settings_of(DataGenerateSettings, settings, {**changes, "folder": str(folder), "output": str(output)})
    check_file("--output", chosen.output)
    check_target(Path(chosen.output), overwrite=chosen.overwrite)
    with listening(progress):
        return make_questions(
            chosen, Path(chosen.output), reader=chosen.reader, overwrite=chosen.overwrite, maker=maker
        )


def make_questions(
    settings: GenerationSettings,
    output: Path,
    *,
    reader: str | None,
    overwrite: bool = False,
    maker: QuestionMaker | None = None,
) -> Generated:
    """As `generate`; `reader` is the name of the one that must find the same answers."""
    found = passages_of(settings)
    home = Path(settings.cache).expanduser() if settings.cache else cache_directory()
    chosen = maker or with_cache(home / "replies", lambda place: _maker(settings, found, place))
    parts = output.with_name(f"{output.name}.parts")
    with closing(Journal.open(parts, _identity(settings, found, reader, maker), overwrite=overwrite)) as journal:
        if isinstance(chosen, Endpoint):
            _tell_cost(chosen, settings, found[int(journal.place.get("passages", 0)) :])
        source = f"generated: {settings.generator.model or type(chosen).__name__}"
        counts = _make(chosen, settings, found, journal, source=source, reader=reader)
    return _finish(settings, output, parts, counts, documents=len({passage.title for passage in found}))


def _maker(settings: GenerationSettings, found: Sequence[Passage], cache: Path) -> QuestionMaker:
    if settings.generator.url:
        return Endpoint(settings.generator, cache, count=settings.per_passage)
    if settings.generator.model:
        raise UserError("generator.url", "is empty, and generator.model is given", "Give both, or neither.")
    return BuiltInMaker(found, count=settings.per_passage, seed=settings.seed)


def _identity(
    settings: GenerationSettings, found: Sequence[Passage], reader: str | None, maker: QuestionMaker | None
) -> dict[str, Any]:
    """What must be the same to go on."""
    told = hashlib.sha256(dumps([[passage.title, passage.text] for passage in found], ascii=True).encode())
    asked = settings.generator
    by = type(maker).__name__ if maker else [asked.model, asked.temperature, asked.max_tokens]
    filters = asdict(settings.filters)
    return {"documents": told.hexdigest(), "generator": by, "reader": reader, "filters": filters} | {
        name: getattr(settings, name) for name in ("per_passage", "seed")
    }


# ---------------------------------------------------------------------------------------------------- reading
def passages_of(settings: GenerationSettings) -> list[Passage]:
    """The passages of a folder's documents, each text once, in the order of the files.

    Raises:
        UserError: the folder cannot be read, or holds too little text.
    """
    reading = FolderSettings(passage_characters=settings.passage_characters, cache=settings.cache)
    found = dict[str, Passage]()
    with closing(Folder.open(settings.folder, reading, settings.documents)) as folder:
        for error in folder.refused[:SHOWN]:
            LOG.warning(str(error))
        if len(folder.refused) > SHOWN:
            LOG.warning(f"{len(folder.refused):,} files in all cannot be read and are left out")
        for line in told_notes(folder.notes, SHOWN):
            LOG.warning(line)
        for path, text in folder.texts():
            title = encodable(os.path.relpath(path, settings.folder))
            for start, end in passages(text, settings.passage_characters):
                piece = text[start:end]
                if len(piece) >= SHORTEST and not UNUSABLE.search(piece):
                    found.setdefault(piece, Passage(title, piece))
    if not found:
        problem = f"holds no passage of {SHORTEST} characters or more"
        raise UserError(settings.folder, problem, "Give documents with more text.")
    return spread(list(found.values()), settings.max_passages)


def _tell_cost(endpoint: Endpoint, settings: GenerationSettings, found: Sequence[Passage]) -> None:
    """Say what is about to be asked, and what it may cost."""
    asked = [passage for passage in found if not endpoint.is_cached(passage)]
    letters = sum(len(part["content"]) for passage in asked for part in messages(passage, settings.per_passage))
    sent, most = round(letters / CHARACTERS_PER_TOKEN), len(asked) * settings.generator.max_tokens
    LOG.info(f"{len(asked):,} requests to make, and {len(found) - len(asked):,} replies in the cache")
    price = _price_of(settings.generator, sent, most)
    LOG.info(
        f"about {sent:,} tokens to send and at most {most:,} to receive"
        + (f", for at most about {price:.2f}" if price is not None else "")
    )


def _price_of(settings: GeneratorSettings, sent: int, received: int) -> float | None:
    """What tokens cost; None where no price is given."""
    if not (settings.price_in or settings.price_out):
        return None
    return (sent * settings.price_in + received * settings.price_out) / 1e6


# ---------------------------------------------------------------------------------------------------- making
def _make(
    maker: QuestionMaker,
    settings: GenerationSettings,
    found: Sequence[Passage],
    journal: Journal,
    *,
    source: str,
    reader: str | None,
) -> Counter[str]:
    """Append the questions of all passages that are not done yet. Returns the counts of all."""
    done, counts = int(journal.place.get("passages", 0)), Counter[str](journal.place.get("counts", {}))
    judge = Reader.load(reader) if settings.filters.agreement and done < len(found) else None
    threads = settings.generator.parallel if settings.generator.url else 1
    progress = Progress(len(found), what="Making questions", unit="passages", initial=done)
    in_a_row = 0
    made = _ahead(maker, found[done:], threads)
    try:
        for number, (passage, drafts) in enumerate(made, start=done + 1):
            in_a_row = in_a_row + 1 if drafts.fault else 0
            counts.update(_counted(drafts))
            if in_a_row >= (FAILURES if counts["replies"] else FIRST_FAILURES):
                problem = f"{in_a_row} passages in a row have no questions, the last for this: {drafts.fault}"
                remedy = "See to the server; the same command goes on from there, and asks nothing twice."
                raise UserError(settings.generator.url or "generator", problem, remedy)
            kept = _filtered(passage, drafts, settings, counts, source=source, judge=judge)
            progress.advance(1, questions=f"{counts['kept']:,}")
            if not in_a_row:  # those that failed in a row are tried again by the next call, if this one ends here
                journal.append(b"".join(map(_line, kept)), {"passages": number, "counts": dict(counts)})
    finally:
        made.close()
        progress.close()
        journal.record()
    return counts


def _ahead(
    maker: QuestionMaker, found: Sequence[Passage], threads: int
) -> Generator[tuple[Passage, Drafts], None, None]:
    """Each passage with its drafts, in order, while those of the next are being made."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="destila-questions")
    waiting = deque[tuple[Passage, Future[Drafts]]]()
    try:
        for passage in found:
            waiting.append((passage, pool.submit(maker.make, passage)))
            if len(waiting) > 2 * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        if isinstance(maker, Endpoint):
            maker.close()  # where this was cut short, nothing more is waited for
        pool.shutdown(cancel_futures=True)


def _counted(drafts: Drafts) -> dict[str, int]:
    """What counts of one passage, under names of our own."""
    if drafts.fault:
        return {f"fault {drafts.fault}": 1}
    paid = {} if drafts.cached else {"tokens in": drafts.tokens_in, "tokens out": drafts.tokens_out}
    return {"replies": 1, "drafts": len(drafts.drafts), **paid}


def _filtered(
    passage: Passage,
    drafts: Drafts,
    settings: GenerationSettings,
    counts: Counter[str],
    *,
    source: str,
    judge: Reader | None,
) -> list[Example]:
    """The questions of a passage that pass the filters which need no other passage; the others are counted."""
    kept = list[Example]()
    for draft in drafts.drafts:
        example, reason = example_of(passage, draft, source, settings.filters)
        if example is None:
            counts[f"out {reason}"] += 1
        elif all(example.id != other.id for other in kept):
            kept.append(example)
    if judge is not None and kept:
        reasons = round_trip(judge, kept, settings.filters.agreement)
        counts.update(f"out {reason}" for reason in reasons if reason)
        kept = [example for example, reason in zip(kept, reasons, strict=True) if not reason]
    counts["kept"] += len(kept)
    return kept


# ---------------------------------------------------------------------------------------------------- the end
def _line(example: Example) -> bytes:
    return (dumps(asdict(example)) + "\n").encode()


def _example(line: str) -> Example:
    value = json.loads(line)
    return Example(**{**value, "answers": tuple(Answer(**answer) for answer in value["answers"])})


def _finish(
    settings: GenerationSettings, output: Path, parts: Path, counts: Counter[str], *, documents: int
) -> Generated:
    """Apply what needs all questions, write the output, and remove the journal."""
    lines = parts.read_text(encoding="utf-8").split("\n")
    examples, more = balanced([_example(line) for line in lines if line], settings.filters)
    left_out = Counter(_named(counts, "out ")) + more
    faults = _named(counts, "fault ")
    if not examples:
        reasons = ", ".join(f"{number:,} {name}" for name, number in [*left_out.most_common(), *faults.items()])
        remedy = "Loosen the filters (--filters.overlap, --filters.agreement), or use a generator that asks better."
        raise NoQuestionsError(settings.folder, f"no question is left ({reasons or 'none was made'})", remedy)
    save(examples, output)
    parts.unlink()
    parts.with_name(f"{parts.name}.progress").unlink(missing_ok=True)
    return Generated(
        output=output,
        questions=len(examples),
        answerable=sum(bool(example.answers) for example in examples),
        passages=counts["replies"],
        documents=documents,
        drafts=counts["drafts"],
        left_out=dict(left_out.most_common()),
        faults=faults,
        tokens_in=counts["tokens in"],
        tokens_out=counts["tokens out"],
        price=_price_of(settings.generator, counts["tokens in"], counts["tokens out"]),
    )


def _named(counts: Counter[str], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in counts.items() if name.startswith(prefix)}
