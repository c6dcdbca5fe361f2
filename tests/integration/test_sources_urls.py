"""Files at a URL whose server is away."""

from __future__ import annotations

from typing import cast

import pytest

from coordinator.source import SourceContext, SourceError
from coordinator.sources.files import open_files
from schemas.contract import load_contract
from streams.registry import Registry
from streams.settings import load_settings


def test_a_url_that_does_not_answer_may_be_tried_again() -> None:
    settings = load_settings(env={}, overrides={"datasets": {"bars": {"contract": "ohlcv", "interval": "1m"}}})
    context = SourceContext(settings, "bars", settings.dataset("bars"), load_contract("ohlcv"), cast("Registry", None))
    with pytest.raises(SourceError, match="cannot be read") as caught:
        open_files("http://127.0.0.1:1/bars.parquet", context)
    assert caught.value.retryable
