"""draw_question: flags → the page of a run that waits for a person, without a verdict."""

from __future__ import annotations

from tasks.decision.review_sheet import earlier_answer
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import act


@act("draw the page to decide by")
def draw_question(run: Run, dataset: str, samples: Artefact, votes: Artefact, flags: Artefact, arm: str) -> str | None:
    """Write ``reports/<run_id>.html`` and link to it; not where nobody is asked, for nothing is flagged or all decided.

    Args:
        run: that asks.
        dataset: it is of.
        samples: the training samples, as their source has them.
        votes: their neighbours.
        flags: by rule.
        arm: what the run does with the flagged.
    """
    if not flags.facts["flagged"] or earlier_answer(run.lake, flags.digest) is not None:
        return None
    from prefect.artifacts import create_link_artifact

    from tasks.pipeline.page_link import link_to
    from tasks.report.exhibits import Exhibits
    from tasks.report.flag_lines import flag_lines
    from tasks.report.gallery import MOST, gallery_of
    from tasks.report.run_page import put_question_down

    shown = gallery_of(Exhibits.of_stages(run, samples, votes, flags), run.run_id, MOST, compare=True)
    remedy = "removed" if arm == "cleaned" else "relabelled"
    page = put_question_down(run, dataset, shown, flag_lines(flags.facts), remedy)
    create_link_artifact(link_to(page), link_text=page.name, key="question", description="Decide about what is flagged")
    return str(page)
