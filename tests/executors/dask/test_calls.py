"""The words between a client and the lanes on Dask workers."""

from __future__ import annotations

from pipeframe_async.executors.dask.calls import Relayed
from pipeframe_async.wire import ChainRef


def test_a_supply_that_has_come_is_part_of_the_chain_as_it_was() -> None:
    chain = ChainRef("key", b"chain", None, Relayed("tag", ((("module", "name"), b"code"),), {}))
    assert chain.label == "key~tag"
    assert chain.parcel() == (b"chain", "tag", ((("module", "name"), b"code"),), {})


def test_what_is_missing_in_it_only_the_client_can_be_asked_for() -> None:
    assert not Relayed("tag", (), {}).ask("module\tname")


def test_supplies_of_one_tag_are_the_same() -> None:
    assert {Relayed("a", (), {}), Relayed("a", (), {}), Relayed("b", (), {})} == {
        Relayed("a", (), {}),
        Relayed("b", (), {}),
    }
