"""The whole way to the Hub, in a process of its own, as the client reads the address of the Hub when it is imported."""

from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from bioscan_hf.data.release import REPOSITORY
from bioscan_hf.hub.push import save_model
from bioscan_hf.tokenization.kmer import build_tokenizer
from tests.hub_server.fixture import LocalHub
from tests.tiny import tiny_masked_lm
from tests.training.made_runs import write_table

REPO = "tester/benchmarked"
BENCHMARK = """
import sys
from bioscan_hf.cli.program import main
from bioscan_hf.evaluation.benchmarks import barcode_run

# As if the table were that repository, whose results alone are listed as the benchmark's.
name = sys.argv[1]
barcode_run.describe_anywhere = lambda *_: (name, "a" * 40)
sys.argv = ["bioscan", *sys.argv[2:]]
main()
"""


def test_a_model_on_the_hub_gets_its_results(hub: LocalHub, tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny_masked_lm(), build_tokenizer(3))
    api = hub.api()
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=tmp_path / "model")
    write_table(tmp_path / "a.csv")
    words = ["benchmark", "barcode", "--model", REPO, "--data", "a.csv", "--neighbours", "3", "--linear-probe"]
    done = hub.run(BENCHMARK, tmp_path, REPOSITORY, *words, "--baselines", "kmer:3", "--push-to-hub", REPO)
    assert f"Pushed: {hub.url}/{REPO}/commit/" in " ".join(done.stdout.split())

    tasks = Path(api.hf_hub_download(REPO, ".eval_results/bioscan_hf.yaml")).read_text()
    [task] = parse_eval_result_entries(yaml.safe_load(tasks))
    assert (task.dataset_id, task.task_id) == (REPOSITORY, "closed_world_species_linear_probe")
    data: Any = ModelCard(Path(api.hf_hub_download(REPO, "README.md")).read_text()).data
    measured = {result.metric_name: result.metric_value for result in data.eval_results}
    assert measured["species, seen species (linear probe), accuracy, 12 queries"] == task.value
    assert "1-NN species, seen species, accuracy, 12 queries" in measured
    kept = list((tmp_path / "huggingface" / "bioscan_hf" / "embeddings").glob("tester-benchmarked-*.parquet"))
    assert len(kept) == 1, "the embeddings are kept for the next time"
