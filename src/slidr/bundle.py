"""Bundle: model, thresholds and features as one immutable directory that loads exactly or is refused.

    catalogue.json    the features
    network.onnx      input scaling and network as one graph
    thresholds.json   the threshold of every calibrated slice
    calibration.json  how they were set, and the certificate of the false-positive budget, null where there is none
    contract.json     what the clicks must be like: slice columns, form of the ip, fingerprint of the secret key
    data.json         tables, versions and days that the bundle was made from
    guardrails.json   what checked it before it was published
    metrics.json      what was measured on the calibration day and on the judging day
    reference.json    what is usual of people, against which reasons are measured; null where it is not known
    manifest.json     identity, the SHA-256 of every file above and a check of its own; written last

Nothing in it is executable: no pickle, no code.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec

from slidr.errors import BundleError, FeatureError
from slidr.features.catalogue import Catalogue, decode_catalogue, encode_catalogue
from slidr.model.reference import Reference
from slidr.tables import Threshold

FORMAT = 2
MANIFEST = "manifest.json"
_FILES = (
    "catalogue.json",
    "network.onnx",
    "thresholds.json",
    "calibration.json",
    "contract.json",
    "data.json",
    "guardrails.json",
    "metrics.json",
    "reference.json",
)
_OLDER = "run `slidr daily` to make and promote a new bundle, or serve this one with the slidr that made it"


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle asks of the clicks that it decides."""

    slice_columns: tuple[str, ...]
    ip: str
    key_fingerprint: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Identity of a bundle, the SHA-256 of each of its files, and that of the manifest without it."""

    format: int
    slidr: str
    id: str
    created_at: int
    files: dict[str, str]
    check: str = ""


class _Head(msgspec.Struct, frozen=True):
    """What the manifest of every format has."""

    format: int


class Bundle(msgspec.Struct, frozen=True):
    """A loaded bundle."""

    id: str
    catalogue: Catalogue
    graph: bytes
    thresholds: tuple[Threshold, ...]
    calibration: dict[str, Any]
    contract: Contract
    data: dict[str, Any]
    guardrails: tuple[dict[str, Any], ...]
    metrics: dict[str, Any]
    reference: Reference | None
    manifest: Manifest

    @property
    def certified(self) -> bool:
        """Whether the false-positive budget holds with the confidence that its certificate states."""
        return self.calibration.get("certificate") is not None


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is made of."""

    catalogue: Catalogue
    graph: bytes
    thresholds: tuple[Threshold, ...]
    contract: Contract
    calibration: dict[str, Any] = {}
    data: dict[str, Any] = {}
    guardrails: tuple[dict[str, Any], ...] = ()
    metrics: dict[str, Any] = {}
    reference: Reference | None = None


def write_bundle(folder: Path, parts: Parts, *, created_at: int, version: str) -> Bundle:
    """Write a bundle into a folder named by its identity and return it as it loads.

    The identity is a hash of the contents, so the same parts give the same bundle. The folder appears whole: files are
    written beside it and moved into place once the manifest is.

    Args:
        folder: where bundles are kept; the bundle becomes `folder/<id>`.
        parts: what it is made of.
        created_at: microseconds UTC.
        version: the version of slidr that writes it.

    Raises:
        BundleError: the folder cannot be written, or the reference is of other features than the catalogue.
    """
    _check_reference(folder, parts.catalogue, parts.reference)
    contents = {
        "catalogue.json": encode_catalogue(parts.catalogue),
        "network.onnx": parts.graph,
        "thresholds.json": _json([_written(threshold) for threshold in parts.thresholds]),
        "calibration.json": _json(parts.calibration),
        "contract.json": _json(parts.contract),
        "data.json": _json(parts.data),
        "guardrails.json": _json(parts.guardrails),
        "metrics.json": _json(parts.metrics),
        "reference.json": _json(parts.reference),
    }
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    identity = hashlib.sha256(_json(files)).hexdigest()[:16]
    manifest = _checked(Manifest(FORMAT, version, identity, created_at, files))
    place = folder / identity
    if not (place / MANIFEST).exists():
        part = folder / f".{identity}.{secrets.token_hex(4)}"
        try:
            part.mkdir(parents=True)
            for name, content in contents.items():
                _write(part / name, content)
            _write(part / MANIFEST, _json(manifest))
            part.replace(place)
        except OSError as fault:
            raise BundleError(f"bundle {identity} cannot be written to {folder}: {fault}") from None
    return read_bundle(place)


def read_bundle(folder: Path) -> Bundle:
    """Load a bundle and check every byte of it.

    Raises:
        BundleError: a file is missing, superfluous, changed or of another format; the message names the file.
    """
    written = _read(folder, MANIFEST)
    head = _decode(written, _Head, folder, MANIFEST)
    if head.format != FORMAT:
        remedy = "upgrade slidr" if head.format > FORMAT else _OLDER
        raise BundleError(f"{folder}/{MANIFEST} has format {head.format}; this slidr reads format {FORMAT}: {remedy}")
    manifest = _decode(written, Manifest, folder, MANIFEST)
    if written != _json(_checked(manifest)):
        raise BundleError(f"{folder}/{MANIFEST} was changed: its check does not fit; fetch the bundle again")
    if set(manifest.files) != set(_FILES):
        raise BundleError(f"{folder}/{MANIFEST} lists {sorted(manifest.files)}; a bundle holds {sorted(_FILES)}")
    found = {path.name for path in folder.iterdir()}
    if superfluous := found - set(_FILES) - {MANIFEST}:
        raise BundleError(f"{folder} holds files that its manifest does not list: {sorted(superfluous)}")
    contents = {name: _read(folder, name) for name in _FILES}
    for name, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        if digest != manifest.files[name]:
            raise BundleError(
                f"{folder}/{name} has SHA-256 {digest[:12]}..., its manifest says {manifest.files[name][:12]}...:"
                " the file was changed; fetch the bundle again"
            )
    if hashlib.sha256(_json(manifest.files)).hexdigest()[:16] != manifest.id:
        raise BundleError(f"{folder}/{MANIFEST} has identity {manifest.id}, which is not that of its files")
    try:
        catalogue = decode_catalogue(contents["catalogue.json"])
    except FeatureError as fault:
        raise BundleError(f"{folder}/catalogue.json: {fault}") from None
    reference = _decode(contents["reference.json"], Reference | None, folder, "reference.json")
    _check_reference(folder, catalogue, reference)
    return Bundle(
        manifest.id,
        catalogue,
        contents["network.onnx"],
        _decode(contents["thresholds.json"], tuple[Threshold, ...], folder, "thresholds.json", strict=False),
        _decode(contents["calibration.json"], dict[str, Any], folder, "calibration.json"),
        _decode(contents["contract.json"], Contract, folder, "contract.json"),
        _decode(contents["data.json"], dict[str, Any], folder, "data.json"),
        _decode(contents["guardrails.json"], tuple[dict[str, Any], ...], folder, "guardrails.json"),
        _decode(contents["metrics.json"], dict[str, Any], folder, "metrics.json"),
        reference,
        manifest,
    )


def _check_reference(folder: Path, catalogue: Catalogue, reference: Reference | None) -> None:
    """Refuse a reference that does not say of every feature, and of no other, what is usual."""
    if reference is None:
        return
    names = {feature.name for feature in catalogue}
    if other := names.symmetric_difference(reference.features):
        raise BundleError(
            f"{folder}/reference.json is of other features than the catalogue: {', '.join(sorted(other)[:5])};"
            " run `slidr train` again"
        )
    for name, usual in reference.features.items():
        if not all(map(math.isfinite, (usual.low, usual.median, usual.high))):
            raise BundleError(f"{folder}/reference.json: {name} is {usual}, which is not finite")


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as fault:
        raise BundleError(f"{folder}/{name} cannot be read: {fault.strerror or fault}") from None


def _checked(manifest: Manifest) -> Manifest:
    """Return the manifest with its check."""
    bare = msgspec.structs.replace(manifest, check="")
    return msgspec.structs.replace(bare, check=hashlib.sha256(_json(bare)).hexdigest())


def _written(threshold: Threshold) -> dict[str, Any]:
    """Return a threshold as JSON can have it: an infinite one, which never invalidates, as a word."""
    document: dict[str, Any] = msgspec.to_builtins(threshold)
    return document if math.isfinite(threshold.threshold) else document | {"threshold": str(threshold.threshold)}


def _decode(content: bytes, kind: Any, folder: Path, name: str, *, strict: bool = True) -> Any:
    try:
        return msgspec.json.decode(content, type=kind, strict=strict)
    except msgspec.MsgspecError as fault:
        raise BundleError(f"{folder}/{name} is not what a bundle holds: {fault}") from None
