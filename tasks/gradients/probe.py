"""probe: one look at the network before any time is spent on it."""

from __future__ import annotations

from tasks.core.devices import exclusive
from tasks.gradients.kinds import Gradient
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.training.fit import build, check_outputs
from tasks.training.fit_together import stack_size
from tasks.training.recipe import Recipe


@step("probe {recipe.model.kind}")
def probe(run: Run, description: Artefact, recipe: Recipe, gradient: Gradient) -> Artefact:
    """Build the network once and refuse what the gradient kind cannot serve; say how many are trained together.

    Args:
        run: where to write.
        description: what inputs and labels are (``split_of(samples)`` without any split), and no row of them.
        recipe: what is built, and how it is trained.
        gradient: what it must give.

    Raises:
        BadModel: the network does not fit the inputs or the gradient kind.
    """
    import torch

    from tasks.dataset.payload import payload_of
    from tasks.dataset.targets import target_of

    payload, model, target = payload_of(description), recipe.model, target_of(description)
    with exclusive("cpu"), torch.random.fork_rng(devices=[]):
        network = build(model, payload, target.outputs)
        gradient.check(network, payload.blank(2))
        check_outputs(network, payload.blank(2), target.outputs)
        begins_trained = model.begins_trained(payload, target.outputs)
    with run.draft("network") as draft:
        return draft.commit(
            model=model.name_for(payload),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            begins_trained=begins_trained,
            weights=model.weights_digest(),
            together=stack_size(recipe, payload, target),
        )
