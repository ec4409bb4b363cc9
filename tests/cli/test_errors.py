"""Errors on the command line: `slidr: ...` on the standard error, exit status 1, never a traceback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.cli.conftest import Run, Said
from tests.learned import Learned

from slidr.cli import COMMANDS

READING = [name for name in COMMANDS if name not in {"demo", "drill", "init", "simulate"}]
ARGUMENTS = {
    "audit": ("list",),
    "billing": ("report", "2026-03"),
    "decide": ("2026-03-10",),
    "keys": ("list",),
    "load": ("clicks.csv", "--rate", "10"),
    "diff": ("0123456789abcdef", "fedcba9876543210"),
    "promote": ("0123456789abcdef", "--why", "x"),
    "rollback": ("--why", "x"),
}


def assert_refused(said: Said, *words: str) -> None:
    """Assert that a command was refused on purpose, with these words."""
    assert said.code == 1
    assert said.out == ""
    assert said.err.startswith("slidr: ")
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err


def settings(folder: Path, text: str) -> tuple[str, Path]:
    """Write a settings file and return the option that names it."""
    (folder / "slidr.toml").write_text(text)
    return "--settings", folder / "slidr.toml"


@pytest.mark.parametrize("name", READING)
def test_a_missing_settings_file(slidr: Run, tmp_path: Path, name: str) -> None:
    """Every command that reads settings says where there are none, and what writes some."""
    path = tmp_path / "nowhere.toml"
    assert_refused(slidr(name, *ARGUMENTS.get(name, ()), "--settings", path), str(path), "`slidr init` writes one")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[calibration]\nfpr_buget = 0.1\n", ("unknown key 'fpr_buget'", "did you mean 'fpr_budget'?")),
        ("[calibraton]\n", ("unknown key 'calibraton'", "did you mean 'calibration'?")),
        ("[calibration]\nfpr_budget = 2\n", ("fpr_budget", "2")),
        ("[service]\nport = 'http'\n", ("port",)),
        ("[labels\n", ("is not TOML",)),
        ("timezone = 'Mars/Base'\n", ("Mars/Base", "is not a time zone")),
    ],
)
def test_a_settings_file_that_is_wrong(slidr: Run, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """An unknown key, a value out of its limits or of another type, and what is not TOML are named."""
    assert_refused(slidr("ingest", *settings(tmp_path, text)), "slidr.toml", *words)


FEATURES = [
    ("{ kind = 'Clicks', by = 'user', window = '1h' }", ("2 features are called 'clicks_user_1h'",)),
    ("{ kind = 'Clicks', by = 'user', window = '0m' }", ("window", "'0m' is not a duration")),
    ("{ kind = 'Clicks', by = 'user', window = '-1h' }", ("window", "'-1h' is not a duration")),
    ("{ kind = 'Clicks', by = 'user', window = '31d' }", ("window = '31d' is longer than 30d", "PeakDistinct")),
    ("{ kind = 'Distinct', column = 'user', by = 'ip', window = '90d' }", ("is longer than 30d",)),
    ("{ kind = 'Velocity', by = 'user', half_life = '0s' }", ("half_life", "'0s' is not a duration")),
    ("{ kind = 'Clicks', by = 'usr', window = '1h' }", ("did you mean 'user'?",)),
    ("{ kind = 'Click', by = 'user', window = '1h' }", ("did you mean 'Clicks'?",)),
]


@pytest.mark.parametrize("name", ["features", "backfill", "daily"])
@pytest.mark.parametrize(("declared", "words"), FEATURES)
def test_features_that_cannot_be(
    slidr: Run, tmp_path: Path, learned: Learned, name: str, declared: str, words: tuple[str, ...]
) -> None:
    """A feature declared twice, a window of nothing or longer than state is kept, and a wrong name are told at once."""
    storage = learned.settings.storage
    text = f"[features]\nadd = [{declared}]\n[storage]\nlake = '{storage.lake}'\nregistry = '{storage.registry}'\n"
    assert_refused(slidr(name, *settings(tmp_path, text)), *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[clicks]\npath = 'nowhere.csv'\n", ("nowhere.csv",)),
        ("[clicks]\nsource = 'talking_data'\n", ("did you mean 'talkingdata'?",)),
        ("", ("clicks.path",)),
        ("[clicks]\npath = 'slidr.toml'\n", ("slidr.toml",)),
    ],
)
def test_logs_that_cannot_be_read(slidr: Run, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """A missing file, an unknown source, no path at all, or a file of another kind is named."""
    assert_refused(slidr("ingest", *settings(tmp_path, text)), *words)


@pytest.mark.parametrize("name", ["label", "backfill", "train", "calibrate", "judge", "publish", "daily"])
def test_a_lake_without_clicks(slidr: Run, tmp_path: Path, name: str) -> None:
    """Every stage says what to run first."""
    assert_refused(slidr(name, *settings(tmp_path, "")), "holds no clicks; run `slidr ingest` first")


@pytest.mark.parametrize("name", ["train", "calibrate", "judge", "publish"])
def test_a_stage_before_its_time(slidr: Run, tmp_path: Path, learned: Learned, name: str) -> None:
    """A stage whose forerunners have not run is refused, without a traceback."""
    at = settings(tmp_path, f"[clicks]\npath = '{learned.folder}/logs/clicks'\n")
    assert slidr("ingest", *at).code == 0
    assert_refused(slidr(name, *at))


def test_a_day_that_cannot_be_judged(slidr: Run, project: Path) -> None:
    """A day without clicks, and a word that is no day, are refused."""
    at = ("--settings", project / "slidr.toml")
    assert_refused(slidr("label", *at, "--day", "2026-05-01"), "2026-05-01 cannot be judged")
    assert_refused(slidr("decide", "2026-05-01", *at), "holds no clicks of 2026-05-01")
    said = slidr("label", *at, "--day", "tomorrow")
    assert (said.code, "Traceback" in said.err) == (2, False)


def test_no_champion(slidr: Run, tmp_path: Path, project: Path) -> None:
    """Serving and deciding need a champion, and say what makes one."""
    at = settings(tmp_path, "")
    assert_refused(slidr("serve", *at, "--port", 0), "has no champion; run `slidr daily`")
    at = settings(project, "[storage]\nregistry = 'other'\n")
    assert_refused(slidr("decide", "2026-03-10", *at), "has no champion")


def test_a_changed_bundle(slidr: Run, project: Path, learned: Learned) -> None:
    """A champion with one byte changed is refused with the file named, by every command that needs it."""
    for place in (project / "bundles", project / "registry" / "bundles"):
        graph = place / learned.bundle.id / "network.onnx"
        graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    at = ("--settings", project / "slidr.toml")
    for command in (("serve", "--port", 0), ("decide", "2026-03-10"), ("promote", learned.bundle.id, "--why", "x")):
        assert_refused(slidr(*command, *at), "network.onnx")


def test_a_port_in_use(slidr: Run, learned: Learned, tmp_path: Path) -> None:
    """A port that somebody else listens on is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        files = ("--state", tmp_path / "state.npz", "--journal", tmp_path / "journal.sqlite")
        said = slidr("serve", "--settings", learned.folder / "slidr.toml", "--port", port, *files)
    assert_refused(said, f"cannot listen on 127.0.0.1 port {port}: the port is in use")


def test_another_secret_key(slidr: Run, project: Path) -> None:
    """A key file that was replaced is noticed before anything is decided."""
    (project / "slidr.key").write_text("00" * 16)
    assert_refused(slidr("decide", "2026-03-10", "--settings", project / "slidr.toml"), "secret key")


def test_a_truth_that_is_none(slidr: Run, project: Path) -> None:
    """Something else in the place of the truth is refused by name."""
    at = ("judge", "--settings", project / "slidr.toml", "--truth")
    assert_refused(slidr(*at, project / "slidr.toml"), "does not hold the truth that `slidr simulate` writes")
    assert_refused(slidr(*at, project / "logs" / "clicks"), "does not hold the truth")


def test_a_folder_that_cannot_be_written(slidr: Run, tmp_path: Path) -> None:
    """Where the system refuses, its words are shown."""
    (tmp_path / "file").touch()
    for command in (("init", tmp_path / "file" / "slidr.toml"), ("simulate", tmp_path / "file" / "logs")):
        assert_refused(slidr(*command), "file")


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "99999"),
        ("demo", "--rate", "0"),
        ("demo", "--seed", "-1"),
        ("simulate", "--seed", "-1", "x"),
        ("demo", "--source", "kafka"),
        ("sing",),
    ],
)
def test_what_click_refuses(slidr: Run, arguments: tuple[str, ...]) -> None:
    """Options out of their limits and unknown commands are refused with the usage, exit status 2."""
    said = slidr(*arguments)
    assert (said.code, "Usage: " in said.err, "Traceback" in said.err) == (2, True, False)


def test_too_few_clicks_to_simulate(slidr: Run, tmp_path: Path) -> None:
    """A size below the simulator's limit is refused with the limit."""
    assert_refused(slidr("simulate", tmp_path, "--clicks", 10), "clicks = 10 is below its limit of 4500")


def test_a_simulation_of_what_is_not_known(slidr: Run, tmp_path: Path) -> None:
    """A newcomer that is no family, and a fault that is none or hits nothing, are refused with what there is."""
    assert_refused(slidr("simulate", tmp_path, "--newcomer", "botnets"), "did you mean 'botnet'")
    assert_refused(slidr("simulate", tmp_path, "--fault", "flood:1"), "write one of missing_purchases")
    assert_refused(slidr("simulate", tmp_path, "--fault", "late_feed:10"), "day = 10 hits nothing in this plan")
