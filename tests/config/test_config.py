"""Options, their defaults, files, overrides and error messages, and the linear rule."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from panoptic_blend.config.experiment import Config, load_config, parse_config
from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.structures import PanopticBlendError

CONFIGS = Path(__file__).parents[2] / "configs"


def written(folder: Path, text: str, name: str = "it.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(path: str | Path, *overrides: str) -> str:
    """The one-line error message of a config that is refused."""
    with pytest.raises(PanopticBlendError) as error:
        load_config(path, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the options -----------------------------------------------------------------------------------------------------


def sections(options: type[BaseModel]) -> list[type[BaseModel]]:
    kinds = [field.annotation for field in options.model_fields.values()]
    nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [options, *(section for kind in nested for section in sections(kind))]


def test_defaults_are_those_of_the_official_3x_schedule() -> None:
    config = Config()
    assert (config.train.iterations, config.train.steps, config.train.batch_size) == (270000, (210000, 250000), 16)
    assert (config.train.lr, config.train.momentum, config.train.weight_decay) == (0.01, 0.9, 1e-4)
    assert (config.train.warmup_iterations, config.train.warmup_factor, config.train.gamma) == (1000, 0.001, 0.1)
    assert config.train.clip_norm is None
    fusion = config.model.fusion
    assert (fusion.confidence, fusion.overlap, fusion.stuff_area) == (0.2, 0.4, 4096)
    assert (config.test.short_side, config.test.long_side) == (800, 1333)


@pytest.mark.parametrize("section", sections(Config), ids=lambda section: section.__name__)
def test_every_option_has_its_meaning(section: type[BaseModel]) -> None:
    [body] = ast.parse(inspect.getsource(section)).body
    assert isinstance(body, ast.ClassDef)
    documented = {
        line.target.id
        for line, text in pairwise(body.body)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    assert set(section.model_fields) <= documented


@pytest.mark.parametrize("section", sections(Config), ids=lambda section: section.__name__)
def test_options_are_frozen_and_known(section: type[BaseModel]) -> None:
    assert section.model_config["extra"] == "forbid"
    options = section()
    with pytest.raises(ValidationError):
        setattr(options, next(iter(section.model_fields)), None)


def test_all_sections_were_found() -> None:
    assert len(sections(Config)) == 15


# --- files -----------------------------------------------------------------------------------------------------------


def test_every_config_loads() -> None:
    files = sorted(CONFIGS.rglob("*.yaml"))
    assert files
    assert config_names() == [str(path.relative_to(CONFIGS).with_suffix("")) for path in files]
    for path, name in zip(files, config_names(), strict=True):
        assert load_config(path) == load_config(name) == load_config(str(path))
        assert path.read_text().startswith("# "), f"{path} does not start with a comment that describes it"


def test_the_paper_is_the_default() -> None:
    own = ["train.weights=imagenet", "train.precision=32-true", "data.skip_empty=true"]
    expected = Config().changed(own)
    assert load_config("panoptic/blendmask_r50_3x") == expected


def test_empty_file_is_the_default(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")) == Config()
    assert load_config(written(tmp_path, "# nothing but a comment\n")) == Config()


def test_options_of_a_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "train:\n  lr: 0.5\n  steps: [1, 2]\nseed: 4\n"))
    assert (config.train.lr, config.train.steps, config.seed) == (0.5, (1, 2), 4)
    assert config.train.momentum == Config().train.momentum
    assert config.model == Config().model


@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "0.0001", "'1e-4'"])
def test_numbers_that_yaml_reads_as_text(tmp_path: Path, number: str) -> None:
    assert load_config(written(tmp_path, f"train: {{lr: {number}}}")).train.lr == 1e-4
    assert Config().changed([f"train.lr={number}"]).train.lr == 1e-4


def test_no_config_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused("panoptic/blendmask_r50_3") == (
        "no config 'panoptic/blendmask_r50_3'; did you mean panoptic/blendmask_r50_3x?"
    )
    assert refused("zzz") == "no config 'zzz'; give the path of a YAML file"
    assert refused(tmp_path).startswith("no config ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", "not a YAML table of options"),
        ("just text", "not a YAML table of options"),
        ("train: {lr: 1", "not valid YAML ("),
        ("a: b: c", "not valid YAML ("),
        ("!!python/object/apply:os.system ['true']", "not valid YAML ("),
        ("\x00", "not valid YAML ("),
        ("[]", "not a YAML table of options"),
        ("0", "not a YAML table of options"),
        ("1: 2", "not valid YAML (a key that is not a name; write it in quotes"),
        ("[1]: 2", "not valid YAML (a key that is not a name; write it in quotes"),
        ("on: 2", "not valid YAML (a key that is not a name; write it in quotes"),
        (
            "seed: 1\nseed: 2",
            'not valid YAML (`seed` a second time; join the two in "<unicode string>", line 2, column 1',
        ),
        ("train: {lr: 1, lr: 1}", "not valid YAML (`lr` a second time; join the two"),
        ("[" * 3000, "not valid YAML (it is nested too deeply); "),
        ("{a: " * 3000, "not valid YAML (it is nested too deeply); "),
        ("train: {lr: !!int abc}", "not valid YAML (a value that is not of the type in its !! tag)"),
        ("train: {lr: !!float zz}", "not valid YAML (a value that is not of the type in its !! tag"),
        ("train: {lr: !!bool maybe}", "not valid YAML (a value that is not of the type in its !! tag"),
        ("train: {lr: !!timestamp x}", "not valid YAML (a value that is not of the type in its !! tag"),
        ("train: {lr: !!binary ö}", "not valid YAML ("),
        ("train: {lr: !!python/name:os.system }", "not valid YAML ("),
        ("seed: 0x" + "f" * 4000, "not valid YAML (a whole number of more than 18 digits"),
        ("seed: " + "9" * 5000, "not valid YAML ("),
        ("seed: -9999999999999999999", "not valid YAML (a whole number of more than 18 digits"),
        (
            "modle.fcos.nms: 0.5",
            "unknown option `modle.fcos.nms`; options of a file are nested: did you mean `model: {fcos: {nms: 0.5}}`?",
        ),
        ("train.lr.x: 1", "unknown option `train.lr.x`; options of a file are nested: did you mean `train: {lr: 1}`?"),
        (
            "train: {steps.0: 1}",
            "unknown option `train.steps.0`; options of a file are nested: did you mean `train: {steps: 1}`?",
        ),
        (
            "model.fcos.size_limits.0: [3]",
            "unknown option `model.fcos.size_limits.0`; options of a file are nested: did you mean `model: {f",
        ),
        ("q.x: 1", "unknown option `q.x`; options of a file are nested: did you mean `"),
        ("'a\\nb': 1", "unknown option `a"),
    ],
)
def test_files_that_are_not_configs(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    assert refused(path).startswith(f"{path}: {message}")


@pytest.mark.parametrize(("first", "form"), [("[x]", "[{}]"), ("{x: 1}", "{{<<: [{}]}}")])
def test_aliases_that_multiply(tmp_path: Path, first: str, form: str) -> None:
    """Nine aliases of nine aliases of ...: 9 ** 9 leaves would fill any memory."""
    tables = [f"v0: &v0 {first}", *(f"v{n}: &v{n} {form.format(', '.join([f'*v{n - 1}'] * 9))}" for n in range(1, 10))]
    path = written(tmp_path, "\n".join([*tables, "data: {short_sides: [*v9]}"]))
    assert refused(path).startswith(f"{path}: option `data.short_sides.0` is ")
    assert len(refused(path)) < 1000


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "it.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert refused(path).startswith(f"{path}: ")
    path.write_bytes("data: {root: Köln}".encode("latin-1"))
    assert refused(path) == f"{path}: not UTF-8 text (at byte 14); save it as UTF-8"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_editors_write(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "it.yaml"
    path.write_bytes("data: {root: Köln}".encode(encoding))
    assert load_config(path).data.root == "Köln"


def test_text_that_yaml_reads_as_something_else() -> None:
    for value, text in (("2017", "2017"), ("no", "no"), ("yes", "yes"), ("1.5", "1.5")):
        assert refused("demo/shapes_r18", f"data.val={value}").endswith(
            f'as YAML reads it; write it in quotes: val: "{text}" in a file, \'data.val="{text}"\' on the command line'
        )
        assert load_config("demo/shapes_r18", [f'data.val="{text}"']).data.val == text


def test_paths_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config("demo/shapes_r18", ["data.root=~/coco", "train.weights=~/w.pth", "data.train=~a"])
    assert (config.data.root, config.train.weights) == (f"{tmp_path}/coco", f"{tmp_path}/w.pth")
    assert config.data.train == "~a"
    backbone = "model.backbone={kind: timm, name: convnext_tiny, depth: 50, pretrained: ~/w.pth}"
    assert Config().changed([backbone]).model.backbone.pretrained == f"{tmp_path}/w.pth"


def test_text_that_no_file_can_have_as_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, 'data: {root: "a\\0b"}')
    assert refused(path) == f"{path}: `data.root`: holds a NUL character; leave it out"
    assert "option `data.train` is" in refused("demo/shapes_r18", "data.train=" + "x" * 5000)


@pytest.mark.parametrize("section", sections(Config), ids=lambda section: section.__name__)
def test_every_number_has_a_limit(section: type[BaseModel]) -> None:
    """A file may not ask for a network that fills the memory, or for a number that overflows."""
    for name, schema in section.model_json_schema()["properties"].items():
        for kind in [schema, *schema.get("anyOf", []), schema.get("items", {})]:
            if kind.get("type") in ("integer", "number"):
                assert {"maximum", "exclusiveMaximum", "enum"} & kind.keys(), name
            if kind.get("type") in ("string", "array"):
                assert {"maxLength", "maxItems", "const", "enum"} & kind.keys(), name


# --- base ------------------------------------------------------------------------------------------------------------


def test_base_is_relative_and_may_have_a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "train: {lr: 0.1, momentum: 0.5}\nseed: 1\ndata: {short_sides: [32, 64, 96]}", "root.yaml")
    written(tmp_path, "base: ../root.yaml\ntrain: {lr: 0.2}\ndata: {short_sides: [99]}", "a/middle.yaml")
    leaf = written(tmp_path, "base: ../a/middle.yaml\nseed: 3", "b/leaf.yaml")
    monkeypatch.chdir("/")
    config = load_config(leaf)
    assert (config.train.lr, config.train.momentum, config.seed, config.data.short_sides) == (0.2, 0.5, 3, (99,))


@pytest.mark.parametrize("names", [["it.yaml"], ["it.yaml", "other.yaml"], ["it.yaml", "other.yaml", "third.yaml"]])
def test_circular_base(tmp_path: Path, names: list[str]) -> None:
    for name, base in zip(names, [*names[1:], names[0]], strict=True):
        written(tmp_path, f"base: {base}", name)
    assert refused(tmp_path / "it.yaml") == (
        f"{tmp_path / 'it.yaml'}: its `base:` leads back to itself; remove the circle"
    )


def test_missing_base(tmp_path: Path) -> None:
    assert refused(written(tmp_path, "base: nowhere.yaml")).startswith(f"{tmp_path / 'nowhere.yaml'}: no such file")
    for base in ("[1]", "5", "", "no", '"a\\0b"', '"\\ud800"'):
        path = written(tmp_path, f"base: {base}")
        assert refused(path) == f"{path}: its `base:` is not the path of a YAML file; write one, or leave it out"


def test_a_base_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, "seed: 7", "root.yaml")
    assert load_config(written(tmp_path, "base: ~/root.yaml", "a/it.yaml")).seed == 7


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: {}", "unknown option `trian`; did you mean `train`?"),
        ("train: {resolutoin: 1}", "unknown option `train.resolutoin`; known are iterations, batch_size, "),
        ("train: {iteration: 1}", "unknown option `train.iteration`; did you mean `iterations`?"),
        ("model: {fusion: {confidense: 1}}", "unknown option `model.fusion.confidense`; did you mean `confidence`?"),
        ("qqqq: 1", "unknown option `qqqq`; known are model, data, train, test, seed"),
        ("train: {lr: fast}", "option `train.lr` is 'fast': input should be a valid number"),
        ("train: {lr: 0}", "option `train.lr` is 0: input should be greater than 0"),
        ("train: {lr: [1]}", "option `train.lr` is [1]: input should be a valid number"),
        ("train: 3", "option `train` is 3: input should be a valid dictionary"),
        ("train:", "option `train` is None: input should be a valid dictionary"),
        ("train: {precision: 64}", "option `train.precision` is 64: input should be 'auto', '32-true'"),
        ("data: {short_sides: []}", "option `data.short_sides` is []: tuple should have at least 1 item"),
        ("data: {short_sides: [0]}", "option `data.short_sides.0` is 0: input should be greater than or equal to 32"),
        ("train: {lr: .inf}", "option `train.lr` is inf: input should be a finite number"),
        (
            "model: {backbone: {depth: 51}}",
            "option `model.backbone.depth` is 51: input should be 14, 18, 34, 50 or 101",
        ),
        ("model: {fpn: {channels: 100}}", "option `model.fpn.channels` is 100: input should be a multiple of 32"),
        ("model: {fusion: {overlap: 1.5}}", "option `model.fusion.overlap` is 1.5: input should be less than or equal"),
        ("model: {num_things: 255}", "option `model.num_things` is 255: input should be less than or equal to 254"),
        ("seed: 1.5", "option `seed` is 1.5: input should be a valid integer"),
        ("model: {bottom: {features: [p5, p3]}}", "`model.bottom`: features must be finest first, not p5, p3"),
        ("model: {bottom: {features: [p3, p3]}}", "`model.bottom`: features must be finest first, not p3, p3"),
        ("model: {fcos: {size_limits: [64, 64]}}", "`model.fcos`: size_limits must rise from level to level"),
        ("data: {jitter: [2, 1]}", "`data`: jitter is [lowest, highest] factor, not [2.0, 1.0]; swap them"),
        ("data: {jitter: [1, 2], crop: 0.5}", "`data`: jitter crops too, to one size; set crop=1, or jitter=null"),
        ("train: {partial: true}", "`train`: partial=true needs weights to load in part"),
        ("model: {bottom: {kind: deeplab}}", "`model.bottom`: kind deeplab reads two features, a fine and a coarse"),
        ("model: {backbone: {depth: 18, deformable_every: 3}}", "`model.backbone`: deformable_every needs the bottle"),
        ("model: {blender: {merge: assemble}}", "`model`: blender.merge=assemble needs bottom.num_bases = blender.att"),
        (
            "model: {bottom: {kind: shared}, semantic: {enabled: false}}",
            "`model`: bottom.kind=shared reads the semantic head; set semantic.enabled=true",
        ),
    ],
)
def test_mistakes_name_option_value_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    assert refused(path).startswith(f"{path}: {message}")


def test_parsed_options_name_their_source() -> None:
    with pytest.raises(PanopticBlendError, match=r"^run 7: unknown option `sead`; did you mean `seed`\?$"):
        parse_config({"sead": 1}, "run 7")
    with pytest.raises(PanopticBlendError, match="not a table of options"):
        parse_config([], "run 7")  # type: ignore[arg-type]


# --- overrides -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "read", "expected"),
    [
        ("train.lr=0.02", lambda c: c.train.lr, 0.02),
        ("model.fusion.stuff_area=0", lambda c: c.model.fusion.stuff_area, 0),
        ("data.short_sides=[480, 512]", lambda c: c.data.short_sides, (480, 512)),
        ("data.root=/a=b", lambda c: c.data.root, "/a=b"),
        ("data.root=null", lambda c: c.data.root, None),
        ("data.root=", lambda c: c.data.root, None),
        ("train.clip_norm=10", lambda c: c.train.clip_norm, 10),
        ("train.precision=bf16-mixed", lambda c: c.train.precision, "bf16-mixed"),
        ("model.backbone={depth: 18, norm: gn}", lambda c: (c.model.backbone.depth, c.model.backbone.norm), (18, "gn")),
        ("seed=7", lambda c: c.seed, 7),
    ],
)
def test_overrides(override: str, read: Any, expected: object) -> None:
    assert read(Config().changed([override])) == expected
    assert read(load_config("panoptic/blendmask_r50_3x", [override])) == expected


def test_later_overrides_win_and_leave_the_rest() -> None:
    config = load_config("demo/shapes_r18", ["train.lr=1", "train.lr=2", "model.backbone={norm: gn}"])
    assert config.train.lr == 2
    assert (config.model.backbone.norm, config.model.backbone.depth) == ("gn", 18)
    assert config.train.optimizer == load_config("demo/shapes_r18").train.optimizer == "adamw"


def test_no_overrides() -> None:
    config = Config(seed=9)
    assert config.changed([]) == config
    assert config.changed(iter([])) == config


def test_changed_leaves_the_original() -> None:
    config = Config(seed=9)
    assert config.changed(["train.lr=1"]).seed == 9
    assert config == Config(seed=9)


@pytest.mark.parametrize("override", ["train.lr", "=3", "", "="])
def test_overrides_without_key_or_value(override: str) -> None:
    assert refused("demo/shapes_r18", override) == f"{override!r}: not an override; write key=value, like train.lr=0.02"


def test_mistakes_in_overrides() -> None:
    with pytest.raises(PanopticBlendError, match=r"^train.iteration=3: unknown option `train.iteration`; did you mean"):
        Config().changed(["train.iteration=3"])
    assert "unknown option `train.iteration`" in refused("demo/shapes_r18", "train.iteration=3")
    assert "option `seed` is {'x': 1}: " in refused("demo/shapes_r18", "seed.x=1")
    assert refused("demo/shapes_r18", "train.steps=[1").startswith("train.steps=[1: not valid YAML (")


def test_a_config_survives_json() -> None:
    config = load_config("demo/shapes_r18", ["train.clip_norm=3", "data.root=/x"])
    assert Config.model_validate_json(config.model_dump_json()) == config


# --- the linear rule -------------------------------------------------------------------------------------------------


def test_another_batch_size_rescales_the_schedule_and_says_so() -> None:
    config = load_config("panoptic/blendmask_r50_3x", ["train.batch_size=4"])
    train = config.train
    assert (train.lr, train.iterations, train.warmup_iterations) == (0.0025, 1080000, 4000)
    assert (train.steps, train.checkpoint_every, train.evaluate_every) == ((840000, 1000000), 20000, 120000)
    assert train.log_every == 20
    [note] = config.notes
    assert note.startswith("batch_size 16 -> 4: lr 0.01 -> 0.0025, steps [210000, 250000] -> [840000, 1000000], ")
    assert config.changed(["seed=1"]).notes == (note,)


def test_the_decay_of_an_average_follows_the_batch_size() -> None:
    """Half of the batch needs two updates for what was one, so the decay of one is the square root."""
    averaged = load_config("demo/shapes_r18", ["train.ema=0.81"])
    assert averaged.changed(["train.batch_size=4"]).train.ema == pytest.approx(0.9)
    assert averaged.changed(["train.batch_size=4", "train.ema=0.5"]).train.ema == 0.5


def test_options_set_with_the_batch_size_are_not_rescaled() -> None:
    changes = ["train.lr=0.01", "train.batch_size=32", "train.iterations=10", "train.steps=[7]"]
    train = load_config("panoptic/blendmask_r50_3x", changes).train
    assert (train.lr, train.iterations, train.steps, train.warmup_iterations) == (0.01, 10, (7,), 500)
    config = load_config("panoptic/blendmask_r50_3x", ["train.batch_size=4", "train.rescale=false"])
    assert (config.train.lr, config.train.iterations, config.notes) == (0.01, 270000, ())


def test_a_config_that_changes_its_bases_batch_follows_the_rule(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("train: {lr: 0.02, iterations: 100, evaluate_every: 0, steps: []}")
    (tmp_path / "small.yaml").write_text("base: base.yaml\ntrain: {batch_size: 8, warmup_iterations: 5}")
    train = load_config(tmp_path / "small.yaml").train
    assert (train.lr, train.iterations, train.warmup_iterations, train.evaluate_every) == (0.01, 200, 5, 0)


def test_other_iterations_alone_stretch_the_schedule_and_say_so() -> None:
    """The demo has 1800 iterations, 100 of warm-up, steps at 1450 and 1680, and a checkpoint every 500."""
    config = load_config("demo/shapes_r18", ["train.iterations=100", "train.rescale=false"])
    train = config.train
    assert (train.iterations, train.warmup_iterations, train.steps, train.checkpoint_every) == (100, 5, (81, 94), 28)
    assert (train.lr, train.evaluate_every, train.log_every) == (0.003, 0, 20)
    assert config.notes == (
        "iterations 1800 -> 100: steps [1450, 1680] -> [81, 94], checkpoint_every 500 -> 28, "
        "warmup_iterations 100 -> 5 in proportion; state train.steps too to keep them",
    )


@pytest.mark.parametrize("iterations", [*range(1, 40), 270_000, 10**7])
def test_a_stretched_warmup_never_reaches_a_step(iterations: int) -> None:
    train = load_config("panoptic/blendmask_r50_3x", [f"train.iterations={iterations}"]).train
    assert train.warmup_iterations < min(train.steps)
    assert train.warmup_iterations < iterations


def test_what_is_stated_beside_the_iterations_stays() -> None:
    stated = ["train.iterations=100", "train.warmup_iterations=7", "train.evaluate_every=50"]
    train = load_config("panoptic/blendmask_r50_3x", stated).train
    assert (train.warmup_iterations, train.evaluate_every, train.steps) == (7, 50, (78, 93))
    config = load_config("demo/shapes_r18", ["train.iterations=100", "train.steps=[70]"])
    assert (config.train.warmup_iterations, config.notes) == (100, ())
    for unchanged in ("train.iterations=0", "train.iterations=1800"):
        config = load_config("demo/shapes_r18", [unchanged])
        assert (config.train.warmup_iterations, config.train.steps, config.notes) == (100, (1450, 1680), ())


def test_a_cosine_replaces_the_steps_of_the_config_below_and_is_stretched(tmp_path: Path) -> None:
    config = load_config("demo/shapes_r18", ["train.schedule=cosine", "train.iterations=180"])
    assert (config.train.steps, config.train.warmup_iterations, config.train.checkpoint_every) == ((), 10, 50)
    assert config.notes == (
        "iterations 1800 -> 180: checkpoint_every 500 -> 50, warmup_iterations 100 -> 10 in proportion; "
        "state them too to keep them",
    )
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(tmp_path / "run.yaml").train == config.train
    assert config.changed(["train.schedule=steps", "train.steps=[90]"]).train.steps == (90,)
    (tmp_path / "alone.yaml").write_text("train: {schedule: cosine, iterations: 100, warmup_iterations: 10}")
    train = load_config(tmp_path / "alone.yaml", ["train.iterations=50", "train.batch_size=8"]).train
    assert (train.steps, train.warmup_iterations, train.lr) == ((), 5, 0.005)


@pytest.mark.parametrize("stated", ["steps=[7]", "gamma=0.5"])
def test_a_cosine_refuses_options_of_steps(stated: str, refused: Callable[..., str]) -> None:
    message = f"`train`: {stated} has no effect with schedule=cosine; leave it out"
    changes = ["train.schedule=cosine", f"train.{stated}"]
    assert refused(load_config, "demo/shapes_r18", changes).endswith(message)
    config = load_config("demo/shapes_r18", changes[:1])
    assert refused(config.changed, changes[1:]).endswith(message)


def test_batch_size_and_iterations_together() -> None:
    """The rate follows the batch, all else the iterations, which are stated."""
    config = load_config("demo/shapes_r18", ["train.batch_size=4", "train.iterations=180"])
    assert (config.train.lr, config.train.steps, config.train.warmup_iterations) == (0.0015, (145, 168), 10)
    assert [note.split(":")[0] for note in config.notes] == ["batch_size 8 -> 4", "iterations 1800 -> 180"]


@pytest.mark.parametrize(
    "options",
    [
        "train: 3",
        "train: {batch_size: many}",
        "train: {lr: x, batch_size: 4}",
        "train: {iterations: many}",
        "train: {steps: 3, iterations: 4}",
        f"train: {{warmup_iterations: x, iterations: {10**400}, batch_size: 4}}",
    ],
)
def test_values_that_are_not_numbers_are_refused_by_name(tmp_path: Path, options: str) -> None:
    (tmp_path / "base.yaml").write_text("train: {batch_size: 8}")
    (tmp_path / "broken.yaml").write_text(f"base: base.yaml\n{options}")
    with pytest.raises(PanopticBlendError, match=r"option `train|a whole number of more than 18"):
        load_config(tmp_path / "broken.yaml")


def test_overrides_are_a_list() -> None:
    override = "model.num_things=3"
    expected = f"'{override}': overrides are a list; give ['{override}']"
    with pytest.raises(PanopticBlendError) as error:
        load_config("demo/shapes_r18", override)
    assert str(error.value) == expected
