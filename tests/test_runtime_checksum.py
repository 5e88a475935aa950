"""Checksums are SHA-256 whichever way they are summed."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import checksum


@pytest.mark.parametrize("summed", [0, checksum.LEAN_BYTES], ids=["lean", "OpenSSL"])
@given(data=st.binary(max_size=300))
def test_a_checksum_is_the_standard_library_s(summed: int, data: bytes) -> None:
    checksum._summed = summed
    assert checksum.sha256_hex(data) == hashlib.sha256(data).hexdigest()


def test_much_data_is_left_to_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(checksum, "_lean", lambda: asked.append(1))
    monkeypatch.setattr(checksum, "_summed", 0)
    half = bytes(checksum.LEAN_BYTES // 2)
    for _ in range(4):
        assert checksum.sha256_hex(half) == hashlib.sha256(half).hexdigest()
    assert len(asked) == 2


def test_an_interpreter_without_its_own_sum_uses_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(checksum, "import_module", missing)
    monkeypatch.setattr(checksum, "_summed", 0)
    assert checksum.sha256_hex(b"page") == hashlib.sha256(b"page").hexdigest()
