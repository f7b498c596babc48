"""Networks of an earlier run are taken over where they read what these samples say."""

from __future__ import annotations

import json

import pytest

from tasks.config import CleanConfig
from tasks.core.errors import BadConfig
from tasks.dataset.payload import Payload
from tasks.dataset.tokenizer import Tokens
from tasks.ingestion.readers import ReaderChoice
from tasks.pipeline.artefacts import Artefact, Run
from tasks.training.base_run import WantedBase, base_for, base_of

RECORDED = "texts-20260101T000000-0000"


def samples_of(tokens):
    payload = Payload(kind="tokens", columns=("t",), shape=(8,), dtype="int32", tokens=tokens)
    facts = {"payload": payload.model_dump(mode="json"), "classes": ["a", "b"]}
    return Artefact(stage="samples", folder="", files=(), facts=facts, digest="d", made_by="r")


def recorded(lake, config, *stages, run_id=RECORDED, dataset="digits", day=1, **more):
    """A run that a lake has on record."""
    folder = lake / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.yaml())
    record = {"run_id": run_id, "dataset": dataset, "recorded": f"2026-01-0{day}", "facts": {}} | more
    record["stages"] = [stage.model_dump(mode="json") for stage in stages]
    (folder / "run.json").write_text(json.dumps(record))


def test_text_that_an_earlier_edition_read_is_no_base_for_words_of_this_one(tmp_path):
    run, config = Run.start(tmp_path, "texts"), CleanConfig()
    earlier = samples_of(Tokens(tokenizer="words", digest="", vocabulary=99, pad=0))
    recorded(tmp_path, config, earlier, dataset="texts")
    wanted = WantedBase("latest", "texts", config.reader.component)

    def base(samples):
        return base_for(run, wanted, samples, 5, config.recipe, config.drift)

    assert base(earlier).facts["run"] == RECORDED
    with pytest.raises(BadConfig, match="an earlier gradsieve"):
        base(samples_of(Tokens.of("words", 99)))


def test_weights_that_changed_at_their_place_are_no_base(tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"as they were")
    model = {"kind": "custom", "factory": "nets:small", "checkpoint": str(weights)}
    run, config = Run.start(tmp_path, "nets"), CleanConfig.model_validate({"model": model})
    samples = samples_of(None)
    network = Artefact(
        stage="network",
        folder="",
        files=(),
        facts={"weights": config.model.component.weights_digest()},
        digest="n",
        made_by="r",
    )
    recorded(tmp_path, config, samples, network, dataset="nets")
    given = (run, WantedBase("latest", "nets", config.reader.component), samples, 5, config.recipe, config.drift)
    assert base_for(*given).facts["run"] == RECORDED
    weights.write_bytes(b"trained again")
    with pytest.raises(BadConfig, match="others under the same name: their files have changed"):
        base_for(*given)


def test_networks_of_other_weights_are_no_base(tmp_path):
    run, config = Run.start(tmp_path, "census"), CleanConfig()
    weighted = samples_of(None).with_facts(weight_column="fnlwgt")
    recorded(tmp_path, config, weighted, dataset="census")
    wanted = WantedBase("latest", "census", config.reader.component)

    def base(samples):
        return base_for(run, wanted, samples, 5, config.recipe, config.drift)

    assert base(weighted).facts["run"] == RECORDED
    with pytest.raises(BadConfig, match=r"(?s)trained with no weights.*trained with the weights of column 'fnlwgt'"):
        base(samples_of(None))


def test_auto_passes_over_a_trial_that_read_less_or_planted_other_noise(tmp_path):
    run, nightly = Run.start(tmp_path, "digits"), {"kind": "digits", "options": {}}
    trials = [{"limit": 1200}, {"noise": {"share": 0.3}}]
    readers = [nightly, *({"kind": "digits", "options": options} for options in trials)]
    for number, reader in enumerate(readers, 1):
        recorded(tmp_path, CleanConfig.model_validate({"reader": reader}), run_id=f"digits-{number}", day=number)

    def base(reader):
        return WantedBase("auto", "digits", ReaderChoice.model_validate(reader).component).record(run)

    assert [base(reader).run_id for reader in readers] == ["digits-1", "digits-2", "digits-3"]
    assert base({"kind": "digits", "options": {"limit": 7}}) is None


@pytest.mark.parametrize("name", ["auto", "latest"])
def test_a_run_that_is_begun_again_does_not_build_upon_what_it_recorded_itself(name, tmp_path, monkeypatch):
    """Killed after its publication it would be recorded twice, with a version and without."""
    run, config = Run.start(tmp_path, "digits"), CleanConfig()
    for number, flow_run in enumerate((None, "before", "this"), 1):
        recorded(tmp_path, config, run_id=f"digits-{number}", day=number, prefect_run_id=flow_run)
    wanted = WantedBase(name, "digits", config.reader.component)
    found = []
    for flow_run in ("another", "this"):
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", flow_run)
        record = wanted.record(run)
        assert record is not None
        found.append(record.run_id)
    assert found == ["digits-3", "digits-2"]
    assert base_of(run, "latest", "digits").facts["run"] == "digits-2"
