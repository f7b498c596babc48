"""A mistake in a command line or a file is told with the option as one types it, and with its neighbour."""

import pytest

from flows.command_line.application import main


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainig: {epochs: 3}", "option trainig: Extra inputs are not permitted. Did you mean training?"),
        ("training: {epoch: 3}", "option training.epoch: Extra inputs are not permitted. Did you mean epochs?"),
        ("nothing_like_it: 1", "option nothing-like-it: Extra inputs are not permitted\n"),
        ("reader: {kind: csv, path: a.csv, target: nubmer}", "option reader.target: Input should be 'class', 'number'"),
        ("reader: {path: a.csv\ntraining: 1", "in line 2: expected ',' or '}'"),
    ],
)
def test_in_a_file(tmp_path, capsys, text, words):
    path = tmp_path / "night.yaml"
    path.write_text(text)
    assert main(["clean", "--config", str(path), "--lake", str(tmp_path / "lake")]) in (2, 3)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("clean --reader.lable x", "got --reader.lable. Did you mean --reader.label?"),
        ("clean --label=x", "got --label=x. Did you mean --reader.label?"),
        ("clean a.csv b.csv", "expected options of gradsieve clean, got b.csv. See gradsieve clean --help."),
        (
            "versions list --datset x",
            "expected options of gradsieve versions list, got --datset x. Did you mean --dataset?",
        ),
        ("clean --budget.kind share --budget.share 8", "option budget.share: Input should be less than 1"),
    ],
)
def test_on_the_command_line(capsys, line, words):
    assert main(line.split()) == 2
    assert words in capsys.readouterr().err
