"""From `Facts` to a `Document`: the questions that people come with, answered first, and the sections behind them."""

from destila.core.formatting import count, date, duration, ratio, share, size, words
from destila.evaluation.errors import KINDS
from destila.inference.places import SHIPPED_NAME
from destila.reporting import provenance_sections, score_sections
from destila.reporting.document import Document, Pairs, Section
from destila.reporting.facts import Facts
from destila.reporting.provenance import lineage

# What answers do that are not right, of several: the common kinds in a sentence.
ERRORS = {
    "elsewhere": "point to another place",
    "too long": "hold a right answer and more",
    "too short": "are a part of a right answer",
    "shifted": "overlap a right answer",
    "not placed": "are wrong, and no right answer stands in the text",
    "missed": 'say "no answer" where there is one',
    "invented": "answer where there is no answer",
}


def make_document(facts: Facts) -> Document:
    """The whole report."""
    subtitle = f"Made by Destila {facts.version} on {date(facts.made)}"
    sections = (
        minute(facts),
        score_sections.scores(facts),
        score_sections.differences(facts),
        score_sections.parts(facts),
        score_sections.calibration(facts),
        score_sections.no_answer(facts),
        provenance_sections.mistakes(facts),
        provenance_sections.training(facts),
        provenance_sections.inside(facts),
        provenance_sections.cost(facts),
        provenance_sections.data(facts),
        provenance_sections.repeat(facts),
    )
    return Document(facts.title, subtitle, sections)


def minute(facts: Facts) -> Section:
    """Ten questions that everybody has, in a sentence each."""
    rows = (
        ("Which model is it?", _which(facts), "repeat"),
        ("How good is it?", _good(facts), "scores"),
        ("On what?", _on_what(facts), "data"),
        ("How sure is that?", _sure(facts), "differences"),
        ("How fast is it?", _fast(facts), "scores"),
        ("How big is it?", _big(facts), "scores"),
        ("What does it get wrong?", _wrong(facts), "errors"),
        ("May I use it?", _may(facts), "data"),
        ("How do I repeat it?", _repeat(facts), "repeat"),
        ("How do I load it?", _load(facts), "repeat"),
    )
    pairs = Pairs(tuple((question, answer) for question, answer, _ in rows), tuple(link for *_, link in rows))
    return Section("minute", "In a minute", (pairs,))


def _which(facts: Facts) -> str:
    model = facts.model(facts.subject)
    text = f"{model.label} ({model.name}), run by {model.backend} in {model.precision}."
    teachers = [one.name for one in lineage(model.origin) if one.role == "teacher"]
    if teachers:
        text += f" Its teacher is {words(teachers)}."
    text += f" It reads windows of {model.window['length']} tokens"
    return f"{text} and always answers." if model.threshold is None else f'{text}, and can say "no answer".'


def _good(facts: Facts) -> str:
    report = score_sections.main_report(facts)
    text = f"F1 {report.f1:.2f} and exact match {report.em:.2f} of 100, by the {report.normalizer} rules"
    if facts.questions["with an answer"] and facts.questions["without an answer"]:
        has, none = report.details["has_answer"]["f1"], report.details["no_answer"]["f1"]
        text += f" (F1 {has:.2f} where there is an answer, {none:.2f} where there is none)"
    text += "."
    if facts.reference:
        first = facts.model(facts.reference).reports[0]
        kept = share(report.f1 / first.f1) if first.f1 else "–"
        text += f" {facts.reference} has F1 {first.f1:.2f}: {kept} of it is kept."
    return text


def _on_what(facts: Facts) -> str:
    names = [item.name for item in facts.judged]
    questions = facts.questions
    first = "the first " if facts.limited else ""
    text = (
        f"On {first}{count(questions['scored'])} questions about {count(questions['articles'])} articles "
        f"of {words(names)}"
    )
    repaired = " Gold answers were repaired: the scores are not the official ones." if facts.repaired else ""
    return f"{text}; {count(questions['without an answer'])} of them have no answer.{repaired}"


def _sure(facts: Facts) -> str:
    report = score_sections.main_report(facts)
    text = (
        f"The 95 % interval of F1 is [{report.f1_ci[0]:.2f}, {report.f1_ci[1]:.2f}], resampling "
        f"{report.details['resampled']}."
    )
    found = next((item for item in facts.comparisons if item["second"] == facts.subject), None)
    if found:
        low, high = found["f1"]["ci"]
        text += (
            f" Its difference to {facts.reference} is {found['f1']['difference']:+.2f} points [{low:+.2f}, "
            f"{high:+.2f}], "
            f"p = {found['f1']['p']:.4f}" + (": chance alone could explain it." if low <= 0 <= high else ".")
        )
    return text


def _fast(facts: Facts) -> str:
    model = facts.model(facts.subject)
    if not model.speed:
        return "Not measured: run destila bench and give its output with --bench."
    one = model.speed[0]
    text = f"{one.p50_ms:.1f} ms for a question of {one.tokens} tokens (median)"
    other = {speed.tokens: speed for speed in facts.model(facts.reference).speed} if facts.reference else {}
    if facts.reference != facts.subject and one.tokens in other:
        text += f", {ratio(one.p50_ms, other[one.tokens].p50_ms)} faster than {facts.reference}"
    return text + f"; {one.queries_per_s:.0f} questions a second at once."


def _big(facts: Facts) -> str:
    model = facts.model(facts.subject)
    text = f"{count(model.parameters)} parameters, {size(model.bytes)} on disk"
    if facts.reference:
        first = facts.model(facts.reference)
        text += f"; {ratio(model.bytes, first.bytes)} smaller on disk than {facts.reference}"
    return text + "."


def _wrong(facts: Facts) -> str:
    found = facts.mistakes.kinds
    common = sorted((name for name in found if name != "right"), key=lambda name: -found[name])[:3]
    wrong = sum(number for name, number in found.items() if name != "right")
    text = f"{count(wrong)} of {count(facts.questions['scored'])} answers are not exactly right"
    most = words([f"{count(found[name])} {(KINDS if found[name] == 1 else ERRORS)[name]}" for name in common])
    return f"{text}: {most}." if most else f"{text}."


def _may(facts: Facts) -> str:
    return f"{provenance_sections.license_answer(facts.model(facts.subject).origin)} The code is under Apache-2.0."


def _repeat(facts: Facts) -> str:
    text = "The predictions beside this page can be scored again by one command, without a model. "
    if facts.limited:
        text = ""  # a command scores whole files
    behind = {one.name for one in lineage(facts.model(facts.subject).origin)}
    runs = [run for run in facts.runs if run.origin.name in behind]
    if not runs:
        return f"{text}How to train it again is not known: no run of it is here."
    known = [run.origin.seconds for run in runs if run.origin.seconds is not None]
    took = f" (training took {duration(sum(known))})" if known else ""
    return f"{text}Commands and settings make {words([run.label for run in runs])} again{took}."


def _load(facts: Facts) -> str:
    name = facts.model(facts.subject).name
    return (
        "Reader.load() in Python; destila answer QUESTION --context FILE in the shell. To be copied at the link."
        if name == SHIPPED_NAME
        else f'Reader.load("{name}") in Python, --model {name} in the shell.'
    )
