"""Drawings of panoptic maps, boxes, bases and attentions: their pixels, and unusual input."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from panoptic_blend.drawing import figures
from panoptic_blend.drawing.figures import (
    CELL,
    DARK,
    DIVERGING,
    GAP,
    LIGHT,
    PAPER,
    SEQUENTIAL,
    Canvas,
    Color,
    draw_attentions,
    draw_bases,
    is_drawable,
    side_by_side,
    stack,
    text_mask,
)
from panoptic_blend.drawing.overlay import category_color, draw, draw_boxes, enlarge, instance_color
from panoptic_blend.formats.images import Picture
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment

GRAY = 100


def gray(height: int, width: int) -> Picture:
    return np.full((height, width, 3), GRAY, np.uint8)


def segment(id: int, category: int, is_thing: bool, score: float | None = None, is_crowd: bool = False) -> Segment:
    return Segment(id, category, is_thing, score, area=0, box=None, is_crowd=is_crowd)


def square_map(*segments: Segment, size: int = 60) -> PanopticMap:
    """The first segment in a square of 20 pixels at (20, 20), the others in rows below it, void around."""
    ids = np.zeros((size, size), np.int32)
    for row, one in enumerate(segments):
        ids[20 + 20 * row : 40 + 20 * row, 20:40] = one.id
    return PanopticMap(ids, list(segments))


def full_map(one: Segment, height: int, width: int) -> PanopticMap:
    return PanopticMap(np.full((height, width), one.id, np.int32), [one])


def changed(one: Picture, other: Picture) -> npt.NDArray[np.intp]:
    """Rows and columns of the pixels that differ."""
    return np.argwhere((one != other).any(axis=2))


def test_draw_returns_a_new_picture_of_the_same_size() -> None:
    image, panoptic_map = gray(60, 90), full_map(segment(7, 1, True, 0.9), 60, 90)
    picture = draw(image, panoptic_map)
    assert picture.shape == (60, 90, 3)
    assert picture.dtype == np.uint8
    assert (image == GRAY).all()
    assert (panoptic_map.segment_ids == 7).all()
    assert (draw(image, panoptic_map) == picture).all()


def test_stuff_has_a_flat_color() -> None:
    categories = [Category(5, "sea", False, (200, 100, 0))]
    picture = draw(gray(60, 60), square_map(segment(3, 5, False)), categories)
    assert (picture[20:40, 20:40] == (142, 100, 58)).all()  # 42 % of the color and 58 % of 100


def test_things_have_an_outline() -> None:
    square = draw(gray(60, 60), square_map(segment(3, 5, True)))[20:40, 20:40].astype(int)
    edge = np.concatenate([square[0], square[-1], square[:, 0], square[:, -1]])
    assert (edge == edge[0]).all()
    assert (square[3:-3, 3:-3] == square[10, 10]).all()
    assert (edge[0] > square[10, 10]).all()  # a lighter tint


def test_a_category_keeps_its_color_in_every_picture() -> None:
    assert [category_color(i) for i in (0, 1, 2, 200)] == [(204, 51, 51), (92, 214, 128), (118, 43, 171), (43, 171, 89)]
    first = draw(gray(60, 60), square_map(segment(3, 5, False)))
    second = draw(gray(60, 60), square_map(segment(900, 6, False), segment(901, 5, False)))
    assert (first[30, 30] == second[50, 30]).all()
    assert (first[30, 30] != second[30, 30]).any()


@pytest.mark.parametrize("base", [(220, 20, 60), (0, 0, 142), (255, 255, 255), (0, 0, 0), (128, 128, 128)])
def test_instances_have_different_shades(base: Color) -> None:
    shades = [instance_color(base, index) for index in range(12)]
    assert shades[0] == base
    assert min(np.abs(np.subtract(a, b)).max() for a, b in itertools.combinations(shades, 2)) >= 5
    assert np.abs(np.subtract(shades[0], shades[1])).max() >= 40


def test_instances_of_things_have_different_colors_and_stuff_has_not() -> None:
    things = draw(gray(60, 60), square_map(segment(1, 5, True), segment(2, 5, True)))
    stuff = draw(gray(60, 60), square_map(segment(1, 5, False), segment(2, 5, False)))
    assert (things[30, 30] != things[50, 30]).any()
    assert (stuff[30, 30] == stuff[50, 30]).all()


def test_without_shades_all_instances_have_the_color_of_their_class() -> None:
    alone = draw(gray(60, 60), square_map(segment(1, 5, True)), shades=False)
    second = draw(gray(60, 60), square_map(segment(2, 5, True), segment(1, 5, True)), shades=False)
    assert (alone[30, 30] == second[30, 30]).all()
    assert (alone[30, 30] == second[50, 30]).all()


def test_void_is_dark_and_hatched() -> None:
    picture = draw(gray(60, 60), PanopticMap(np.zeros((60, 60), np.int32), []))
    assert picture.mean() < 0.85 * GRAY
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1
    unlisted = PanopticMap(np.full((60, 60), 12, np.int32), [])
    assert (draw(gray(60, 60), unlisted) == picture).all()
    with_segment = draw(gray(60, 60), square_map(segment(1, 5, False)))
    assert (with_segment[:20] == picture[:20]).all()
    assert len(changed(with_segment, picture)) == 400


def test_crowds_are_hatched_without_outline() -> None:
    square = draw(gray(60, 60), square_map(segment(1, 5, True, is_crowd=True)))[20:40, 20:40]
    assert (square[:12, :12] == square[8:, 8:]).all()  # the stripes repeat every 8 pixels, and there is no outline
    assert len(np.unique(square.reshape(-1, 3), axis=0)) > 1


@pytest.mark.parametrize("is_thing", [True, False])
def test_labels_lie_inside_their_segment(is_thing: bool) -> None:
    ids = np.zeros((200, 300), np.int32)
    ids[50:150, 150:] = 4  # runs into the right edge
    panoptic_map = PanopticMap(ids, [segment(4, 5, is_thing)])
    names = [[Category(5, name, is_thing, (90, 90, 90))] for name in ("boat", "coat")]
    where = changed(*(draw(gray(200, 300), panoptic_map, categories) for categories in names))
    assert len(where)
    assert (where.min(axis=0) >= (50, 150)).all()
    assert (where.max(axis=0) < (150, 300)).all()
    nameless = draw(gray(200, 300), panoptic_map), draw(gray(200, 300), panoptic_map, names[0])
    assert len(changed(*nameless))


def test_labels_show_scores_and_do_not_overlap() -> None:
    def drawn(scores: tuple[float | None, float | None]) -> Picture:
        ids = np.ones((80, 160), np.int32)
        ids[40:] = 2
        return draw(
            gray(80, 160), PanopticMap(ids, [segment(i, 5, True, score) for i, score in enumerate(scores, start=1)])
        )

    plain = drawn((None, None))
    first, second = changed(plain, drawn((0.5, None))), changed(plain, drawn((None, 0.5)))
    assert first.size
    assert second.size
    assert first[:, 0].max() < second[:, 0].min()


def test_labels_that_do_not_fit_are_left_out() -> None:
    small = square_map(segment(1, 5, True, 0.5))
    names = [[Category(5, name, True, (9, 9, 9))] for name in ("elephant", "dog")]
    assert not changed(draw(gray(60, 60), small, names[0]), draw(gray(60, 60), small, names[1])).size
    whole = full_map(segment(1, 5, True, 0.5), 128, 128)
    labeled = changed(
        draw(gray(128, 128), whole, names[0]), draw(gray(128, 128), whole, [Category(5, "", True, (9, 9, 9))])
    )
    assert 0 < len(labeled) < 128 * 128 / 3


@pytest.mark.parametrize("name", ["Müllabfuhr", "猫", "🐎", "a\nb", "\x00", "", "%s", "x" * 5000])
def test_any_category_name_can_be_drawn(name: str) -> None:
    picture = draw(gray(100, 200), full_map(segment(1, 5, True, 0.5), 100, 200), [Category(5, name, True)])
    assert picture.shape == (100, 200, 3)


needs_fonts = pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV 4 has no font beyond ASCII")


@pytest.fixture
def only_ascii(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Draw text as with OpenCV 4."""
    monkeypatch.setattr(figures, "_FACE", None)
    caches = figures.text_mask, figures._is_drawable
    for one in caches:
        one.cache_clear()
    yield
    for one in caches:
        one.cache_clear()


def same(one: Canvas, other: Canvas) -> bool:
    return one.shape == other.shape and bool((one == other).all())


@needs_fonts
def test_names_beyond_ascii_are_drawn() -> None:
    cups = ["杯子", "盘子", "??", "Straße", "Stra?e", "Strasse", "чашка", "κούπα", "é", "e", "كأس"]
    masks = [text_mask(name, 24) for name in cups]
    assert not any(same(*pair) for pair in itertools.combinations(masks, 2))
    assert all(is_drawable(name) for name in cups)
    assert same(text_mask("é", 24), text_mask("e\u0301", 24))


@pytest.mark.usefixtures("only_ascii")
def test_without_fonts_accents_are_dropped_and_names_have_their_ids() -> None:
    assert same(text_mask("é", 12), text_mask("e", 12))
    assert same(text_mask("猫", 12), text_mask("?", 12))
    assert is_drawable("cup ~?") and not is_drawable("Müller")


@pytest.mark.parametrize("names", [("कप", "थाल"), ("😀", "😎")])
def test_classes_that_cannot_be_drawn_are_told_apart(names: tuple[str, str]) -> None:
    drawn = []
    for id, name in enumerate(names, start=7):
        assert not is_drawable(name)
        one = full_map(segment(1, id, True), 100, 200)
        drawn.append(draw(gray(100, 200), one, [Category(id, name, True, (9, 9, 9))]))
    assert changed(*drawn).size


def test_characters_that_cannot_be_drawn_are_replaced() -> None:
    assert same(text_mask("क\n", 12), text_mask("??", 12))
    assert text_mask("a", 12).shape[0] == 12
    assert 0.5 < text_mask("a", 12).max() <= 1


@pytest.mark.parametrize("category", [10**15, 2**31 - 1, 0, -1])
def test_any_category_id_can_be_drawn(category: int) -> None:
    picture = draw(gray(100, 300), full_map(segment(2**24 - 1, category, True, 0.5), 100, 300))
    assert changed(picture, gray(100, 300)).size


@pytest.mark.parametrize("is_thing", [True, False])
def test_one_pixel(is_thing: bool) -> None:
    assert draw(gray(1, 1), full_map(segment(1, 5, is_thing, 0.5), 1, 1)).shape == (1, 1, 3)
    assert draw(gray(1, 1), PanopticMap(np.zeros((1, 1), np.int32), [segment(1, 5, is_thing)])).shape == (1, 1, 3)
    assert draw_boxes(gray(1, 1), np.array([[0, 0, 1, 1]]), ["x"]).shape == (1, 1, 3)


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(PanopticBlendError, match=r"the image has 60 x 90 pixels, its panoptic map 90 x 60"):
        draw(gray(60, 90), full_map(segment(1, 5, True), 90, 60))


@pytest.mark.parametrize("image", [np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8)])
def test_arrays_that_are_not_pictures_are_refused(image: Picture) -> None:
    message = r"the picture is \w+ of shape .*; give an RGB array \(H, W, 3\) of uint8"
    with pytest.raises(PanopticBlendError, match=message):
        draw(image, full_map(segment(1, 5, True), 9, 9))
    with pytest.raises(PanopticBlendError, match=message):
        draw_boxes(image, np.zeros((0, 4)), [])
    with pytest.raises(PanopticBlendError, match=message):
        side_by_side([image], ["x"])
    with pytest.raises(PanopticBlendError, match=message):
        draw_bases(image, np.zeros((1, 2, 2)))


def test_boxes() -> None:
    image = gray(60, 60)
    boxes = np.array([[20.0, 30.0, 40.0, 50.0], [-9.0, -9.0, 500.0, 500.0], [200.0, 200.0, 300.0, 300.0]])
    picture = draw_boxes(image, boxes, ["a", "ü", "far"], [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert (picture[40, [20, 39]] == (255, 0, 0)).all()
    assert (picture[49, 25:35] == (255, 0, 0)).all()
    assert (picture[40, 30] == GRAY).all()
    assert not (picture == (0, 0, 255)).all(axis=2).any()
    assert (image == GRAY).all()
    assert (draw_boxes(image, np.zeros((0, 4)), []) == image).all()
    with pytest.raises(ValueError, match="shorter"):
        draw_boxes(image, boxes, ["a", "b"])


def test_enlarge() -> None:
    ids = np.array([[1, 1, 0], [1, 1, 2]], np.int32)
    segments = [Segment(1, 5, True, 0.5, 4, (0, 0, 2, 2)), Segment(2, 6, False, None, 1, None)]
    image, large = enlarge(gray(2, 3), PanopticMap(ids, segments), 3)
    assert image.shape == (6, 9, 3)
    assert (image == GRAY).all()
    assert large.segment_ids.dtype == np.int32
    assert (large.segment_ids[::3, ::3] == ids).all()
    assert [(large.segment_ids == i).sum() for i in (1, 2)] == [36, 9]
    assert [(s.area, s.box) for s in large.segments] == [(36, (0, 0, 6, 6)), (9, None)]


def test_side_by_side_and_stack() -> None:
    row = side_by_side([gray(20, 30), gray(40, 50)], ["photo", "a title that is too long"])
    strip = row.shape[0] - 40
    assert row.shape == (40 + strip, 30 + GAP + 50, 3)
    assert (row[strip : strip + 20, :30] == GRAY).all()
    assert (row[strip:, 30 + GAP :] == GRAY).all()
    assert (row[strip + 20 :, :30] == 255).all()
    assert (row[:, 30 : 30 + GAP] == 255).all()
    assert row[:strip, :30].min() < 100  # the caption
    large = side_by_side([gray(20, 30)], [""], scale=3)
    assert (large[-60:] == GRAY).all()
    assert large.shape[1] == 90
    both = stack([row, gray(10, 20)])
    assert both.shape == (row.shape[0] + GAP + 10, 86, 3)
    assert (both[-10:, :20] == GRAY).all()
    assert (both[-10:, 20:] == 255).all()


def test_bases_have_a_common_scale_around_zero() -> None:
    bases = np.array([0.0, 2.0, -1.0])[:, None, None] * np.ones((3, 4, 5))
    row = draw_bases(gray(40, 50), bases)
    assert row.shape[1] == 4 * 50 + 3 * GAP
    centers = row[-20, 25 :: 50 + GAP]
    assert (centers == [(GRAY,) * 3, DIVERGING[2], DIVERGING[4], DIVERGING[1]]).all()
    assert (draw_bases(gray(40, 50), np.zeros((1, 4, 5)))[-20, -25] == DIVERGING[2]).all()


def center(picture: Picture, row: int, column: int) -> Picture:
    """The center pixel of a cell of `draw_attentions`."""
    strip = picture.shape[0] - CELL if picture.shape[0] < 2 * CELL else (picture.shape[0] - 2 * CELL - GAP) // 2
    y, x = row * (strip + CELL + GAP) + strip + CELL // 2, column * (CELL + GAP) + CELL // 2
    return np.asarray(picture[y, x], np.uint8)


def test_attentions() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    masks = np.zeros((2, 40, 60), bool)
    masks[0] = True
    attentions = np.zeros((2, 2, 7, 7))
    attentions[1, 0] = 50.0
    boxes = np.array([[35.0, 5.0, 55.0, 25.0], [-60.0, 0.0, 20.0, 40.0]])
    bases = np.stack([np.full((10, 15), 3.0), np.full((10, 15), -3.0)])
    picture = draw_attentions(image, boxes, attentions, masks, bases, ["a", "b"])
    assert picture.shape[1] == 6 * CELL + 5 * GAP
    cells = [[tuple(center(picture, row, column).tolist()) for column in range(6)] for row in range(2)]
    even, most, least = (tuple(SEQUENTIAL[step].tolist()) for step in (128, 255, 0))
    red, blue = (tuple(DIVERGING[step].tolist()) for step in (4, 0))
    assert cells[0] == [(200, 200, 200), even, red, even, blue, LIGHT]
    assert cells[1] == [PAPER, most, PAPER, least, PAPER, DARK]  # the center of the second box is outside the photo


@pytest.mark.parametrize(
    "box",
    [(5, 5, 6, 6), (5, 5, 5, 5), (3.2, 0, 4.1, 20), (-500, -300, 900, 700), (99, 99, 120, 130), (0, 0, 1e5, 2)],
)
def test_attentions_of_unusual_boxes(box: tuple[float, ...]) -> None:
    masks = np.ones((1, 20, 30), bool)
    picture = draw_attentions(gray(20, 30), np.array([box]), np.ones((1, 1, 4, 4)), masks, np.ones((1, 5, 8)), ["x"])
    assert picture.shape[1] == 4 * CELL + 3 * GAP
    assert picture.dtype == np.uint8


def test_a_single_basis_is_weighted_by_the_sigmoid() -> None:
    box, masks = np.array([[0.0, 0.0, 20.0, 20.0]]), np.zeros((1, 20, 20), bool)
    picture = draw_attentions(gray(20, 20), box, np.zeros((1, 1, 4, 4)), masks, np.ones((1, 5, 5)), ["x"])
    assert (center(picture, 0, 1) == SEQUENTIAL[128]).all()


def test_no_detections() -> None:
    nothing = np.zeros((0, 4)), np.zeros((0, 3, 7, 7)), np.zeros((0, 20, 30), bool)
    picture = draw_attentions(gray(20, 30), *nothing, np.ones((3, 5, 8)), [])
    assert picture.ndim == 3
    assert picture.min() < 100  # the text "no detections"
