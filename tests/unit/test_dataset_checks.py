"""A dataset whose settings contradict its contract is refused where its pipeline is made, before any row is read."""

from __future__ import annotations

import pytest

from schemas.contract import load_contract
from streams.errors import SettingsError
from streams.normalizer_job import make_pipeline
from streams.settings import DatasetSettings, Settings


def settings(contract: str, interval: str | None) -> Settings:
    return Settings(datasets={"a.b": DatasetSettings(contract=contract, interval=interval)})


def test_ticks_with_an_interval_get_no_pipeline() -> None:
    with pytest.raises(SettingsError, match=r'seamless\.datasets\."a\.b"\.interval: .*leave the interval out'):
        make_pipeline(settings("trade", "1m"), "a.b", load_contract("trade"), 1)


@pytest.mark.parametrize(("contract", "interval"), [("trade", None), ("quote", None), ("ohlcv", "1m"), ("ohlcv", None)])
def test_others_do(contract: str, interval: str | None) -> None:
    assert make_pipeline(settings(contract, interval), "a.b", load_contract(contract), 1).mode == "shadow"
