"""``gradsieve reproduce``: an experiment of the paper, its figures beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import CliPositionalArg

from flows.command_line.foreground import foreground, prepare_prefect
from tasks.evaluation.experiments import ScaleName, bench_folder, experiment, names

if TYPE_CHECKING:
    from tasks.evaluation.reproduce import Flow

FOLDER = "reproductions"


class ReproduceCommand(BaseModel):
    """Run an experiment of the paper and lay our figures, and the controls the paper lacks, beside the paper's.

    gradsieve reproduce; gradsieve reproduce half-moons; gradsieve reproduce cifar10n --bench FOLDER --seeds 2

    The table is kept in LAKE/reproductions as JSON and Markdown, and the runs in a lake of their own below it.
    """

    model_config = ConfigDict(extra="forbid")
    name: CliPositionalArg[str | None] = Field(
        default=None, description="Which, or a YAML file of your own; default: say which there are."
    )
    scale: ScaleName = Field(
        default="small", description="small: minutes on two cores, on what is at hand; paper: the paper's protocol."
    )
    lake: Path = Field(default=Path("data"), description="Folder that holds runs, versions and the catalogue.")
    seeds: int | None = Field(default=None, ge=1, description="Repetitions; default: as many as the experiment says.")
    bench: Path | None = Field(
        default=None, description="Folder of benchmark data, for experiments on real data; default: GRADSIEVE_BENCH."
    )
    verbose: bool = Field(default=False, description="Show Prefect's own log.")

    def cli_cmd(self) -> None:
        """Run it, print the table, keep it."""
        if self.name is None:
            for name in names():
                about = experiment(name)
                print(f"{name:<20} {about.title}{f' ({about.minutes} min)' if about.minutes else ''}")
            return
        about = experiment(self.name)
        scale = about.scale(self.scale)
        folders = {"bench": bench_folder(self.bench, about.name, scale)}
        home = self.lake.expanduser().resolve() / FOLDER
        lake = home / "lake"
        prepare_prefect(lake, verbose=self.verbose)
        from tasks.evaluation.reproduce import reproduce

        folders["made"] = home / "made"
        if scale.made:
            from tasks.evaluation.experiments.generated import generate

            folders["made"].mkdir(parents=True, exist_ok=True)
            generate(scale.made, folders["made"], folders["bench"], self.seeds or scale.seeds)
        lake.mkdir(parents=True, exist_ok=True)
        with foreground(verbose=self.verbose):
            reproduction = reproduce(about, self.scale, self.flows(), lake, folders, self.seeds)
        # Kept before anybody is told: who listens may have gone after an hour.
        paths = reproduction.put_down(home)
        print(reproduction.text())
        print("\nKept", *(f"  {path}" for path in paths), sep="\n")

    @classmethod
    def flows(cls) -> dict[str, Flow]:
        """Each flow's configuration, and the flow, imported only now."""
        raise TypeError(f"{cls.__name__} must define flows()")
