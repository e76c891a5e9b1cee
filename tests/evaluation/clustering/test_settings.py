import json
from dataclasses import asdict
from typing import Any

import pytest

from bioscan_hf.evaluation.clustering.settings import Clustering


def test_settings_are_those_of_the_paper_and_can_be_written() -> None:
    assert json.loads(json.dumps(asdict(Clustering()))) == {
        "reduction": "umap",
        "dimensions": 50,
        "neighbours": 30,
        "min_dist": 0.0,
        "method": "ward",
        "min_cluster_size": 5,
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"reduction": "tsne"}, r"`reduction` must be one of \['umap', 'pca', 'none'\]; got 'tsne'"),
        ({"method": "single"}, "`method` must be one of .*; got 'single'"),
        ({"dimensions": 0}, "`dimensions` must be a whole number of at least 1; got 0"),
        ({"dimensions": 2.5}, "`dimensions` must be a whole number of at least 1; got 2.5"),
        ({"neighbours": 1}, "`neighbours` must be a whole number of at least 2; got 1"),
        ({"min_cluster_size": True}, "`min_cluster_size` must be a whole number of at least 2; got True"),
        ({"min_dist": 1.5}, "`min_dist` must be 0 to 1; got 1.5"),
        ({"min_dist": float("nan")}, "`min_dist` must be 0 to 1; got nan"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Clustering(**wrong)
