"""The bundle: it loads exactly or is refused by name."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import msgspec
import pytest
from tests import small

from slidr.bundle import MANIFEST, Bundle, read_bundle, write_bundle
from slidr.errors import BundleError
from slidr.model.reference import Reference, Usual

FILES = (
    "calibration.json",
    "catalogue.json",
    "contract.json",
    "data.json",
    "guardrails.json",
    "manifest.json",
    "metrics.json",
    "network.onnx",
    "reference.json",
    "thresholds.json",
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test changes."""
    folder = tmp_path_factory.mktemp("bundles")
    return folder / write_bundle(folder, small.parts(), created_at=7, version="0.1").id


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to break."""
    return Path(shutil.copytree(bundle, tmp_path / bundle.name))


def test_a_bundle_loads_as_it_was_written(bundle: Path) -> None:
    """Every part comes back equal, and the folder holds these files and no others."""
    parts, found = small.parts(), read_bundle(bundle)
    for name in msgspec.structs.asdict(parts):
        assert getattr(found, name) == getattr(parts, name)
    assert (found.id, found.manifest.created_at, found.manifest.slidr) == (bundle.name, 7, "0.1")
    assert sorted(path.name for path in bundle.iterdir()) == sorted(FILES)


def test_a_bundle_says_whether_it_is_certified(tmp_path: Path) -> None:
    """Without a certificate of its budget a bundle is uncertified."""
    parts = small.parts()
    certified = msgspec.structs.replace(parts, calibration={"method": "knee", "certificate": {"budget": 0.005}})
    made = [write_bundle(tmp_path, one, created_at=1, version="1").certified for one in (parts, certified)]
    assert made == [False, True]


def test_the_same_parts_give_the_same_bundle(tmp_path: Path) -> None:
    """Identity comes from the contents alone: written later it is the same bundle, and the first one stays."""
    first = write_bundle(tmp_path, small.parts(), created_at=1, version="1")
    second = write_bundle(tmp_path, small.parts(), created_at=2, version="2")
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == [first.id]


@pytest.mark.parametrize(
    "name",
    ["catalogue", "graph", "thresholds", "calibration", "contract", "data", "guardrails", "metrics", "reference"],
)
def test_other_contents_have_another_id(name: str, tmp_path: Path) -> None:
    """A change in any part makes another bundle."""
    parts = small.parts()
    others = {
        "catalogue": parts.catalogue[:-1],
        "graph": small.graph(seed=6),
        "thresholds": (small.threshold("all", 0.6),),
        "calibration": {"method": "knee", "certificate": {"budget": 0.005}},
        "contract": msgspec.structs.replace(parts.contract, ip="opaque"),
        "data": {"as_of": 2},
        "guardrails": (),
        "metrics": {},
        "reference": None,
    }
    changed = msgspec.structs.replace(parts, **{name: others[name]})
    if name == "catalogue":
        changed = msgspec.structs.replace(changed, reference=small.reference(changed.catalogue))
    made = [write_bundle(tmp_path, one, created_at=1, version="1") for one in (parts, changed)]
    assert made[0].id != made[1].id


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_one_changed_byte_is_refused(copy: Path, name: str, where: float) -> None:
    """One flipped bit in any file is refused with the file named."""
    content = bytearray((copy / name).read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        read_bundle(copy)


def test_every_byte_of_the_manifest_counts(copy: Path) -> None:
    """No byte of the manifest can be changed unseen, its date and its spaces included."""
    content = (copy / MANIFEST).read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        (copy / MANIFEST).write_bytes(changed)
        with pytest.raises(BundleError, match=MANIFEST):
            read_bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    """A bundle that lacks a file is refused with the file named."""
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name} cannot be read: No such file"):
        read_bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused(copy: Path, name: str) -> None:
    """A file cut in half is refused with the file named."""
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=name):
        read_bundle(copy)


def test_a_further_file_is_refused(copy: Path) -> None:
    """A file that the manifest does not list has no place in a bundle."""
    (copy / "notes.txt").write_text("hello")
    with pytest.raises(BundleError, match=r"does not list: \['notes.txt'\]"):
        read_bundle(copy)


def test_another_format_says_what_to_do(copy: Path) -> None:
    """A manifest of a later format, whatever else it holds, tells to upgrade; one of an earlier, to learn again."""
    (copy / MANIFEST).write_text('{"format": 3, "seals": []}')
    with pytest.raises(BundleError, match="has format 3; this slidr reads format 2: upgrade slidr"):
        read_bundle(copy)
    (copy / MANIFEST).write_text('{"format": 1, "files": {}}')
    with pytest.raises(BundleError, match="has format 1; this slidr reads format 2: run `slidr daily` to make"):
        read_bundle(copy)


def test_a_bundle_knows_what_is_usual_of_people_or_does_not(tmp_path: Path) -> None:
    """A reference comes back equal; without one a bundle is whole all the same, and says null."""
    without = msgspec.structs.replace(small.parts(), reference=None)
    assert write_bundle(tmp_path, without, created_at=7, version="0.1").reference is None
    assert write_bundle(tmp_path, small.parts(), created_at=7, version="0.1").reference == small.reference()


def test_a_reference_of_other_features_is_refused(tmp_path: Path) -> None:
    """A reference that lacks a feature, has one too many, or is not finite, is refused before anything is written."""
    whole = small.reference()
    fewer = dict(list(whole.features.items())[1:])
    faults = (
        (fewer, "other features than the catalogue: clicks_user_1m"),
        ({**whole.features, "height": Usual(0, 1, 2)}, "other features than the catalogue: height"),
        ({**fewer, "clicks_user_1m": Usual(0, 1, math.inf)}, "clicks_user_1m is Usual.*, which is not finite"),
    )
    for features, message in faults:
        parts = msgspec.structs.replace(small.parts(), reference=Reference(5, features))
        with pytest.raises(BundleError, match=message):
            write_bundle(tmp_path, parts, created_at=7, version="0.1")
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_folder_is_no_bundle(copy: Path, tmp_path: Path) -> None:
    """Without its manifest, which is written last, a folder is refused, and is not written over."""
    (copy / MANIFEST).unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(copy)
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(tmp_path, small.parts(), created_at=7, version="0.1")


def test_no_folder_at_all_is_refused(tmp_path: Path) -> None:
    """A bundle that is not there is refused, and one that cannot be written too."""
    with pytest.raises(BundleError, match="none/manifest"):
        read_bundle(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot be written to"):
        write_bundle(tmp_path / "file", small.parts(), created_at=7, version="0.1")


def test_an_infinite_threshold_survives(tmp_path: Path) -> None:
    """A threshold that never invalidates is written and read as such, though JSON has no infinity."""
    made = write_bundle(tmp_path, small.parts([small.threshold("all", math.inf)]), created_at=7, version="0.1")
    assert isinstance(made, Bundle)
    assert made.thresholds[0].threshold == math.inf
