from pathlib import Path

import pytest

from bioscan_hf.cli import completion
from bioscan_hf.data.features import RANKS, SPLIT_ALIASES, SPLIT_NAMES, SPLIT_UNIONS
from bioscan_hf.models.pretrained import PACKAGED


def test_names_are_those_of_the_schema() -> None:
    assert completion.RANKS == RANKS
    assert set(completion.SPLITS) == {*SPLIT_NAMES, *SPLIT_UNIONS, *SPLIT_ALIASES}


def test_sums_and_lists_go_on() -> None:
    assert completion.splits("test") == ["test", "test_unseen"]
    assert completion.splits("test+test") == ["test+test_unseen"]
    assert completion.ranks("family,s") == ["family,subfamily", "family,species"]
    assert completion.ranks("kingdom") == []


def test_names_come_before_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.csv").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "config.json").touch()
    assert completion.sources("sam") == ["sample", "samples.csv"]
    assert completion.sources("") == ["sample", "my-model/", "samples.csv"]
    assert completion.sources("my-model/") == ["my-model/config.json"]
    assert completion.models("") == [*PACKAGED, "kmer:4", "kmer:6", "my-model/", "samples.csv"]
    assert completion.sources("nowhere/") == []
