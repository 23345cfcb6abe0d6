"""Every command and every snippet of Python in the README and the guides runs, on little data, or is checked.

A page is read from its top to its end in a folder of its own (`small_world`). A command is run as it stands, with
options added that make it small (`ADDED`); one that cannot run here is named in `NOT_RUN` with the reason, and its
words are still checked by the program's own parser.
"""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from documented import PAGES, ROOT, Block, Command, blocks, code_in_sentences, commands
from small_world import SPLITS, TINY_NETWORK, build
from torch.distributed.run import get_args_parser

from panoptic_blend.cli.main import application, main
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.download import coco as coco_download
from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.instance_errors import InstanceCause
from panoptic_blend.structures import PanopticBlendError

Captured = pytest.CaptureFixture[str]

SMALL_INPUT = ("test.short_side=64", "test.long_side=96")
ONE_STEP = (
    *SMALL_INPUT,
    "data.short_sides=[64]",
    "data.long_side=96",
    "data.workers=0",
    "train.weights=null",
    "train.precision=32-true",
    "train.iterations=1",
    "train.batch_size=1",
    "train.rescale=false",
    "train.warmup_iterations=0",
    "train.steps=[]",
    "train.evaluate_every=0",
)

ADDED: dict[str, tuple[str, ...]] = {
    "panoptic-blend train": ONE_STEP,
    "panoptic-blend fit": (
        *(*SMALL_INPUT, *TINY_NETWORK[1:], "train.precision=32-true", "train.batch_size=1"),
        *("--iterations", "1", "--weights", "none", "--device", "cpu"),
    ),
    "panoptic-blend evaluate": SMALL_INPUT,
    "panoptic-blend predict": SMALL_INPUT,
    "panoptic-blend explain": SMALL_INPUT,
    "panoptic-blend label next": SMALL_INPUT,
    "panoptic-blend label errors": SMALL_INPUT,
    "panoptic-blend sweep": (*SMALL_INPUT, "--workers", "1"),
    "panoptic-blend pq": ("--resamples", "20"),
    "panoptic-blend pq merge": ("--resamples", "20"),
    "panoptic-blend pq --self-test": (),
    "panoptic-blend ap": ("--resamples", "20"),
    "panoptic-blend report": ("--resamples", "20"),
    "panoptic-blend draw": (),
    "panoptic-blend data shapes": ("--train", "7", "--val", "2"),
    "panoptic-blend data coco": ("--mirror", "http://127.0.0.1:9"),  # all is there, so nothing is asked for
    "panoptic-blend data check": ("--workers", "1"),
    "panoptic-blend data convert labelme": ("--overwrite", "--val-share", "0.3"),
    "panoptic-blend data convert coco-instances": (),
    "panoptic-blend data convert yolo": (),
    "panoptic-blend data convert cvat": (),
    "panoptic-blend data convert cityscapes": (),
    "panoptic-blend data convert label-studio": (),
    "panoptic-blend data convert masks": (),
    "panoptic-blend data export": (),
    "panoptic-blend data merge": (),
    "panoptic-blend data split": (),
    "panoptic-blend data filter": (),
    "panoptic-blend data stats": (),
    "panoptic-blend weights list": (),
    "panoptic-blend weights inspect": (),
    "panoptic-blend weights import": (),
    "python -m evaluation.overfit": (*TINY_NETWORK, *ONE_STEP),
    "python -m evaluation.doctor_speed": ("--images", "2", "--workers", "1"),
    "python -m evaluation.precision": SMALL_INPUT,
    "python -m evaluation.tables": (),
}
"""What is added to a command that runs, by its name; every command that the pages name must be here or in `NOT_RUN`."""

NOT_RUN = {
    r"pip install": "it downloads packages; the extras that it names exist",
    r"make": "it builds environments or runs all tests; its target exists",
    r"torchrun": "it needs several devices",
    r"panoptic-blend \w+ .*--(devices|nodes)": "it needs several devices",
    r"panoptic-blend train .*--weights \w*imagenet": "it downloads weights",
    r"panoptic-blend predict (\w+_mmdet|hf://)": "it downloads weights",
    r"panoptic-blend predict exported": "it needs what export writes; tests/deploy does it, with a small network",
    r"panoptic-blend weights fetch": "it downloads weights",
    r"panoptic-blend fit .*--weights lite0": "it needs photographs and weights; evaluation.fit_quality does it",
    r"panoptic-blend serve": "it runs until it is interrupted; tests/serve does it",
    r"panoptic-blend export": "it takes ten seconds; tests/export does it, with a small network",
    r"panoptic-blend push": "it needs the Hugging Face Hub; tests/publishing does it with a stand-in",
    r"python -m evaluation\.tables .*--weights": "tests/evaluation does it, with a small network",
    r"python -m evaluation\.(speed|speed_steps|annotations_speed|loader_speed|pq_speed)\b": "tests/evaluation does it",
    r"python -m evaluation\.(fit_quality|speed_(exports|curve|postprocessing)|ablations)\b": "tests/evaluation does it",
    r"python -m evaluation\.(ap_speed|ap_coverage|serve_load)\b": "tests/evaluation does it",
}
"""Commands that are checked and not run, as regular expressions, and why."""

TARGETS_MAY_BE_MISSED = "python -m evaluation."
"""Experiments end with 1 if a target is missed, as tiny ones do."""

Run = Callable[[Command], str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    [program] = [block for block in blocks("docs/own-data.md") if block.language == "python"]
    with working_in(root):
        build(root, program.text)
    return root


@pytest.fixture
def world(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small world to work in, where COCO has no more images than it holds."""
    root = tmp_path / "world"
    shutil.copytree(built, root, copy_function=copy)
    monkeypatch.chdir(root)
    monkeypatch.setattr(coco_download, "SPLITS", SPLITS)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a busy disk would take most of the time
    monkeypatch.delenv("PANOPTIC_BLEND_DATA", raising=False)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    return root


def copy(source: str, target: str) -> None:
    """Copy a file; weights are large and never changed in place, so a link will do."""
    (os.link if source.endswith((".pth", ".safetensors")) else shutil.copy2)(source, target)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are slower in several threads, and much slower where other programs run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_from_its_top_to_its_end(
    page: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    printed = ""
    for block in blocks(page):
        if block.language == "python":
            exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {"__name__": "__main__"})
        elif block.language == "output":
            require_quoted(block, printed)
        for command in commands(block):
            capsys.readouterr()
            run(command, monkeypatch, capsys)
            printed = capsys.readouterr().out


def run(command: Command, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """Run a command in this process, or check it; fail with what it said if it does not end well."""
    check(command, monkeypatch)
    if any(re.match(pattern, " ".join(command.words)) for pattern in NOT_RUN):
        return
    name = name_of(command.words)
    assert name in ADDED, (
        f"{command}\nno test knows how to run {name!r}: add it to ADDED in tests/docs/test_documented_commands.py with "
        "the options that make it small, or to NOT_RUN with the reason why it cannot run"
    )
    words = [*command.words, *ADDED[name]]
    if name == "panoptic-blend train":
        words += trained_small(command)
    code = exit_code(words, monkeypatch)
    fine = {0, 1} if name.startswith(TARGETS_MAY_BE_MISSED) else {0}
    assert code in fine, (
        f"{command}\nended with {code} here, with {' '.join(words[len(command.words) :])}:\n"
        + "".join(capsys.readouterr())
    )


def trained_small(command: Command) -> list[str]:
    """A folder of its own for each run that names none; a tiny network unless weights of full size are loaded."""
    own_folder = () if "--output" in command.words else ("--output", f"runs/line_{command.line}")
    network = () if "--weights" in command.words else TINY_NETWORK
    return [*own_folder, *network]


def exit_code(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a program in this process and return its exit code."""
    program, *arguments = words
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as end:
        if program == "panoptic-blend":
            patched.setattr(sys, "argv", words)
            main()
        elif arguments[0] == "-m":
            patched.setattr(sys, "argv", arguments[1:])
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            patched.setattr(sys, "argv", arguments)
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
        sys.exit(0)
    return int(end.value.code or 0)


def name_of(words: tuple[str, ...]) -> str:
    """The words of a command that say which program, and which command within it, runs."""
    program, *arguments = words
    if program == "python":
        return " ".join(words[: 3 if arguments[0] == "-m" else 2])
    group, parts = typer.main.get_command(application()), [program]
    for word in arguments:
        known = getattr(group, "commands", {})
        word = next((both for both in (f"{word} {other}" for other in arguments) if both in known), word)
        found = known.get(word)
        if found is None:
            break
        group, parts = found, [*parts, word]
    return " ".join(parts)


def require_quoted(block: Block, printed: str) -> None:
    """Fail unless every quoted line is one that was printed, whatever the numbers in it; dots stand for any lines."""

    def without_numbers(line: str) -> str:
        return re.sub(r"\d[\d.,]*", "N", " ".join(line.split()))

    lines = {without_numbers(line) for line in printed.splitlines()}
    for line in block.text.splitlines():
        assert line.strip() == "..." or without_numbers(line) in lines, f"{block.page}: {line!r} is not in\n{printed}"


def check(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program's own parser, or a look at its files, judge a command without running it."""
    program, *words = command.words
    if program == "panoptic-blend":
        check_ours(command, words)
    elif program == "torchrun":
        check_torchrun(command, words)
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words) <= set(targets), f"{command}\nno such target; there are {', '.join(targets)}"
    elif program == "pip":
        check_pip(command, words)
    elif words[0] == "-m" and words[1].startswith("evaluation."):
        check_experiment(command, words, monkeypatch)
    else:
        assert (ROOT / words[0]).is_file(), f"{command}\n{words[0]} does not exist"


def check_ours(command: object, words: list[str]) -> None:
    """Let the real parser read the words of ``panoptic-blend``; training must find its config and options too."""
    error, given = parsed(words)
    assert error is None, f"{command}\n{error}"
    if given.get("config") in config_names():
        try:
            load_config(given["config"], given["overrides"] or ())
        except PanopticBlendError as wrong:
            raise AssertionError(f"{command}\n{wrong}") from None


def parsed(words: list[str]) -> tuple[str | None, dict[str, Any]]:
    """What the command line finds wrong with words, None if nothing, and the arguments that it takes from them."""
    given: dict[str, Any] = {}
    command = typer.main.get_command(application())
    silence(command, lambda **arguments: given.update(arguments))
    try:
        command.main(words, "panoptic-blend", standalone_mode=False)
    except Exception as error:  # of the library within typer, which has no public name
        return str(getattr(error, "message", error)) or type(error).__name__, given
    return None, given


def silence(command: Any, instead: Callable[..., Any]) -> None:
    """Call ``instead`` where a command, or one within a group, would do its work."""
    for inner in getattr(command, "commands", {}).values():
        silence(inner, instead)
    if not hasattr(command, "commands"):
        command.callback = instead


def check_torchrun(command: Command, words: list[str]) -> None:
    found = get_args_parser().parse_args(words)
    script = Path(found.training_script)
    assert script.parent.name == "tools" and (ROOT / script).is_file(), f"{command}\n{script} does not exist"
    check_ours(command, [script.stem, *found.training_script_args])


def check_pip(command: Command, words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert words[0] == "install", command
    [what] = [word for word in words[1:] if not word.startswith("-")]
    found = re.fullmatch(r"(?:\.|panoptic-blend)(?:\[([\w,]+)\])?", what)
    assert found, f"{command}\n{what} is not this library"
    named = set((found[1] or "").split(",")) - {""}
    assert named <= extras.keys(), f"{command}\nthe extras are {', '.join(extras)}"


class ParsedError(BaseException):
    """Raised once an experiment's arguments are parsed, before it measures anything; no handler mistakes it."""


def check_experiment(command: Command, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    parse, start = argparse.ArgumentParser.parse_args, typer.run

    def parse_only(parser: argparse.ArgumentParser, *arguments: Any) -> None:
        parse(parser, *arguments)
        raise ParsedError

    def start_nothing(function: Callable[..., Any]) -> None:
        @wraps(function)
        def nothing(**_: Any) -> None:
            raise ParsedError

        start(nothing)

    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", words[1:])
        patched.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        patched.setattr(typer, "run", start_nothing)
        try:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        except ParsedError:
            return
        except SystemExit as error:
            raise AssertionError(f"{command}\nits arguments are refused") from error
    raise AssertionError(f"{command}\nit does not parse its arguments")


@pytest.mark.parametrize(
    "line",
    [
        "panoptic-blend pq TRUTH.json A.json --nothing",
        "panoptic-blend nothing",
        "panoptic-blend pq TRUTH.json",
        "panoptic-blend train demo/shapes_r18 train.lrr=1",
        "torchrun --nothing tools/train.py demo/shapes_r18",
        "torchrun tools/nothing.py demo/shapes_r18",
        "torchrun tools/train.py demo/shapes_r18 --nothing",
        "make nothing",
        "pip install '.[nothing]'",
        "pip install numpy",
        "python -m evaluation.speed --nothing",
        "python -m evaluation.precision --nothing",
        "python examples/nothing.py",
    ],
)
def test_a_wrong_command_is_found(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [command] = commands(Block("a.md", 7, "sh", line))
    with pytest.raises((AssertionError, SystemExit)):
        check(command, monkeypatch)


def test_a_command_that_no_test_knows_is_found(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with pytest.raises(AssertionError, match=r"^a\.md:8: .*\n.*'panoptic-blend demo': add it to ADDED"):
        run(Command("a.md", 8, ("panoptic-blend", "demo")), monkeypatch, capsys)
    with pytest.raises(AssertionError, match=r"^a\.md:7: 'curl x' starts with a program that no test knows"):
        list(commands(Block("a.md", 7, "sh", "curl x")))


def test_a_command_that_fails_is_found(world: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with pytest.raises(AssertionError, match=r"ended with 2 here(.|\n)*nowhere\.json"):
        run(Command("a.md", 1, ("panoptic-blend", "pq", "nowhere.json", "A.json")), monkeypatch, capsys)


def test_a_block_is_commands_and_comments_over_several_lines() -> None:
    text = "# first\n.venv/bin/panoptic-blend pq a.json \\\n  'b c.json' # last\n\nmake demo\n"
    assert list(commands(Block("a.md", 3, "sh", text))) == [
        Command("a.md", 4, ("panoptic-blend", "pq", "a.json", "b c.json")),
        Command("a.md", 7, ("make", "demo")),
    ]
    assert not list(commands(Block("a.md", 3, "text", "photo -> map\n")))


def test_quoted_output_is_held_against_what_was_printed() -> None:
    printed = "train: 7 pictures\n  bar  thing  12 segments 2.5%\nvoid: 0.1%\n"
    require_quoted(Block("a.md", 1, "output", "train: 198 pictures\n  ...\nvoid: 10.6%\n"), printed)
    with pytest.raises(AssertionError, match="val: 22 pictures"):
        require_quoted(Block("a.md", 1, "output", "val: 22 pictures\n"), printed)


CODE = [code for page in PAGES for code in code_in_sentences(page)]


def test_commands_in_sentences_exist_with_their_options() -> None:
    shown = [code for code in CODE if code.text.startswith("panoptic-blend ")]
    assert len(shown) > 10
    for code in shown:
        words = tuple(shlex.split(code.text))
        is_mention = name_of(words) == " ".join(words) and name_of(words) in ADDED
        if not is_mention:
            check_ours(code, list(words[1:]))


def test_extras_in_sentences_exist() -> None:
    installs = [code for code in CODE if code.text.startswith("pip install ")]
    assert len(installs) > 2
    for code in installs:
        words = tuple(shlex.split(code.text))
        check_pip(Command(code.page, code.line, words), list(words[1:]))


def test_options_in_sentences_exist() -> None:
    known = {"--help", *options(typer.main.get_command(application()))}
    for code in CODE:
        if code.text.startswith("--"):
            assert code.text.split()[0] in known, f"{code.page}:{code.line}: no command has the option {code.text}"


def options(command: Any) -> Iterator[str]:
    for inner in getattr(command, "commands", {}).values():
        yield from options(inner)
    for parameter in command.params:
        yield from [*parameter.opts, *parameter.secondary_opts]


def test_keys_of_the_config_in_sentences_exist() -> None:
    keys = [
        code
        for code in CODE
        if re.fullmatch(r"(model|data|train|test)(\.(?!yaml\b|onnx\b|xml\b|bin\b)\w+)+(=.*)?", code.text)
    ]
    assert len(keys) > 10
    for code in keys:
        found: Any = Config()
        for part in code.text.partition("=")[0].split("."):
            assert part in type(found).model_fields, f"{code.page}:{code.line}: the config has no {code.text}"
            found = getattr(found, part)


def test_names_of_configs_in_sentences_exist() -> None:
    names = [code for code in CODE if re.fullmatch(r"(panoptic|instance|ablation|demo)/\w+", code.text)]
    assert len(names) > 10
    for code in names:
        assert code.text in config_names(), f"{code.page}:{code.line}: no config {code.text}"


def test_every_config_but_ablations_is_in_a_table_under_its_folder() -> None:
    text = (ROOT / "docs/weights.md").read_text(encoding="utf-8")
    for folder in ("panoptic", "instance", "demo"):
        [table] = re.findall(rf"^\| `{folder}/` .*?\n\n", f"{text}\n\n", re.MULTILINE | re.DOTALL)
        listed = {f"{folder}/{name}" for name in re.findall(r"`(\w+)`", table)}
        assert listed == {name for name in config_names() if name.startswith(f"{folder}/")}


def test_files_of_the_repository_in_sentences_exist() -> None:
    for code in CODE:
        if re.fullmatch(r"[\w./-]+/[\w.-]+\.py|(tests|evaluation|tools|examples|docs)/[\w./-]*", code.text):
            places = [ROOT / code.text, ROOT / "panoptic_blend" / code.text]
            assert any(place.exists() for place in places), f"{code.page}:{code.line}: no file {code.text}"


def test_the_causes_of_errors_are_listed_in_the_order_in_which_they_are_tried() -> None:
    text = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    table = text.partition("\n| cause |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| ([a-z ]+?) \|", table, re.MULTILINE) == [cause.value for cause in Cause]
    text = (ROOT / "docs/instances.md").read_text(encoding="utf-8")
    table = text.partition("\n| cause | of a detection")[2].partition("\n\n")[0]
    assert re.findall(r"^\| ([a-z]+) \|", table, re.MULTILINE) == [cause.value for cause in InstanceCause]
