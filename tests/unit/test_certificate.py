from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.certificate import Certificate, CertificateError, LeftOut, ShardProof, Span, merkle_root

MINUTE = 60_000_000_000


def proof(number: int, **changes: Any) -> ShardProof:
    plain = ShardProof(
        shard=f"shard-{number}",
        epoch=1,
        dataset="bars",
        symbols=("BTC", "ETH"),
        start=number * 10 * MINUTE,
        end=(number + 1) * 10 * MINUTE,
        rows=20,
        digest=f"{number:064x}",
        spans=(Span(0, 5 * number, 5 * number + 9, 10), Span(2, 0, 9, 10)),
    )
    return replace(plain, **changes)


def certificate(*proofs: ShardProof) -> Certificate:
    return Certificate(
        world="w",
        job="job-1",
        dataset="bars",
        symbols=("BTC", "ETH"),
        start=0,
        end=30 * MINUTE,
        source="files:x.parquet",
        as_of=1_700_000_000_000,
        contract_version=1,
        proofs=proofs or (proof(0), proof(1), proof(2)),
        left_out=(LeftOut("BTC", 0, MINUTE),),
    ).sealed()


def leaf(content: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + content).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_the_root_is_the_tree_hash_of_rfc_6962() -> None:
    a, b, c, d, e = (leaf(x) for x in (b"a", b"b", b"c", b"d", b"e"))
    assert merkle_root([]) == hashlib.sha256(b"").hexdigest()
    assert merkle_root([b"a"]) == a.hex()
    assert merkle_root([b"a", b"b", b"c"]) == node(node(a, b), c).hex()
    assert merkle_root([b"a", b"b", b"c", b"d", b"e"]) == node(node(node(a, b), node(c, d)), e).hex()
    # The tree of the test vectors of Certificate Transparency, whose first leaf is empty.
    assert merkle_root([b""]) == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root([b"", b"\x00"]) == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"


def test_a_leaf_can_never_pass_for_a_node() -> None:
    a, b = leaf(b"a"), leaf(b"b")
    assert merkle_root([b"a", b"b"]) != merkle_root([a + b])


def test_a_certificate_survives_its_file_to_the_byte(tmp_path: Path) -> None:
    made = certificate()
    made.write(tmp_path / "c.json")
    again = Certificate.read(tmp_path / "c.json")
    assert again == made
    assert again.to_json() == made.to_json()
    again.require_whole()
    assert again.rows == 60


def test_the_order_in_which_shards_were_found_does_not_change_the_root() -> None:
    assert certificate(proof(2), proof(0), proof(1)) == certificate(proof(0), proof(1), proof(2))


def _tampered(datum: Any, path: tuple[Any, ...]) -> Any:
    """Change one value and nothing else."""
    changed = json.loads(json.dumps(datum))
    *above, last = path
    at = changed
    for step in above:
        at = at[step]
    value = at[last]
    at[last] = value + 1 if isinstance(value, int) else value[:-1] + ("1" if value[-1] != "1" else "2")
    return changed


def _paths(datum: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(datum, dict):
        return [p for k, v in datum.items() for p in _paths(v, (*above, k))]
    if isinstance(datum, list):
        return [p for i, v in enumerate(datum) for p in _paths(v, (*above, i))]
    return [above]


def test_whatever_value_is_changed_the_change_is_found() -> None:
    datum = json.loads(certificate().to_json())
    paths = _paths(datum)
    assert len(paths) > 50
    for path in paths:
        with pytest.raises(CertificateError):
            Certificate.from_json(json.dumps(_tampered(datum, path))).require_whole()


def test_a_proof_that_is_left_out_doubled_or_moved_is_found() -> None:
    datum = json.loads(certificate().to_json())
    proofs = datum["proofs"]
    for changed in (proofs[:-1], [*proofs, proofs[0]], proofs[::-1]):
        with pytest.raises(CertificateError, match="was changed"):
            Certificate.from_json(json.dumps({**datum, "proofs": changed})).require_whole()


def test_the_root_of_a_changed_certificate_can_be_made_anew_but_is_another_one() -> None:
    forged = replace(certificate(), proofs=(proof(0), proof(1, rows=21), proof(2))).sealed()
    forged.require_whole()
    assert forged.root != certificate().root


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "no JSON"),
        ("[]", "no certificate of completeness"),
        ('{"format": "other/1"}', "no certificate of completeness"),
        ('{"format": "seamless-completeness/1"}', "'world' is missing"),
    ],
)
def test_what_is_no_certificate_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(CertificateError, match=complaint):
        Certificate.from_json(text)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"as_of": "1"}, "'as_of' is \"1\""),
        ({"as_of": True}, "'as_of' is true"),
        ({"start": 1.0}, "'start' is 1.0"),
        ({"symbols": ["BTC", 7]}, "not all texts"),
        ({"proofs": [1]}, "no JSON object"),
        ({"more": 1}, "'more' is unknown"),
    ],
)
def test_a_field_of_another_type_is_named(change: dict[str, Any], complaint: str) -> None:
    datum = json.loads(certificate().to_json()) | change
    with pytest.raises(CertificateError, match=complaint):
        Certificate.from_json(json.dumps(datum))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"gone\.json"):
        Certificate.read(tmp_path / "gone.json")
    with pytest.raises(CertificateError, match="cannot be written"):
        certificate().write(tmp_path / "no" / "such" / "folder.json")


def test_a_certificate_of_no_shards_is_one() -> None:
    empty = replace(certificate(), proofs=()).sealed()
    empty.require_whole()
    assert Certificate.from_json(empty.to_json()) == empty
