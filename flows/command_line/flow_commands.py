"""The commands that run a flow in this process: its configuration as options, and what imports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg

from flows.command_line.early_checks import check_early, looked_at
from flows.command_line.foreground import foreground, prepare_prefect, say
from flows.command_line.options import Options
from flows.command_line.reproduce import ReproduceCommand
from tasks.config import CleanConfig, CompareConfig
from tasks.core.errors import printable
from tasks.scoring.trace_config import TraceConfig
from tasks.versions.maintenance import MaintainConfig

if TYPE_CHECKING:
    from tasks.evaluation.reproduce import Flow


class _Flow(Options):
    """A command that runs the flow of its name in this process."""

    def cli_cmd(self) -> None:
        """Run it and print what it returns."""
        config = self.configuration()
        say(f"looking at {', '.join(looked_at(config))}")
        check_early(config)
        prepare_prefect(config.lake, verbose=self.verbose)
        say("loading Prefect and PyTorch")
        flow = self.flow()
        from flows.command_line.own_server import with_server

        with foreground(verbose=self.verbose):
            text = with_server(lambda: flow(config))
        print(printable(text))

    @classmethod
    def flow(cls) -> Callable[[Any], str]:
        """The flow, imported only now: Prefect reads its settings when it is."""
        raise TypeError(f"{cls.__name__} must define flow()")


class _OfSource(_Flow):
    """A command that reads a source."""

    source: CliPositionalArg[str | None] = Field(
        default=None, description="File or folder of the samples, as --reader.path says it; its suffix says the reader."
    )


class Clean(_OfSource):
    """Find the training samples that hurt a model, prove it by retraining, publish the dataset without them.

    Without options: scikit-learn's digits with a tenth of the training labels flipped. Your own file:
    gradsieve clean iris.csv --reader.label species
    """

    of = CleanConfig

    @classmethod
    def flow(cls) -> Callable[[Any], str]:
        """flows/clean.py"""
        from flows.clean import clean

        return clean


class Compare(_OfSource):
    """Compare detectors and budgets on labels that are known to be wrong: one table and one plot.

    Without options: scikit-learn's digits with a tenth of the training labels flipped. Your own file with a column of
    true labels: gradsieve compare iris.csv --reader.label species --reader.clean-label truth
    """

    of = CompareConfig

    @classmethod
    def flow(cls) -> Callable[[Any], str]:
        """flows/compare.py"""
        from flows.compare import compare

        return compare


class Trace(_Flow):
    """Name, for each query of a recorded run, the training samples that shaped its answer most.

    Queries are the run's validation split, whose gradients clean takes as well: gradsieve clean --reader.reference-path
    FILE; gradsieve trace RUN --top 20 --cosine false
    """

    of = TraceConfig
    run: CliPositionalArg[str] = Field(default="latest", description="A recorded run's id, or latest.")

    @classmethod
    def flow(cls) -> Callable[[Any], str]:
        """flows/trace.py"""
        from flows.trace import trace

        return trace


class Maintain(_Flow):
    """Clear old versions away, look whether what is current is whole, bring the catalogue up to date."""

    of = MaintainConfig

    @classmethod
    def flow(cls) -> Callable[[Any], str]:
        """flows/maintain.py"""
        from flows.maintain import maintain

        return maintain


class Reproduce(ReproduceCommand):
    __doc__ = ReproduceCommand.__doc__

    @classmethod
    def flows(cls) -> dict[str, Flow]:
        """flows/clean.py, flows/compare.py and flows/trace.py"""
        return {
            "clean": (CleanConfig, Clean.flow()),
            "compare": (CompareConfig, Compare.flow()),
            "trace": (TraceConfig, Trace.flow()),
        }


CONFIGURATIONS: dict[str, type[BaseModel]] = {
    "clean": CleanConfig,
    "compare": CompareConfig,
    "trace": TraceConfig,
    "maintain": MaintainConfig,
}
"""Of every command that runs a flow, and of every deployment."""
