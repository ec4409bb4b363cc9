from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from slidr.errors import SettingsError
from slidr.service.tls import Certificate
from slidr.settings import parse_settings, read_settings


def make(folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make a certificate for this machine, signed by itself, and its key."""
    files = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 ours
    return files


def shake(context: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str | None, dict[str, Any]]:
    """Have a client connect to a server; return the version that they agree on, and the server's certificate."""
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            with context.wrap_socket(far, server_side=True) as served:
                served.recv(1)
        except (ssl.SSLError, OSError):
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname="127.0.0.1") as connected:
            connected.send(b"x")
            return connected.version(), dict(connected.getpeercert() or {})
    finally:
        thread.join()


def trusting(certificate: Path) -> ssl.SSLContext:
    """Return a client that trusts one certificate."""
    return ssl.create_default_context(cafile=str(certificate))


def test_a_client_that_trusts_the_certificate_is_served(tmp_path: Path) -> None:
    """The certificate is shown over TLS 1.3, or 1.2 where the client knows no later one."""
    files = make(tmp_path)
    context = Certificate(*files).context
    client = trusting(files[0])
    assert shake(context, client)[0] == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(context, client)[0] == "TLSv1.2"
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_new_certificate_is_taken_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files that are replaced are shown to the next client; half of them, or none, change nothing."""
    files = make(tmp_path, "old")
    certificate = Certificate(*files)
    assert not certificate.refresh()
    old, key = files[0].read_bytes(), files[1].read_bytes()
    make(tmp_path, "new")
    replaced, other = files[0].read_bytes(), files[1].read_bytes()
    files[1].write_bytes(key)
    assert not certificate.refresh()
    assert "the TLS certificate stays as it was" in caplog.text
    (tmp_path / "old.pem").write_bytes(old)
    assert shake(certificate.context, trusting(tmp_path / "old.pem"))[1]["subject"] == ((("commonName", "old"),),)
    files[0].unlink()
    assert not certificate.refresh()
    files[0].write_bytes(replaced)
    files[1].write_bytes(other)
    assert certificate.refresh()
    assert shake(certificate.context, trusting(files[0]))[1]["subject"] == ((("commonName", "new"),),)


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    """A missing, wrong or encrypted file is an error with its name, and nobody is asked for a password."""
    certificate, key = make(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(SettingsError, match=r"none\.pem cannot be read \(No such file"):
        Certificate(certificate, tmp_path / "none.pem")
    with pytest.raises(SettingsError, match=r"other cannot be read \(Is a directory"):
        Certificate(other, key)
    with pytest.raises(SettingsError, match=r"key\.pem \(service\.tls_certificate\) .* are not a certificate"):
        Certificate(key, key)
    with pytest.raises(SettingsError, match="key values mismatch"):
        Certificate(certificate, make(other)[1])
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:1234", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 ours
    with pytest.raises(SettingsError, match=r"locked\.pem \(service\.tls_key\)"):
        Certificate(certificate, locked)


def test_a_key_that_others_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The private key should be its owner's alone."""
    files = make(tmp_path)
    files[1].chmod(0o600)
    Certificate(*files)
    assert caplog.text == ""
    files[1].chmod(0o644)
    Certificate(*files)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"{files[1]} may be read by other accounts" in caplog.text


def test_certificate_and_key_are_set_together(tmp_path: Path) -> None:
    """One without the other is refused, and relative paths of both start at the settings file."""
    for given, lacking in (("certificate", "key"), ("key", "certificate")):
        with pytest.raises(SettingsError, match=rf"service\.tls_{given} is set and service\.tls_{lacking} is not"):
            parse_settings({"service": {f"tls_{given}": "x.pem"}})
    path = tmp_path / "slidr.toml"
    path.write_text("service.tls_certificate = 'x.pem'\nservice.tls_key = '/key.pem'\n")
    service = read_settings(path).service
    assert (service.tls_certificate, service.tls_key) == (str(tmp_path / "x.pem"), "/key.pem")
