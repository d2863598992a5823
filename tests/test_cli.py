"""The real command line, in processes of its own: the whole way, and the mistakes that people make."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from command_line import REPOSITORY, run_vision

from vision import __version__


def test_version_and_help() -> None:
    assert run_vision("--version").stdout.strip() == f"vision {__version__}"
    assert "Exit codes: 0 done" in run_vision("--help").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_offered(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Typer asks the process tree for the shell, which a build machine need not have.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = run_vision("--show-completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_VISION_COMPLETE" in done.stdout


def test_classify_writes_every_format(drawn_run: Path, tmp_path: Path) -> None:
    model, images = drawn_run / "run" / "bundle", drawn_run / "data" / "images"
    for ending in ("json", "jsonl", "csv"):
        done = run_vision("classify", "-m", model, images, "-o", tmp_path / f"rows.{ending}")
        assert done.returncode == 0, done.stderr
        assert "56 rows, 0 of them errors" in done.stderr
    from_json = json.loads((tmp_path / "rows.json").read_text())
    from_lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    with (tmp_path / "rows.csv").open(newline="") as stream:
        from_csv = list(csv.DictReader(stream))
    assert from_json == from_lines
    assert [row["label"] for row in from_csv] == [row["label"] for row in from_json]
    assert len(from_json) == 56


def test_classify_shows_one_picture_in_full(drawn_run: Path) -> None:
    picture = drawn_run / "data" / "images" / "buk-m1-12.jpg"
    done = run_vision("classify", "-m", drawn_run / "run" / "bundle", picture, "--format", "table")
    assert "Buk-M1" in done.stdout
    assert "nearest training pictures" in done.stdout
    assert "the tests of vision (CC0-1.0)" in done.stdout


def test_classify_takes_paths_from_standard_input(drawn_run: Path) -> None:
    picture = drawn_run / "data" / "images" / "buk-m1-12.jpg"
    done = run_vision("classify", "-m", drawn_run / "run" / "bundle", "-", input=f"{picture}\n\nmissing.jpg\n")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert done.returncode == 1


def test_an_output_that_is_interrupted_leaves_the_old_file(drawn_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "rows.jsonl"
    output.write_text("old")
    done = run_vision(
        "classify", "-m", drawn_run / "run" / "bundle", drawn_run / "data" / "images", "no*match.jpg", "-o", output
    )
    assert done.returncode == 2
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_closed_pipe_ends_quietly(drawn_run: Path) -> None:
    vision = f"{sys.executable} -c 'from vision.cli import main; main()'"
    command = f"{vision} classify -m {drawn_run}/run/bundle {drawn_run}/data/images -f jsonl | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_an_interrupt_exits_130(drawn_run: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from vision.cli import main; main()",
        "classify",
        "-m",
        str(drawn_run / "run" / "bundle"),
        "-",
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(20):
        process.stdin.write("nowhere.jpg\n")
        process.stdin.flush()
    process.stdout.readline()  # it is at work
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told


def test_evaluate_then_report_from_predictions_alone_give_the_same_figures(drawn_run: Path, tmp_path: Path) -> None:
    manifest = drawn_run / "data" / "manifest.csv"
    done = run_vision(
        "evaluate", "-m", drawn_run / "run" / "bundle", "--manifest", manifest, "--split", "test", "-o", tmp_path / "e"
    )
    assert done.returncode == 0, done.stderr
    again = run_vision("report", tmp_path / "e" / "predictions.parquet", "-o", tmp_path / "r")
    assert again.returncode == 0, again.stderr
    first, second = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in "er")
    assert first["matrices"] == second["matrices"]
    assert first["accuracy"] == second["accuracy"]
    assert first["num_trained_on"] == 0


def test_evaluating_training_pictures_is_told(drawn_run: Path, tmp_path: Path) -> None:
    manifest = drawn_run / "data" / "manifest.csv"
    done = run_vision("evaluate", "-m", drawn_run / "run" / "bundle", "--manifest", manifest, "-o", tmp_path)
    assert "warning: 32 of the pictures were trained on" in done.stderr
    assert "32 of these 56 pictures were trained on" in (tmp_path / "report" / "index.html").read_text()


def test_a_report_of_classified_pictures_takes_its_truth_from_a_manifest(drawn_run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    run_vision("classify", "-m", drawn_run / "run" / "bundle", drawn_run / "data" / "images", "-o", rows)
    without = run_vision("report", rows)
    assert without.returncode == 2
    assert "no column 'true_label'; give --manifest" in without.stderr
    done = run_vision("report", rows, "--manifest", drawn_run / "data" / "manifest.csv", "-o", tmp_path / "r")
    assert done.returncode == 0, done.stderr


def test_check_passes_the_drawings_and_names_what_is_wrong(drawn_run: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    assert run_vision("data", "check", data / "manifest.csv").returncode == 0
    (data / "images" / "shilka-03.jpg").write_text("broken")
    text = (data / "manifest.csv").read_text().replace("osa-akm-01.jpg,osa-akm", "osa-akm-01.jpg,osa-akn")
    (data / "manifest.csv").write_text(text)
    done = run_vision("data", "check", data / "manifest.csv")
    assert done.returncode == 3
    assert re.search(
        r"manifest\.csv:17: label 'osa-akn': not a class of the taxonomy, did you mean 'osa-akm'\?", done.stdout
    )
    assert re.search(r"manifest\.csv:33: file_name 'images/shilka-03\.jpg': not a picture", done.stdout)


def test_check_fix_fills_in_what_is_empty(drawn_run: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    before = pl.read_csv(data / "manifest.csv")
    before.drop("sha256", "width", "height").write_csv(data / "manifest.csv")
    assert run_vision("data", "check", data / "manifest.csv", "--fix").returncode == 0
    after = pl.read_csv(data / "manifest.csv")
    assert after.select(sorted(after.columns)).equals(before.select(sorted(before.columns)))


def test_refused_licences_exit_4(drawn_run: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    text = (data / "manifest.csv").read_text().replace("CC0-1.0", "CC-BY-NC-4.0", 1)
    (data / "manifest.csv").write_text(text)
    for arguments in (["data", "check", data / "manifest.csv"], ["train", data / "drawings.yaml", "--runs", tmp_path]):
        done = run_vision(*arguments)
        assert done.returncode == 4, done.stderr
        assert "licence 'CC-BY-NC-4.0': no commercial use" in done.stdout + done.stderr


def test_a_dry_run_tells_the_plan_and_trains_nothing(drawn_run: Path, tmp_path: Path) -> None:
    done = run_vision(
        "train",
        drawn_run / "data" / "drawings.yaml",
        "--runs",
        tmp_path / "runs",
        "--cache",
        tmp_path / "c",
        "--dry-run",
    )
    assert done.returncode == 0, done.stderr
    assert "56 pictures (calibration 12, test 12, train 32), 4 classes" in done.stderr
    assert "12 passes to compute, 32 cached" in done.stderr  # the training pictures were looked at
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "nowhere.yaml"],
            r"nowhere\.yaml: cannot read the file \(No such file or directory\); check the path",
        ),
        (["train", "{config}", "--set", "train.fold=5"], r"unknown key 'train\.fold', did you mean 'folds'\?"),
        (["train", "{config}", "--set", "folds"], r"--set folds: expected KEY=VALUE, such as train\.folds=5"),
        (
            ["train", "{config}", "--set", "backbone.name=efficientnet_lit0"],
            r"'efficientnet_lit0' is not a network of timm, did",
        ),
        (["classify", "-m", "{data}", "x.jpg"], r"data: not a model bundle \(no bundle\.json in it\)"),
        (["classify", "-m", "{bundle}", "@nowhere.txt"], r"@nowhere\.txt: cannot read the list"),
        (
            ["classify", "-m", "{bundle}", "x.jpg", "-o", "x.xlsx"],
            r"x\.xlsx: predictions end in \.json, \.jsonl, \.csv",
        ),
        (["classify", "-m", "{bundle}", "x.jpg", "-f", "yaml"], r"'yaml' is not one of"),
        (["evaluate", "-m", "{bundle}", "--manifest", "nowhere.csv"], r"nowhere\.csv: no such file"),
        (
            ["evaluate", "-m", "{bundle}", "--manifest", "{manifest}", "--split", "tset"],
            r"no row of split 'tset', did you mean 'test'\?",
        ),
        (
            ["report", "nowhere.parquet"],
            r"nowhere\.parquet: no such file or folder; `vision evaluate` writes a folder, `vision classify -o` a file",
        ),
        (["taxonomy", "tor-m"], r"class 'tor-m' is not in the taxonomy, did you mean 'tor-m[12]'\?"),
        (["data", "check", "{data}"], r"data: a manifest ends in|data: a folder"),
        (["train", "{config}", "--set", "train.folds=x"], r"--set train\.folds=x: train\.folds: .*not 'x'"),
        (["train", "{config}", "--set", "name=.."], r"name: must be letters, digits, .* not '\.\.'"),
        (["train", "{config}", "--set", "features.input_px=1"], r"input_px.*greater than or equal to 32, not 1"),
        (["train", "{config}", "--set", "seed=true"], r"--set seed=true: seed: .* not True"),
        (["train", "{config}", "--resume", "--overwrite"], r"--resume goes on .* --overwrite removes it; give one"),
        (
            ["train", "{config}", "--runs", "{manifest}"],
            r"manifest\.csv/drawings: cannot be used for a run|manifest\.csv",
        ),
        (["classify", "-m", "{bundle}", "x.jpg", "no*such.jpg"], r"no\*such\.jpg: the pattern matches no file"),
        (
            ["evaluate", "-m", "{bundle}", "--manifest", "{manifest}", "-o", "{config}"],
            r"drawings\.yaml: a file, not a folder",
        ),
        (["frobnicate"], r"No such command 'frobnicate'"),
    ],
)
def test_a_mistake_is_answered_with_place_value_and_remedy(
    drawn_run: Path, arguments: list[str], message: str, tmp_path: Path
) -> None:
    data = drawn_run / "data"
    places = {
        "config": data / "drawings.yaml",
        "data": data,
        "bundle": drawn_run / "run" / "bundle",
        "manifest": data / "manifest.csv",
    }
    done = run_vision(*(argument.format(**places) for argument in arguments), cwd=tmp_path)
    told = " ".join(done.stderr.replace("│", " ").split())
    assert re.search(message, told), told
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr


def test_a_wrong_path_among_right_ones_is_told_before_anything_is_written(drawn_run: Path) -> None:
    picture = drawn_run / "data" / "images" / "buk-m1-12.jpg"
    done = run_vision("classify", "-m", drawn_run / "run" / "bundle", "-f", "json", picture, "no*.png")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("tor-m1-01.jpg,tor-m1", "tor-m1-01.jpg,", r"manifest\.csv:3: label: is empty"),
        (
            "images/tor-m1-01.jpg",
            "../../tor-m1-01.jpg",
            r"manifest\.csv:3: file_name '.*': leaves the manifest's folder",
        ),
        ("title,author", "model,author", r"manifest\.csv:1: model: has the name of a column of predictions"),
        ("title,author", "box,author", r"manifest\.csv:2: box 'Drawing tor-m1 0': not 'x y width height'"),
    ],
)
def test_a_manifest_that_cannot_be_judged_by_is_refused(
    drawn_run: Path, tmp_path: Path, before: str, after: str, message: str
) -> None:
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    text = (data / "manifest.csv").read_text()
    assert before in text
    (data / "manifest.csv").write_text(text.replace(before, after, 1))
    out = tmp_path / "e"
    done = run_vision("evaluate", "-m", drawn_run / "run" / "bundle", "--manifest", data / "manifest.csv", "-o", out)
    assert done.returncode == 3
    assert re.search(message, done.stderr), done.stderr
    assert not out.exists()


def test_predictions_that_were_edited_are_told_by_row_and_value(drawn_run: Path, tmp_path: Path) -> None:
    row = {"file_name": "a.jpg", "status": "fine", "label": "shilka", "probability": 1.0, "top": []}
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")
    done = run_vision("report", tmp_path / "p.jsonl")
    assert "row 1: status 'fine': it is 'ok' or 'error'" in done.stderr


def test_a_taxonomy_of_ones_own_serves_training_evaluation_and_report(drawn_run: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    classes = {"tor-m1": "cat", "osa-akm": "dog", "shilka": "cow", "buk-m1": "pig"}
    text = (data / "manifest.csv").read_text()
    for ours, theirs in classes.items():
        text = text.replace(f".jpg,{ours},", f".jpg,{theirs},")
    (data / "manifest.csv").write_text(text)
    tree = {"version": 1, "roles": [{"id": "animal", "name": "Animal"}]}
    families = [{"id": "mammal", "role": "animal", "name": "Mammal"}]
    listed = [{"id": name, "family": "mammal", "names": [name.title()]} for name in classes.values()]
    (data / "tree.yaml").write_text(json.dumps({**tree, "families": families, "classes": listed}))
    settings = ["taxonomy=tree.yaml", "backbone.name=resnet10t", "backbone.weights=none", "features.input_px=64"]
    overrides = [part for setting in settings for part in ("--set", setting)]
    done = run_vision("train", data / "drawings.yaml", *overrides, "--runs", tmp_path, "--cache", tmp_path / "c")
    assert done.returncode == 0, done.stderr
    bundle, out = tmp_path / "drawings" / "bundle", tmp_path / "e"
    done = run_vision("evaluate", "-m", bundle, "--manifest", data / "manifest.csv", "--split", "test", "-o", out)
    assert done.returncode == 0, done.stderr
    assert run_vision("report", out / "predictions.parquet").returncode == 0
    again = run_vision("train", tmp_path / "drawings" / "config.yaml", "--dry-run", "--runs", tmp_path / "other")
    assert again.returncode == 0, again.stderr


def test_doctor_tells_versions_and_whether_a_bundle_loads(drawn_run: Path) -> None:
    done = run_vision("doctor", "-m", drawn_run / "run" / "bundle")
    assert done.returncode == 0, done.stdout
    assert re.search(r"ok +bundle +drawings, 4 classes, loads", done.stdout)
    assert run_vision("doctor", "-m", drawn_run).returncode == 2


def test_taxonomy_shows_cues_with_their_provenance() -> None:
    shown = " ".join(run_vision("taxonomy", "tor-m2k").stdout.split())
    assert "dprk-tor-like" in shown
    assert "(unchecked)" in shown


def test_the_readmes_commands_exist() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^vision ([a-z]+)", readme, flags=re.MULTILINE))
    assert commands >= {"train", "classify", "evaluate", "report", "doctor"}
    for command in commands:
        assert run_vision(command, "--help").returncode == 0, command
