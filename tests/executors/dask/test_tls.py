"""A cluster that talks by TLS, with a certificate made here: batches go by it too."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeframe_async import ConfigError, PipeFrame
from tests.executors.dask.cluster import DaskCluster
from tests.executors.dask.pipelines import Kept, twice
from tests.real.servers import missing

pytestmark = [pytest.mark.process, pytest.mark.one_loop]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """One that signs itself, with its key, in one file."""
    if shutil.which("openssl") is None:
        missing("openssl")
    key, signed, both = (tmp_path / name for name in ("key.pem", "signed.pem", "both.pem"))
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(signed)]
    subprocess.run(made, check=True, capture_output=True)
    both.write_text(signed.read_text() + key.read_text())
    return both


async def test_a_client_with_credentials_has_batches_carried_with_them(
    own: Callable[..., DaskCluster], certificate: Path
) -> None:
    from distributed import Client, Security

    cluster = own(workers=1, certificate=certificate)
    file = str(certificate)
    security = Security(tls_ca_file=file, tls_client_cert=file, tls_client_key=file, require_encryption=True)
    async with Client(cluster.tcp, security=security, asynchronous=True, set_as_default=False) as client:
        pipeline = Kept(twice)
        await PipeFrame(executor=client).run(pipeline, range(500))
        assert pipeline.taken == list(range(0, 1_000, 2))


async def test_an_address_has_those_of_dasks_own_configuration(
    own: Callable[..., DaskCluster], certificate: Path
) -> None:
    import dask

    cluster = own(workers=1, certificate=certificate)
    with pytest.raises(ConfigError, match="no Dask scheduler answers there"):
        await PipeFrame(executor=cluster.address).run(Kept(twice), range(3))
    file = str(certificate)
    names = ("ca-file", "client.cert", "client.key")
    with dask.config.set({f"distributed.comm.tls.{name}": file for name in names}):
        pipeline = Kept(twice)
        await PipeFrame(executor=cluster.address).run(pipeline, range(500))
        assert pipeline.taken == list(range(0, 1_000, 2))
