"""Names inside the three folders."""

from pathlib import Path

import pytest

from services.standin.folders import Folders, OutsideFolder, SaveSlot
from services.standin.view import view


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Empty folders."""
    prepared = Folders(tmp_path)
    prepared.prepare()
    return prepared


@pytest.mark.parametrize("part", ["..", "../output2", "a/../../b", "/etc"])
def test_no_name_leads_out_of_a_folder(folders: Folders, part: str) -> None:
    """Neither upwards nor to the root."""
    with pytest.raises(OutsideFolder):
        folders.within(folders.output, part)


def test_temp_is_emptied_at_start_and_the_rest_is_kept(folders: Folders) -> None:
    """As a restart of the recorded server leaves it."""
    for folder in (folders.input, folders.output, folders.temp):
        (folder / "kept.png").write_bytes(b"x")
    folders.prepare()
    assert not (folders.temp / "kept.png").exists()
    assert (folders.input / "kept.png").exists()
    assert (folders.output / "kept.png").exists()


def slot(folders: Folders, prefix: str) -> SaveSlot:
    """A save of a picture of 40 x 30 pixels."""
    return SaveSlot(folders, folder=folders.output, kind="output", prefix=prefix, width=40, height=30)


def test_counter_goes_on_from_the_files_on_disk(folders: Folders) -> None:
    """Whatever their endings; other stems do not count."""
    for name in ("x_00007_.png", "x_00009_.webp", "xy_00050_.png", "x_notes.txt"):
        (folders.output / name).touch()
    path, entry = slot(folders, "x").next("png")
    assert path.name == "x_00010_.png"
    assert entry == {"filename": "x_00010_.png", "subfolder": "", "type": "output"}


def test_prefix_names_subfolders_and_tokens(folders: Folders) -> None:
    """The subfolder is made."""
    path, entry = slot(folders, "a/b/%width%x%height%").next("png")
    assert entry == {"filename": "40x30_00001_.png", "subfolder": "a/b", "type": "output"}
    assert path.parent.is_dir()


def test_save_outside_the_output_folder_is_refused(folders: Folders) -> None:
    """A prefix cannot climb."""
    with pytest.raises(OutsideFolder):
        slot(folders, "../evil")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 404),
        ({"filename": ""}, 400),
        ({"filename": "../x"}, 400),
        ({"filename": "a..b.png"}, 400),
        ({"filename": "/etc/hostname"}, 400),
        ({"filename": "x.png", "type": "nonsense"}, 400),
        ({"filename": "x.png", "subfolder": "/etc"}, 403),
        ({"filename": "x.png", "subfolder": "../.."}, 403),
        ({"filename": "absent.png"}, 404),
        ({"filename": "there.png"}, 200),
        ({"filename": "any/thing/there.png"}, 200),
        ({"filename": "there.png [output]", "type": "temp"}, 200),
    ],
)
def test_view_answers_with_the_recorded_status(folders: Folders, query: dict[str, str], status: int) -> None:
    """PROTOCOL, GET /view."""
    (folders.output / "there.png").write_bytes(b"x")
    assert view(query, folders).status == status


def test_active_content_is_not_shown(folders: Folders) -> None:
    """It goes out as a download."""
    (folders.output / "page.html").write_text("<script>")
    assert view({"filename": "page.html"}, folders).content_type == "application/octet-stream"
