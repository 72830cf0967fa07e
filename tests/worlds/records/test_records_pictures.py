"""Pictures of records: what cannot be used is refused before it is decoded, what can is shown at one size."""

from __future__ import annotations

import os
import struct
import time
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from editenv.pictures import MAX_CHUNKS, MAX_FRAMES, MAX_SCANS
from editenv.records import read_sessions_file
from editenv.worlds.records.pictures import MARGIN, fit_picture, load_picture, picture_size
from editenv.worlds.records.world import LARGEST_CANVAS, RecordsWorld, open_sessions
from tests.worlds.records.broken import chunk, png
from tests.worlds.records.handmade import SINGLE, SIZES, draw_pictures, records, write_lines

NAME = SINGLE["image"]


def refused(folder, record):
    """The message with which the second line's picture is refused, less file and line."""
    path = write_lines(folder, [SINGLE, record])
    with pytest.raises(ValueError) as error:
        world = open_sessions(path)
        world.picture(world.session("train", 0, 1))
    start = f"{path}, line 2: key 'image': "
    assert str(error.value).startswith(start)
    return str(error.value).removeprefix(start)


def empty_png(side):
    """A PNG whose head promises side x side pixels and whose data holds none."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_unusable_pictures_name_line_and_key(folder):
    bad = SINGLE | {"image": "bad.png"}
    assert "'bad.png' is no file in" in refused(folder, bad)
    assert "is no file in" in refused(folder, SINGLE | {"image": "source_image"})
    (folder / "bad.png").write_bytes(b"")
    assert "'bad.png' is no picture that can be used" in refused(folder, bad)
    (folder / "bad.png").write_bytes(b"<html>not found</html>")
    assert "'bad.png' is no picture that can be used" in refused(folder, bad)
    whole = (folder / NAME).read_bytes()
    (folder / "bad.png").write_bytes(whole[: len(whole) - 40])
    assert "'bad.png' is no picture that can be used" in refused(folder, bad)
    (folder / "bad.png").write_bytes(empty_png(5_000))
    assert "it has 5000 x 5000 pixels, expected 16777216 at most" in refused(folder, bad)
    (folder / "bad.png").write_bytes(empty_png(100_000))
    assert "pixels" in refused(folder, bad)
    Image.new("I;16", (8, 8)).save(folder / "bad.png")
    assert "it has mode I;16, expected 8 bits a channel" in refused(folder, bad)
    Image.new("RGB", (8, 8)).save(folder / "bad.png", format="GIF")
    assert "is no picture that can be used" in refused(folder, bad)


def test_links_may_not_lead_out_of_the_folder(folder):
    inner = folder / "inner"
    draw_pictures(inner)
    os.symlink(folder / NAME, inner / "out.png")
    os.symlink(folder, inner / "up")
    os.symlink(inner / NAME, inner / "within.png")
    for name in ("out.png", f"up/{NAME}"):
        assert "lies outside" in refused(inner, SINGLE | {"image": name})
    world = open_sessions(write_lines(inner, [SINGLE | {"image": "within.png"}]))
    assert world.picture(world.session("train", 0, 0)).shape == (32, 32, 3)


def test_the_pixel_limit_holds_before_anything_is_decoded(folder):
    assert load_picture(folder, NAME, max_pixels=32 * 32).shape == (32, 32, 3)
    for reader in (load_picture, picture_size):
        with pytest.raises(ValueError, match="it has 32 x 32 pixels, expected 1023 at most"):
            reader(folder, NAME, max_pixels=1023)


def test_photographs_stand_upright_and_what_is_transparent_is_white(tmp_path):
    side = Image.new("RGB", (8, 4), (0, 0, 0))
    side.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the top left corner becomes the top right one
    side.save(tmp_path / "side.png", exif=exif)
    assert picture_size(tmp_path, "side.png") == (8, 4)
    upright = load_picture(tmp_path, "side.png")
    assert upright.shape == (8, 4, 3) and upright[0, 3].tolist() == [255, 0, 0]
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    clear.putpixel((1, 0), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    assert load_picture(tmp_path, "clear.png").tolist() == [[[255, 0, 0], [255, 255, 255]]]


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@given(st.data())
def test_a_damaged_photograph_is_shown_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    whole = photograph(folder)
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + data.draw(st.integers(0, 4)) :]
    (folder / "damaged").write_bytes(damaged)
    try:
        size = picture_size(folder, "damaged")
        shown = load_picture(folder, "damaged", max_pixels=1 << 20)
    except ValueError as error:
        assert "'damaged' is no picture that can be used: " in str(error)
        return
    assert shown.dtype == np.uint8 and shown.shape == (*size, 3)


def photograph(folder):
    """The bytes of a turned JPEG with EXIF data."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 8, "a camera"
    pixels = (np.arange(16 * 24 * 3) * 37 % 256).astype(np.uint8).reshape(16, 24, 3)
    Image.fromarray(pixels).save(folder / "whole.jpg", exif=exif)
    return (folder / "whole.jpg").read_bytes()


def test_fitting_keeps_the_whole_picture_and_pads_with_grey():
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 20:] = 255
    shown = fit_picture(wide, (20, 20))
    assert shown.shape == (20, 20, 3)
    # 40 x 10 becomes 20 x 5, which leaves 7 rows above and 8 below.
    assert (shown[:7] == MARGIN).all() and (shown[12:] == MARGIN).all()
    assert (shown[7:12, :7] == 0).all() and (shown[7:12, 13:] == 255).all()
    assert fit_picture(wide, (80, 80))[30:50, :30].max() == 0
    assert np.array_equal(fit_picture(wide[:, :10], (10, 10)), wide[:, :10])
    assert fit_picture(np.zeros((1, 300, 3), np.uint8), (8, 8)).shape == (8, 8, 3)


def test_pictures_alike_are_shown_as_they_are(tmp_path):
    draw_pictures(tmp_path, dict.fromkeys(SIZES, (30, 20)))
    file = read_sessions_file(write_lines(tmp_path, records()))
    world = RecordsWorld(file)
    assert world.image_shape == (20, 30, 3)
    spec = world.session("test", 3, 2)
    assert np.array_equal(world.picture(spec), np.array(Image.open(tmp_path / NAME)))
    assert RecordsWorld(file, size=16).picture(spec).shape == (16, 16, 3)
    Image.new("RGB", (31, 20)).save(tmp_path / NAME)
    with pytest.raises(ValueError, match=r"line 3: key 'image': shape is \(20, 31, 3\), was \(20, 30, 3\)"):
        world.picture(spec)


def test_pictures_of_several_sizes_share_a_square_canvas(folder):
    file = read_sessions_file(write_lines(folder, records()))
    world = RecordsWorld(file)
    assert world.image_shape == (60, 60, 3)
    for index in range(3):
        assert world.picture(world.session("train", 0, index)).shape == (60, 60, 3)
    assert world.picture(world.session("train", 0, 0))[0, 0].tolist() == list(MARGIN)
    Image.new("RGB", (LARGEST_CANVAS + 9, 8)).save(folder / NAME)
    assert RecordsWorld(file).image_shape == (LARGEST_CANVAS, LARGEST_CANVAS, 3)


@pytest.mark.parametrize("size", [0, -1, 5000])
def test_a_size_out_of_range_is_refused(folder, size):
    with pytest.raises(ValueError, match=f"size is {size}, expected 1 to 4096"):
        open_sessions(write_lines(folder, records()), size)


def noisy(path, kind, side=64, **settings):
    """A picture whose file is long for its size."""
    Image.effect_noise((side, side), 60).convert("RGB").save(path, kind, **settings)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_opening_a_file_decodes_no_picture(folder, kind, monkeypatch):
    """A file that is cut behind its head opens; the damage is met when the picture is shown."""
    path = folder / "source_image" / "long"
    noisy(path, kind)
    path.write_bytes(path.read_bytes()[:2000])
    lines = write_lines(folder, [SINGLE | {"image": "source_image/long"}])
    with monkeypatch.context() as patched:
        patched.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("it was decoded"))
        world = open_sessions(lines)
    with pytest.raises(ValueError, match="is no picture that can be used"):
        world.picture(world.session("test", 0, 0))


UPRIGHT = b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
ODD_EXIF = {
    "garbage": b"not a TIFF header",
    "cut": UPRIGHT[:12],
    "an orientation that is a text": b"II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0\6\0\0\0\0\0\0\0",
    "an orientation that is 6.0": b"II*\0\x08\0\0\0\1\0\x12\1\x0b\0\1\0\0\0\0\0\xc0@\0\0\0\0",
    "orientation 9": UPRIGHT.replace(b"\6\0\0\0\0\0\0\0", b"\t\0\0\0\0\0\0\0"),
}


def with_exif(kind, block):
    """A red picture of 6 x 4 pixels with bytes where EXIF stands."""
    data = BytesIO()
    Image.new("RGB", (6, 4), "red").save(data, kind, **({"exif": block} if kind == "WEBP" else {}))
    raw = data.getvalue()
    if kind == "JPEG":
        part = b"Exif\0\0" + block
        return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + raw[2:]
    return raw[:33] + chunk(b"eXIf", block) + raw[33:] if kind == "PNG" else raw


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", ODD_EXIF.values(), ids=ODD_EXIF)
def test_a_picture_whose_exif_cannot_be_read_is_shown_as_it_lies(folder, kind, block):
    (folder / "odd").write_bytes(with_exif(kind, block))
    assert picture_size(folder, "odd") == (4, 6) and load_picture(folder, "odd").shape == (4, 6, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_head_and_pixels_agree_about_what_lies_on_its_side(folder, kind):
    (folder / "side").write_bytes(with_exif(kind, UPRIGHT))
    assert picture_size(folder, "side") == (6, 4) and load_picture(folder, "side").shape == (6, 4, 3)


def test_exif_behind_the_pixels_of_a_png_counts(folder):
    data = BytesIO()
    Image.new("RGB", (6, 4), "red").save(data, "PNG")
    raw = data.getvalue()
    (folder / "late").write_bytes(raw[:-12] + chunk(b"eXIf", UPRIGHT) + raw[-12:])
    assert picture_size(folder, "late") == (6, 4) and load_picture(folder, "late").shape == (6, 4, 3)


@pytest.mark.parametrize(("kind", "size"), [(2, 6), (6, 8), (4, 4), (0, 2)])
def test_pngs_of_16_bits_a_channel_are_refused_whatever_their_colours(folder, kind, size):
    (folder / "deep.png").write_bytes(png(4, 4, (b"\0" + bytes(4 * size)) * 4, depth=16, kind=kind))
    with pytest.raises(ValueError, match="expected 8"):
        load_picture(folder, "deep.png")


@pytest.mark.parametrize("between", [b"", b"\xff\x01"], ids=["plain", "a mark without length before each"])
def test_scans_beyond_the_limit_of_a_jpeg_are_not_decoded(folder, between):
    data = BytesIO()
    Image.radial_gradient("L").resize((2048, 2048)).save(data, "JPEG", progressive=True, quality=50)
    raw = data.getvalue()
    whole = np.array(Image.open(data).convert("RGB"))
    scans = [place for place in range(len(raw) - 1) if raw[place : place + 2] == b"\xff\xda"]
    last = between + raw[scans[-1] : -2]
    (folder / "many.jpg").write_bytes(raw[:-2] + last * (30 * MAX_SCANS) + b"\xff\xd9")
    began = time.process_time()
    shown = load_picture(folder, "many.jpg")
    assert time.process_time() - began < 2 and shown.shape == (2048, 2048, 3)
    (folder / "few.jpg").write_bytes(raw)
    assert np.array_equal(load_picture(folder, "few.jpg"), whole)


def test_a_png_of_a_million_chunks_is_refused_at_once(folder):
    whole = png(8, 8)
    (folder / "many.png").write_bytes(whole[:33] + chunk(b"teXt") * 1_000_000 + whole[33:])
    began = time.process_time()
    with pytest.raises(ValueError, match=f"it has more than {MAX_CHUNKS} chunks"):
        picture_size(folder, "many.png")
    assert time.process_time() - began < 1


def test_animations_show_their_first_frame_and_have_a_limit(folder):
    frames = [Image.new("RGB", (4, 4), (n, 0, 0)) for n in range(MAX_FRAMES + 1)]
    frames[0].save(folder / "two.png", save_all=True, append_images=frames[1:2])
    assert load_picture(folder, "two.png")[0, 0].tolist() == [0, 0, 0]
    frames[0].save(folder / "many.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=f"it has {MAX_FRAMES + 1} frames, expected {MAX_FRAMES} at most"):
        load_picture(folder, "many.png")
