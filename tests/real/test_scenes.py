"""What holds for every queue when programs and servers die: each scene is played for all kinds at once."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.kinds import KINDS
from tests.real.scenes import SCENES, Stage
from tests.real.servers import Server

pytestmark = [pytest.mark.process, pytest.mark.timeout(150)]


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> dict[str, Server]:
    """One of each kind."""
    return {kind: request.getfixturevalue(kind) for kind in KINDS}


@pytest.fixture(scope="module", params=SCENES)
def scene(
    request: pytest.FixtureRequest, servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[None]]:
    """A scene that has been played."""
    folder: Path = tmp_path_factory.mktemp("scene")
    play = SCENES[request.param]
    with ThreadPoolExecutor(len(KINDS)) as pool:
        return {kind: pool.submit(play, Stage.new(kind, server, folder)) for kind, server in servers.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene(scene: dict[str, Future[None]], kind: str) -> None:
    scene[kind].result()
