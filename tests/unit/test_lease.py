"""Tokens of group membership, as librdkafka writes them."""

from __future__ import annotations

import struct

import pytest

from streams.errors import BrokerError
from streams.lease import NotAMember, read_token


def metadata(epoch: int, group: str = "live.normalizer.bars", member: str = "m-1") -> bytes:
    return b"CGMDv2:" + struct.pack("=i", epoch) + group.encode() + b"\0" + member.encode() + b"\0\0"


def test_a_token_tells_group_member_and_epoch_and_keeps_the_bytes() -> None:
    raw = metadata(7)
    token = read_token(raw)
    assert (token.group, token.member, token.epoch, token.metadata) == ("live.normalizer.bars", "m-1", 7, raw)


@pytest.mark.parametrize("raw", [metadata(-1), metadata(-1, member=""), metadata(3, member="")])
def test_who_has_not_joined_gets_no_token(raw: bytes) -> None:
    with pytest.raises(NotAMember, match="must not commit"):
        read_token(raw)


def test_an_epoch_with_a_zero_byte_and_a_line_end_is_read_as_it_is() -> None:
    assert read_token(metadata(0x0A00)).epoch == 0x0A00


@pytest.mark.parametrize("raw", [b"", b"CGMDv1:" + metadata(1)[7:], b"something else"])
def test_another_layout_is_refused_with_the_remedy_and_not_taken_for_an_absent_member(raw: bytes) -> None:
    with pytest.raises(BrokerError, match="pinned") as caught:
        read_token(raw)
    assert not isinstance(caught.value, NotAMember)
