"""A teacher's answers in a student's tokens: same tokens change nothing, nothing is lost, and characters decide."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies
from numpy.typing import NDArray

from destila.cli.main import dispatch
from destila.core.errors import UserError
from destila.data.windows import Window, WindowBuilder, collate
from destila.models.files import forward
from destila.training.losses import to_tensors
from destila.training.teacher_cache import cached_logits
from destila.training.token_alignment import Translation, partners, stretch
from tiny import ARCHITECTURES, pad_token_id, tiny_examples, tiny_model, tiny_reader, tiny_tokenizer

ROOT = Path(__file__).parents[2]
PAIRS = [pair for pair in itertools.product(ARCHITECTURES, repeat=2) if pair[0] != pair[1]]


def builder(architecture: str, length: int = 128, stride: int = 8) -> WindowBuilder:
    pad_id = pad_token_id(architecture)
    return WindowBuilder(tiny_tokenizer(architecture), length=length, stride=stride, pad_id=pad_id)


def translation(student: str, teacher: str, *, ours: int = 60, theirs: int = 128) -> Translation:
    cutter, examples = builder(student, ours), tiny_examples()
    return Translation(cutter, builder(teacher, theirs), examples, cutter.build(examples))


def random_logits(windows: list[Window], *, seed: int = 0, scale: float = 3.0) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return [scale * random.standard_normal((2, len(window.input_ids))).astype(np.float32) for window in windows]


def softmax(rows: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(rows.astype(np.float64) - rows.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# ---------------------------------------------------------------------------------------------------- characters
@pytest.mark.parametrize(
    ("theirs", "ours", "starts", "ends"),
    [
        pytest.param([(0, 4), (5, 9)], [(0, 4), (5, 9)], [0, 1], [0, 1], id="same"),
        pytest.param([(0, 9)], [(0, 4), (4, 7), (7, 9)], [0], [2], id="one over three"),
        pytest.param([(0, 4), (4, 7), (7, 9)], [(0, 9)], [0, 0, 0], [0, 0, 0], id="three over one"),
        pytest.param([(0, 3), (3, 8)], [(0, 5), (5, 8)], [0, 0], [0, 1], id="borders differ"),
        pytest.param([(2, 6)], [(0, 4), (4, 9)], [0], [1], id="inside"),
        pytest.param([(4, 5), (5, 9)], [(0, 4), (5, 9)], [1, 1], [0, 1], id="characters that we have no token for"),
        pytest.param([(0, 1)] * 3, [(0, 1)] * 3, [0, 1, 2], [0, 1, 2], id="three bytes of a letter"),
        pytest.param([(0, 1)], [(0, 1)] * 3, [0], [2], id="a letter over its bytes"),
        pytest.param([(0, 1)] * 3, [(0, 1)], [0, 0, 0], [0, 0, 0], id="bytes under their letter"),
        pytest.param([(0, 4), (5, 5), (5, 9)], [(0, 4), (5, 9)], [0, 1, 1], [0, 0, 1], id="white space"),
        pytest.param([(0, 2), (8, 9)], [(3, 5), (5, 7)], [0, 1], [0, 1], id="beyond the edges"),
        pytest.param([(0, 2)], [], [-1], [-1], id="no tokens of ours"),
    ],
)
def test_partners_by_hand(
    theirs: list[tuple[int, int]], ours: list[tuple[int, int]], starts: list[int], ends: list[int]
) -> None:
    rows = [np.array(offsets, np.int32).reshape(-1, 2) for offsets in (theirs, ours)]
    assert [places.tolist() for places in partners(*rows)] == [starts, ends]


def cut(letters: int) -> strategies.SearchStrategy[list[tuple[int, int]]]:
    """Tokens that cover so many letters without gaps."""
    borders = strategies.sets(strategies.integers(1, letters - 1)).map(lambda inner: [0, *sorted(inner), letters])
    return borders.map(lambda places: list(itertools.pairwise(places)))


@given(cut(12), cut(12))
@settings(max_examples=200, deadline=None)
def test_partners_hold_the_first_and_the_last_character(
    theirs: list[tuple[int, int]], ours: list[tuple[int, int]]
) -> None:
    starts, ends = partners(np.array(theirs, np.int32), np.array(ours, np.int32))
    for (first, end), start_place, end_place in zip(theirs, starts, ends, strict=True):
        assert ours[start_place][0] <= first < ours[start_place][1]
        assert ours[end_place][0] < end <= ours[end_place][1]


def tokens_with_groups(drawn: list[tuple[int, int, int]]) -> NDArray[np.int32]:
    """Offsets of (gap, letters, times): tokens side by side, some on the same letters, some on white space alone."""
    offsets, place = [], 0
    for gap, letters, times in drawn:
        offsets += [(place + gap, place + gap + letters)] * times
        place += gap + letters
    return np.array(offsets, np.int32)


@given(
    strategies.lists(
        strategies.tuples(strategies.integers(0, 1), strategies.integers(0, 3), strategies.integers(1, 3)), min_size=1
    ),
    strategies.data(),
)
@settings(max_examples=200, deadline=None)
def test_a_stretch_of_the_same_tokens_is_the_same_tokens(
    drawn: list[tuple[int, int, int]], data: strategies.DataObject
) -> None:
    offsets = tokens_with_groups(drawn)
    first = data.draw(strategies.integers(0, len(offsets) - 1))
    count = data.draw(strategies.integers(1, len(offsets) - first))
    assert stretch(offsets, offsets, first, count) == (first, first + count)


@pytest.mark.parametrize(
    ("theirs", "first", "count", "expected"),
    [
        pytest.param([(0, 4), (5, 9), (10, 14)], 1, 1, (1, 2), id="one word"),
        pytest.param([(0, 9), (10, 14)], 1, 1, (0, 1), id="a longer token that reaches in"),
        pytest.param([(0, 2), (2, 4), (5, 7), (7, 9), (10, 14)], 1, 1, (2, 4), id="shorter tokens"),
        pytest.param([(0, 4), (5, 9), (10, 12), (12, 14), (15, 16)], 1, 2, (1, 5), id="to the end of the text"),
        pytest.param([(0, 4), (5, 9)], 0, 0, (0, 2), id="an empty window"),
    ],
)
def test_stretches_by_hand(theirs: list[tuple[int, int]], first: int, count: int, expected: tuple[int, int]) -> None:
    ours = np.array([(0, 4), (5, 9), (10, 14)], np.int32)
    assert stretch(np.array(theirs, np.int32), ours, first, count) == expected


# ---------------------------------------------------------------------------------------------------- windows
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("length", [47, 128])
def test_the_same_tokenizer_changes_nothing(architecture: str, length: int) -> None:
    both = translation(architecture, architecture, ours=length)
    assert len(both.windows) == len(both.student_windows)
    assert len(both.windows) > len(both.examples) or length == 128 or architecture == "bert"
    for number, (ours, theirs) in enumerate(zip(both.student_windows, both.windows, strict=True)):
        assert theirs.input_ids.tolist() == ours.input_ids.tolist()
        (logits,) = random_logits([theirs], seed=number)
        np.testing.assert_allclose(np.exp(both.carried(number, [logits])), softmax(logits), rtol=1e-5)


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
@pytest.mark.parametrize("theirs", [48, 128])
def test_no_probability_is_lost(student: str, teacher: str, theirs: int) -> None:
    both = translation(student, teacher, theirs=theirs)
    logits = random_logits(both.windows)
    for number, window in enumerate(both.student_windows):
        mass = np.exp(both.carried(number, [logits[place] for place in both.span(number)]))
        assert mass.shape == (2, len(window.input_ids))
        assert mass.sum(axis=1) == pytest.approx([1, 1], abs=1e-6)


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
def test_each_part_of_a_window_keeps_its_probability(student: str, teacher: str) -> None:
    both = translation(student, teacher)
    for number, ours in enumerate(both.student_windows):
        (place,) = both.span(number)
        theirs, (logits,) = both.windows[place], random_logits([both.windows[place]], seed=number)
        before, after = softmax(logits), np.exp(both.carried(number, [logits]))
        assert after[:, 0] == pytest.approx(before[:, 0], rel=1e-5)  # no answer
        inside, wanted = slice(ours.context_start, ours.context_end), slice(theirs.context_start, theirs.context_end)
        assert after[:, inside].sum(axis=1) == pytest.approx(before[:, wanted].sum(axis=1), rel=1e-5)


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
def test_a_teacher_that_is_sure_makes_a_target_on_the_same_words(student: str, teacher: str) -> None:
    both = translation(student, teacher, ours=128)
    for number, ours in enumerate(both.student_windows):
        example = both.examples[ours.example]
        (place,) = both.span(number)
        for answer in example.answers:
            (gold,) = both.teacher.build([example])
            spans = [
                (start, end)
                for start, end in zip(gold.starts, gold.ends, strict=True)
                if gold.offsets[start - gold.context_start, 0] == answer.start
                and gold.offsets[end - gold.context_start, 1] == answer.end
            ]
            if not spans:
                continue  # an answer that the teacher's tokens do not border on
            logits = np.full((2, len(both.windows[place].input_ids)), -30.0, np.float32)
            logits[0, spans[0][0]] = logits[1, spans[0][1]] = 30.0
            start, end = both.carried(number, [logits]).argmax(axis=1) - ours.context_start
            covered = example.context[ours.offsets[start, 0] : ours.offsets[end, 1]]
            assert str(answer.text) in covered
            assert len(covered) <= len(str(answer.text)) + 12


def test_a_stretch_that_needs_several_windows_is_put_together() -> None:
    both = translation("bert", "modernbert", ours=128, theirs=42)
    number = next(n for n in range(len(both.student_windows)) if len(both.span(n)) > 2)
    parts = [both.windows[place] for place in both.span(number)]
    ours = both.student_windows[number]
    seen = np.zeros(2000, bool)
    for part in parts:
        for first, end in part.offsets:
            seen[first:end] = True
    context = both.examples[ours.example].context
    assert all(seen[place] for place, letter in enumerate(context) if not letter.isspace())
    # All windows say "no answer", but for one that is sure.
    logits = [np.full((2, len(part.input_ids)), -20.0, np.float32) for part in parts]
    for part, row in zip(parts, logits, strict=True):
        row[:, 0] = 10.0 if part is not parts[-1] else 0.0
    token = len(parts[-1].offsets) - 1
    logits[-1][:, parts[-1].context_start + token] = 15.0
    start, end = both.carried(number, logits)
    first, last = parts[-1].offsets[token]
    place = int(start.argmax()) - ours.context_start
    assert ours.offsets[place][0] <= first < ours.offsets[place][1]
    assert ours.offsets[int(end.argmax()) - ours.context_start][1] >= last
    assert np.exp(start.max()) > 0.99
    assert np.exp(start[0]) == pytest.approx(np.exp(-15.0), rel=0.01)  # odds against it are those of the sure window


def test_a_token_in_two_windows_gets_the_mean_of_its_odds() -> None:
    both = translation("roberta", "bert", ours=128, theirs=40)
    number = next(n for n in range(len(both.student_windows)) if len(both.span(n)) == 2)
    parts = [both.windows[place] for place in both.span(number)]
    shared = parts[1].first_token  # the first token of the second window stands in the first one, too
    assert shared < len(parts[0].offsets)
    logits = [np.full((2, len(part.input_ids)), -np.inf, np.float32) for part in parts]
    for row in logits:
        row[:, 0] = 0.0
    logits[0][:, parts[0].context_start + shared] = np.log(3.0)
    logits[1][:, parts[1].context_start] = np.log(5.0)
    start, _ = both.carried(number, logits)
    assert np.exp(start.max()) == pytest.approx(4 / 5)
    assert np.exp(start[0]) == pytest.approx(1 / 5)


def test_a_question_too_long_for_the_teacher_is_named() -> None:
    with pytest.raises(UserError, match="the question of 'fundador' has"):
        translation("roberta", "bert", ours=128, theirs=20)


# ---------------------------------------------------------------------------------------------------- the cache
def test_the_cache_gives_the_same_by_either_way(tmp_path: Path) -> None:
    teacher, cutter, examples = tiny_model("roberta", seed=3), builder("roberta", 44), tiny_examples()
    teacher.set_attn_implementation("destila")
    windows = cutter.build(examples)
    both = Translation(cutter, cutter, examples, windows)
    batch = to_tensors(collate(windows[:5], pad_id=pad_token_id()))
    usual, carried = (
        cached_logits([teacher], windows, directory=tmp_path, translations=ways).add_to(batch, windows[:5])
        for ways in (None, [both])
    )
    for name in ("teacher_start", "teacher_end"):
        ours, theirs = (getattr(each, name).masked_fill(batch.attention_mask == 0, -1e9) for each in (usual, carried))
        assert torch.allclose(ours.softmax(-1), theirs.softmax(-1), atol=1e-6)


def test_what_is_stored_depends_on_both_tokenizers(tmp_path: Path) -> None:
    teacher, examples = tiny_model("bert", seed=3), tiny_examples()
    teacher.set_attn_implementation("destila")
    cutter = builder("roberta", 60)
    windows = cutter.build(examples)

    def files(student: WindowBuilder) -> set[str]:
        way = Translation(student, builder("bert"), examples, windows)
        cached_logits([teacher], windows, directory=tmp_path, translations=[way])
        return {path.name for path in tmp_path.glob("carried-*")}

    first = files(cutter)
    assert len(first) == 1
    run, teacher.forward = teacher.forward, None
    assert files(cutter) == first  # nothing is asked twice
    teacher.forward = run
    other = builder("roberta", 60)
    other.tokenizer.add_special_tokens(["<otro>"])
    assert len(files(other)) == 2


def test_carried_answers_are_what_the_teacher_says(tmp_path: Path) -> None:
    """Against the teacher asked about one window by hand."""
    teacher, examples = tiny_model("bert", seed=3), tiny_examples()
    teacher.set_attn_implementation("destila")
    cutter = builder("roberta", 128)
    windows = cutter.build(examples)
    way = Translation(cutter, builder("bert"), examples, windows)
    cache = cached_logits([teacher], windows, directory=tmp_path, translations=[way])
    for number, window in enumerate(windows):
        (theirs,) = builder("bert").build([examples[window.example]])
        ids = torch.from_numpy(theirs.input_ids.astype(np.int64))[None]
        with torch.no_grad():
            said = forward(teacher, ids, torch.ones_like(ids)).start_logits[0].double().softmax(-1)
        got = cache.add_to(to_tensors(collate([window], pad_id=pad_token_id())), [window]).teacher_start
        assert got is not None
        for place, (first, end) in enumerate(window.offsets.tolist()):
            inside = [
                float(said[theirs.context_start + token])
                for token, (start, stop) in enumerate(theirs.offsets.tolist())
                if first <= start < end and start < stop
            ]
            if len(set(map(tuple, window.offsets.tolist()))) == len(window.offsets):  # no bytes of one letter
                mass = float(got[0, window.context_start + place].double().exp())
                assert mass == pytest.approx(sum(inside), abs=1e-5), (number, place)


# ---------------------------------------------------------------------------------------------------- end to end
def test_a_student_of_a_teacher_with_another_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    teacher, own = tiny_reader(tmp_path / "teacher", "bert"), tmp_path / "own"
    own.mkdir()
    tiny_tokenizer("roberta").save(str(own / "tokenizer.json"))
    output = tmp_path / "student"

    def distill(*flags: str, name: str = str(teacher)) -> None:
        places = ["--teacher.name", name, "--teacher.cache", str(tmp_path / "cache"), "--output", str(output)]
        shared = ["--config", "configs/tiny/distill.toml", "--student.tokenizer", str(own), *places]
        dispatch(["distill", *shared, *flags])

    with pytest.raises(UserError, match=r"teacher.*bert|has another tokenizer.*only its answers can be compared"):
        distill()
    answers = ["--loss.hidden", "0", "--loss.attention", "0"]
    with pytest.raises(UserError, match="reads other tokens than the teacher"):
        distill(*answers, "--student.initial", "teacher")
    assert not output.exists()
    distill(*answers)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert {"task", "soft"} <= set(lines[0])
    assert all(np.isfinite(line["loss"]) for line in lines if "loss" in line)
    assert (output / "tokenizer.json").read_text() == (own / "tokenizer.json").read_text()
    # Teachers of both tokenizers, averaged; and a later stage goes on with the student, whose tokens are not the
    # teacher's either.
    second = tiny_reader(tmp_path / "second", "roberta", seed=5)
    more = ["--teacher.ensemble", str(second), "--overwrite", "--training.steps", "2"]
    distill(*answers, *more)
    assert len(list((tmp_path / "cache").glob("carried-*"))) == 1
    assert len(list((tmp_path / "cache").glob("logits-*"))) == 2
    os.rename(output, tmp_path / "first")
    distill(*answers, "--student.name", str(tmp_path / "first"), "--training.steps", "2")
    assert len(list((tmp_path / "cache").glob("carried-*"))) == 1
