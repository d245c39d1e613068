"""The sections about how good the models are: the table, differences, parts of the data, calibration, no answer."""

from collections.abc import Sequence

from destila.core.formatting import NOTHING, beside, count, p_value, percent, ratio, share, size, with_interval
from destila.core.records import Missing, Report
from destila.evaluation.breakdowns import Group
from destila.evaluation.calibration import NoAnswerCurve, RiskCurve
from destila.reporting import svg
from destila.reporting.document import Block, Paragraph, Picture, Pictures, Section, Table
from destila.reporting.facts import Facts, ModelFacts

GROUP_TITLES = {
    "question_word": "Question word",
    "answer_words": "Words of the first right answer",
    "context_words": "Words of the context",
    "source": "Source of the article",
    "variety": "Variety of Spanish",
}
FEW = 30  # questions of a group whose score says little


def scores(facts: Facts) -> Section:
    """The paper's table: scores, sizes and times, and their ratios to the reference."""
    blocks: list[Block] = [
        Paragraph(
            f"{count(facts.questions['scored'])} questions about {count(facts.questions['articles'])} articles; F1 and "
            f"exact match (EM) in percent with 95 % intervals from {facts.resamples:,} bootstrap resamples of whole "
            f"articles, seed {facts.seed}. "
            + (f"Ratios are to {facts.reference}." if facts.reference else "There is no model to compare with.")
        ),
        _main_table(facts),
        _rules_table(facts),
    ]
    if any(model.speed for model in facts.models):
        blocks.insert(2, _speed_table(facts))
    if any(report.details["resampled"] == "questions" for model in facts.models for report in model.reports):
        blocks.append(
            Paragraph("All questions belong to one article: the intervals resample questions and may be too narrow.")
        )
    return Section("scores", "Scores and size", tuple(blocks))


def _main_table(facts: Facts) -> Table:
    first = facts.model(facts.reference) if facts.reference else None
    rows = []
    for model in facts.models:
        report = model.reports[0]
        kept = report.f1 / first.reports[0].f1 if first and first.reports[0].f1 else None
        rows.append(
            (
                model.label,
                f"{model.backend} {model.precision}",
                with_interval(report.f1, report.f1_ci),
                with_interval(report.em, report.em_ci),
                share(kept),
                beside(count(model.parameters), ratio(model.parameters, first.parameters if first else None)),
                beside(size(model.bytes), ratio(model.bytes, first.bytes if first else None)),
            )
        )
    note = f'"F1 kept" is F1 over that of {first.label}; in brackets, how many times smaller it is.' if first else ""
    head = ("Model", "Run by", "F1 [95 %]", "EM [95 %]", "F1 kept", "Parameters", "On disk")
    caption = f"Scores by the {facts.normalizer} rules, and size"
    return Table(caption, head, tuple(rows), frozenset({0, 1}), note)


def _rules_table(facts: Facts) -> Table:
    rows = []
    for model in facts.models:
        for report in model.reports:
            has, none = report.details["has_answer"], report.details["no_answer"]
            parts = (percent(has["f1"]), percent(has["em"]), percent(none["f1"]))
            rows.append(
                (
                    model.label,
                    report.normalizer,
                    with_interval(report.f1, report.f1_ci),
                    with_interval(report.em, report.em_ci),
                    *parts,
                )
            )
    return Table(
        "By both rules, and apart: questions with an answer, and without",
        ("Model", "Rules", "F1 [95 %]", "EM [95 %]", "F1, with answer", "EM, with answer", "F1, without"),
        tuple(rows),
        frozenset({0, 1}),
        "squad: the official SQuAD script, English articles and punctuation; mlqa-es: that of MLQA for Spanish. "
        f"{facts.questions['with an answer']:,} questions have an answer, "
        f"{facts.questions['without an answer']:,} have none.",
    )


def _speed_table(facts: Facts) -> Table:
    first = {one.tokens: one for one in facts.model(facts.reference).speed} if facts.reference else {}
    rows = tuple(
        (
            model.label,
            count(one.tokens),
            f"{one.p50_ms:.1f}",
            f"{one.p95_ms:.1f}",
            ratio(one.p50_ms, first[one.tokens].p50_ms) if one.tokens in first else NOTHING,
            f"{one.queries_per_s:.1f}",
        )
        for model in facts.models
        for one in model.speed
    )
    machine = f"{facts.bench.get('processor', 'unknown processor')}, {facts.bench.get('threads', '?')} threads"
    return Table(
        "Speed, from text to answer",
        ("Model", "Tokens", "Median ms", "95 % within ms", "faster by", "Questions/s"),
        rows,
        note=f"Measured by destila bench on {machine}; the models took turns.",
    )


def differences(facts: Facts) -> Section:
    """Every other model against the reference, question by question."""
    if not facts.comparisons:
        return Section("differences", "Differences", (Paragraph("One model alone: there is nothing to compare."),))
    rows = tuple(
        (
            item["second"],
            item["normalizer"],
            with_interval(item["f1"]["difference"], item["f1"]["ci"], sign="+"),
            p_value(item["f1"]["p"]),
            with_interval(item["em"]["difference"], item["em"]["ci"], sign="+"),
            p_value(item["em"]["p"]),
            share(item["agreement"]["identical"]),
            share(item["retention"]),
        )
        for item in facts.comparisons
    )
    table = Table(
        f"Paired differences to {facts.reference}, in points",
        ("Model", "Rules", "F1 [95 %]", "p", "EM [95 %]", "p", "Same answer", "F1 kept"),
        rows,
        frozenset({0, 1}),
        "p: two-sided approximate randomization test of whole articles; small means that chance alone rarely "
        "gives such a difference.",
    )
    return Section("differences", "Differences to the reference", (table,))


# ---------------------------------------------------------------------------------------------------- parts
def parts(facts: Facts) -> Section:
    """F1 by kind of question."""
    blocks: list[Block] = [
        Paragraph(
            f"By the {facts.normalizer} rules, with 95 % intervals. Groups of fewer than {FEW} questions, or of "
            "a few articles, say little, and their intervals may be too narrow."
        )
    ]
    kinds = list(dict.fromkeys(group.kind for group in facts.models[0].groups))
    columns = {
        kind: [[group for group in model.groups if group.kind == kind] for model in facts.models] for kind in kinds
    }
    compared = [kind for kind in kinds if len(columns[kind][0]) > 1]  # one group has no best and no worst
    if compared:
        blocks.append(Pictures(tuple(_parts_picture(facts, kind, columns[kind]) for kind in compared)))
    blocks += [_parts_table(facts, kind, columns[kind]) for kind in kinds]
    absent = [_lower(title) for kind, title in GROUP_TITLES.items() if kind not in kinds]
    if absent:
        blocks.append(Paragraph(f"The data name no {' and no '.join(absent)}."))
    return Section("parts", "Good and bad at what", tuple(blocks))


def _lower(title: str) -> str:
    return title[0].lower() + title[1:]


def _parts_picture(facts: Facts, kind: str, columns: Sequence[Sequence[Group]]) -> Picture:
    rows = [
        (groups[0].name or "(not given)", [(group.f1, *group.f1_ci) for group in groups])
        for groups in zip(*columns, strict=True)
    ]
    subject = [model.label for model in facts.models].index(facts.subject)
    best, worst = (choose(rows, key=lambda row: row[1][subject][0]) for choose in (max, min))
    description = (
        f"F1 with its 95 % interval, for each of {len(rows)}. {facts.subject} is best at {best[0]} with "
        f"{best[1][subject][0]:.1f} and worst at {worst[0]} with {worst[1][subject][0]:.1f}."
    )
    labels = [model.label for model in facts.models]
    return svg.intervals(rows, labels, title=f"F1 by {_lower(GROUP_TITLES[kind])}", description=description)


def _parts_table(facts: Facts, kind: str, columns: Sequence[Sequence[Group]]) -> Table:
    rows = tuple(
        (
            groups[0].name or "(not given)",
            count(groups[0].n),
            count(groups[0].articles),
            *(cell for one in groups for cell in (with_interval(one.f1, one.f1_ci) + _star(one), percent(one.em))),
        )
        for groups in zip(*columns, strict=True)
    )
    head = [cell for model in facts.models for cell in (f"{model.label}: F1 [95 %]", "EM")]
    starred = any(_star(group) for column in columns for group in column)
    note = "* one article alone: the interval resamples questions." if starred else ""
    return Table(f"{GROUP_TITLES[kind]}: F1 and EM", ("Group", "n", "Articles", *head), rows, note=note)


def _star(group: Group) -> str:
    return "*" if group.articles == 1 else ""


# ---------------------------------------------------------------------------------------------------- calibration
def calibration(facts: Facts) -> Section:
    """Whether scores are probabilities."""
    blocks: list[Block] = [
        Paragraph(
            "Answers are put into ten bins by their score. Where a score is a probability, the share of "
            "exact matches in "
            "a bin equals its mean score. The calibration error (ECE) is the mean distance from that, over answers."
        ),
        Pictures(tuple(_reliability_picture(model) for model in facts.models)),
        Table(
            "Calibration of all answers given",
            ("Model", "ECE", "Mean score", "Exactly right"),
            tuple(
                (model.label, f"{one.error:.4f}", share(one.score), share(one.right))
                for model in facts.models
                for one in (model.reliability,)
            ),
        ),
        Table(
            "Bins of scores",
            ("Model", "Score", "Answers", "Mean score", "Exactly right"),
            tuple(
                (model.label, f"{one.low:.1f} to {one.high:.1f}", count(one.n), share(one.score), share(one.right))
                for model in facts.models
                for one in model.reliability.bins
            ),
            frozenset({0, 1}),
        ),
    ]
    return Section("calibration", "Can its scores be trusted", (*blocks, *_risk(facts)))


def _risk(facts: Facts) -> list[Block]:
    curves = {model.label: model.risk for model in facts.models if isinstance(model.risk, RiskCurve)}
    missing = [(model.label, model.risk.reason) for model in facts.models if isinstance(model.risk, Missing)]
    blocks: list[Block] = [Paragraph(f"How many answers of {label} mislead: {reason}") for label, reason in missing]
    if not curves:
        return blocks
    text = (
        "A calibrated reader can be told to give only answers of at least some probability. An answer misleads where "
        "its F1 with every gold answer is below one half, or where there is none. A promise holds for questions like "
        "those that the reader was calibrated on, which these need not be."
    )
    rows = tuple(
        (label, f"at most {share(most)}", f"{point.least_probability:.3f}", share(point.answered), share(point.wrong))
        for label, curve in curves.items()
        for most, point in curve.promises
    )
    blocks += [Paragraph(text), Pictures(tuple(_risk_picture(*item) for item in curves.items()))]
    head = ("Model", "Promised to mislead", "Least probability", "Answered here", "Misleading here")
    return [*blocks, Table("What was promised, and what is found here", head, rows)] if rows else blocks


def _risk_picture(label: str, curve: RiskCurve) -> Picture:
    half = min(curve.points, key=lambda point: abs(point.answered - 0.5))
    all_ = curve.points[-1]
    description = (
        f"Share of answers that mislead over the share of questions that get an answer, the surest first. "
        f"Of the surest {share(half.answered)} {share(half.wrong)} mislead, of all {share(all_.wrong)}."
    )
    line = [(100 * point.answered, 100 * point.wrong) for point in curve.points]
    title = f"Answers of {label} that mislead, %"
    return svg.curves([(title, line)], title=title, description=description, across="% of questions answered")


def _reliability_picture(model: ModelFacts) -> Picture:
    one = model.reliability
    side = "too sure of itself" if one.score > one.right else "not sure enough"
    description = (
        f"Share of exact matches over score for {len(one.bins)} bins. On average the score is {share(one.score)} and "
        f"{share(one.right)} of the answers are exactly right: {model.label} is {side}. ECE {one.error:.4f}."
    )
    return svg.reliability(one.bins, title=f"Reliability of {model.label}", description=description)


def no_answer(facts: Facts) -> Section:
    """What the no-answer threshold gains and costs."""
    curves = {model.label: model.no_answer for model in facts.models if isinstance(model.no_answer, NoAnswerCurve)}
    reasons = {model.no_answer.reason for model in facts.models if isinstance(model.no_answer, Missing)}
    blocks: list[Block] = [Paragraph(f"Not shown: {reason}") for reason in sorted(reasons)]
    if curves:
        text = (
            "A reader answers unless its no-answer score (in logits, against its best span) is above a threshold. A "
            "higher threshold gives more questions an answer: more right answers, and more answers where "
            "there is none. "
            "The best threshold is chosen on these very questions, so its F1 flatters."
        )
        blocks += [
            Paragraph(text),
            Pictures(tuple(_no_answer_picture(*item) for item in curves.items())),
            _thresholds(curves),
        ]
        blocks.append(_curve_table(facts.subject, curves[facts.subject]))
    return Section("no-answer", "Saying that there is no answer", tuple(blocks))


def _no_answer_picture(label: str, curve: NoAnswerCurve) -> Picture:
    lines = [
        (name, [(100 * point.answered, getattr(point, field)) for point in curve.points])
        for name, field in (("all", "f1"), ("with an answer", "has_answer"), ("without", "no_answer"))
    ]
    used, best = curve.used, curve.best
    description = (
        f"Three lines over the share of questions that get an answer. The reader answers {share(used.answered)} of "
        f"them, where F1 is {used.f1:.1f} over all; at best it is {best.f1:.1f}, answering {share(best.answered)}."
    )
    title = f"F1 of {label} by how much it answers"
    marks = [(100 * used.answered, used.f1)]
    return svg.curves(lines, title=title, description=description, across="% of questions answered", marks=marks)


def _thresholds(curves: dict[str, NoAnswerCurve]) -> Table:
    rows = []
    for label, curve in curves.items():
        for name, point in (("its own", curve.used), ("best here", curve.best)):
            cut = "none: it always answers" if point.threshold is None else f"{point.threshold:.3f}"
            rows.append(
                (label, f"{name}: {cut}", share(point.answered), *_f1s(point.f1, point.has_answer, point.no_answer))
            )
    head = ("Model", "Threshold", "Answered", "F1, all", "F1, with answer", "F1, without")
    return Table("No-answer thresholds", head, tuple(rows), frozenset({0, 1}))


def _curve_table(label: str, curve: NoAnswerCurve) -> Table:
    points = curve.points[:: max(1, len(curve.points) // 12)]
    rows = tuple(
        (f"{point.threshold:.4f}", share(point.answered), *_f1s(point.f1, point.has_answer, point.no_answer))
        for point in points
    )
    head = ("Threshold", "Answered", "F1, all", "F1, with answer", "F1, without")
    return Table(f"Every few points of the curve of {label}", head, rows)


def _f1s(*values: float) -> tuple[str, ...]:
    return tuple(percent(value) for value in values)


def main_report(facts: Facts) -> Report:
    """Scores of the model that the report is about, by the report's rules."""
    return facts.model(facts.subject).reports[0]
