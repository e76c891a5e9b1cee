"""Zero-shot clustering at the size of BIOSCAN-5M: ways to run UMAP, Ward's linkage and the mutual information.

    python benchmarks/clustering.py [--specimens 47260] [--peer-specimens 20000] [--threads 2] [--output ...]

Every figure is of a fresh process, one at a time, and measured once. The imports and the compilation of UMAP are
counted; other ways have run before on a few points. The page `clustering.md` is written to the output folder; at full
size that takes about a quarter of an hour on two free cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from clustering_data import SPECIMENS, made_embeddings
from measuring import answer, ask, measured
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
Result = dict[str, Any]
Array = NDArray[Any]


def _umap(vectors: Array, seed: int, **options: Any) -> Array:
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = UMAP(n_components=50, n_neighbors=30, min_dist=0.0, random_state=seed, n_jobs=1, **options)
        return np.asarray(model.fit_transform(vectors))


def _exact(vectors: Array, seed: int) -> Array:
    from bioscan_hf.evaluation.clustering.reduction import reduce
    from bioscan_hf.evaluation.clustering.settings import Clustering

    return reduce(vectors, Clustering(), seed=seed)


def _distinct(vectors: Array, seed: int) -> Array:
    distinct, inverse = np.unique(vectors, axis=0, return_inverse=True)
    return _umap(distinct, seed)[inverse]


def _fastcluster(points: Array, clusters: int) -> Array:
    from bioscan_hf.evaluation.clustering.clusters import find_clusters
    from bioscan_hf.evaluation.clustering.settings import Clustering

    return find_clusters(points, Clustering(), clusters=clusters)


def _scikit_learn(points: Array, clusters: int) -> Array:
    from sklearn.cluster import AgglomerativeClustering

    labels: Array = AgglomerativeClustering(clusters, linkage="ward").fit_predict(points)
    return labels


def _score(species: Array, labels: Array) -> float:
    from bioscan_hf.evaluation.metrics.mutual_information import adjusted_mutual_information

    return adjusted_mutual_information(species, labels, normaliser="arithmetic")


def _scikit_learn_score(species: Array, labels: Array) -> float:
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(species, labels))


REDUCTIONS: dict[str, tuple[str, Callable[[Array, int], Array]]] = {
    "reference": ("UMAP as it is: approximate neighbours (PyNNDescent)", _umap),
    "distinct": ("UMAP of distinct vectors only; *not equivalent*", _distinct),
    "exact": ("**`reduce`**: UMAP with exact neighbours", _exact),
}
LINKAGES: dict[str, tuple[str, Callable[[Array, int], Array]]] = {
    "fastcluster": ("**`find_clusters`**: Ward by fastcluster", _fastcluster),
    "scikit-learn": ("Ward by scikit-learn's `AgglomerativeClustering`", _scikit_learn),
}
SCORES: dict[str, tuple[str, Callable[[Array, Array], float]]] = {
    "grouped": ("**`adjusted_mutual_information`**", _score),
    "scikit-learn": ("scikit-learn's `adjusted_mutual_info_score`", _scikit_learn_score),
}


def run(step: str, way: str, folder: Path, specimens: int, seed: int) -> Result:
    """One step in one way; it leaves its result in the folder for later ones.

    Args:
        step: `make`, `reduce`, `ward` (way: of which reduction), `peer` (both linkages of some points), `score`.
        way: See the dictionaries above.
        folder: Of the arrays.
        specimens: How many to make; for `peer` how many of the points to cluster.
        seed: Of all chance.
    """
    if step == "make":
        made = made_embeddings(specimens, seed)
        np.save(folder / "vectors.npy", made.vectors)
        np.save(folder / "species.npy", made.species)
        repeated = 1 - len(np.unique(made.vectors, axis=0)) / specimens
        return {"species": len(np.unique(made.species)), "repeated": repeated}
    species = np.load(folder / "species.npy")
    if step == "reduce":
        vectors = np.load(folder / "vectors.npy")
        with measured() as cost:
            points = REDUCTIONS[way][1](vectors, seed)
        np.save(folder / f"points-{way}.npy", points)
        return dict(cost)
    if step == "score":
        labels = np.load(folder / "labels-exact.npy")
        SCORES[way][1](species[:9], labels[:9])
        with measured() as cost:
            score = SCORES[way][1](species, labels)
        return {**cost, "AMI": score}
    # Clusters: of all points of a reduction by fastcluster, or of some of the exact one in both ways.
    points = np.load(folder / f"points-{way if step == 'ward' else 'exact'}.npy")[:specimens]
    species = species[:specimens]
    linkage = LINKAGES["fastcluster" if step == "ward" else way][1]
    linkage(points[:9], 2)
    with measured() as cost:
        labels = linkage(points, len(np.unique(species)))
    np.save(folder / f"{'labels' if step == 'ward' else 'peer'}-{way}.npy", labels)
    return {**cost, "AMI": _score(species, labels)}


def measure(specimens: int, peer_specimens: int, threads: int, seed: int) -> dict[str, Result]:
    """Run every step in a process of its own; the results by step and way, with the load average before."""
    from sklearn.metrics import adjusted_rand_score

    env = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)),
    }
    steps = [("make", "")]
    for way in REDUCTIONS:
        steps += [("reduce", way), ("ward", way)]
    steps += [("peer", way) for way in LINKAGES] + [("score", way) for way in SCORES]
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as name:
        for step, way in steps:
            load = os.getloadavg()[0]
            count = peer_specimens if step == "peer" else specimens
            options = ("--step", step, "--way", way, "--folder", name, "--specimens", count, "--seed", seed)
            results[f"{step} {way}".strip()] = {
                **ask(sys.executable, Path(__file__), *options, env=env),
                "load": load,
                "specimens": count,
            }
            sys.stderr.write(f"{step} {way}: {results[f'{step} {way}'.strip()]}\n")
        for kind, reference, step in (("labels", "reference", "ward"), ("peer", "scikit-learn", "peer")):
            theirs = np.load(Path(name) / f"{kind}-{reference}.npy")
            for path in Path(name).glob(f"{kind}-*.npy"):
                way = path.stem.removeprefix(f"{kind}-")
                results[f"{step} {way}"]["ARI"] = adjusted_rand_score(theirs, np.load(path))
    return results


def page(results: dict[str, Result], threads: int, command: str) -> str:
    """The page in Markdown."""
    lines = []
    for way, (title, _) in REDUCTIONS.items():
        quality = {key: results[f"ward {way}"][key] for key in ("AMI", "ARI")}
        lines.append(_line(title, {**results[f"reduce {way}"], **quality}))
    lines.append(_line(LINKAGES["fastcluster"][0], results["ward exact"] | {"ARI": None}))
    lines += [_line(title, results[f"peer {way}"]) for way, (title, _) in LINKAGES.items()]
    lines += [_line(title, results[f"score {way}"]) for way, (title, _) in SCORES.items()]
    parts = [results[step] for step in ("reduce exact", "ward exact", "score grouped")]
    whole: Result = {key: sum(part[key] for part in parts) for key in ("wall", "cpu")}
    whole |= {"specimens": parts[0]["specimens"], "peak": max(part["peak"] for part in parts), "AMI": parts[-1]["AMI"]}
    lines.append(_line("**the whole benchmark**: `reduce`, `find_clusters`, AMI", whole))
    bars = {
        "under 8 minutes": whole["wall"] < 480,
        "under 3 GB": whole["peak"] < 3,
        "Ward equal to scikit-learn's": results["peer fastcluster"]["ARI"] == 1,
        "AMI within 1e-8 of scikit-learn's": abs(parts[-1]["AMI"] - results["score scikit-learn"]["AMI"]) < 1e-8,
    }
    loads = [result["load"] for result in results.values()]
    packages = ("umap-learn", "pynndescent", "numba", "fastcluster", "scikit-learn", "scipy", "numpy", "torch")
    made = results["make"]
    return f"""# Zero-shot clustering at the size of BIOSCAN-5M

    {command}

| way | samples | wall s | CPU s | peak GB | AMI | agreement |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{os.linesep.join(lines)}

{"; ".join(f"{bar}: {'met' if met else '**not met**'}" for bar, met in bars.items())}.

Each figure is of a fresh process, one at a time, measured once. The imports and the compilation of UMAP are counted;
linkages and scores have run before on nine points. CPU seconds are those of the user and the system, memory that of the
whole process. Threads: {threads}, on {os.cpu_count()} cores of {platform.machine()}, {
        platform.system()
    }. The load average was {min(loads):.1f} to {max(loads):.1f} when the
steps began; {
        "other work ran beside them, so compare CPU seconds rather than wall seconds"
        if max(loads) > 1.5 * threads
        else "they are the only ones that used the cores for long"
    }.
Versions: {", ".join(f"{name} {version(name)}" for name in packages)}.

- Made embeddings: {made["specimens"]:,} vectors of 768 numbers, {made["repeated"]:.0%} of them equal to an earlier one,
  as specimens with the same barcode are; {made["species"]:,} species with a long tail of sizes, within genera within
  families. UMAP: 30 neighbours, 50 dimensions, `min_dist` 0, as `Clustering()`.
- AMI (arithmetic) is that with the species after Ward's linkage to as many clusters. Agreement is the adjusted Rand
  index with the clusters of the first way, and for the linkages with those of scikit-learn. Two seeds of UMAP do not
  agree wholly either.
- scikit-learn's Ward holds all distances twice, about 17 GB at full size, so it is compared with fewer points.
- The way of distinct vectors answers another question: every barcode counts once in UMAP, whatever its specimens.
"""


def _line(title: str, result: Result) -> str:
    cells = [f"{result['specimens']:,}", f"{result['wall']:.1f}", f"{result['cpu']:.1f}", f"{result['peak']:.2f}"]
    cells += ["" if result.get(key) is None else f"{result[key]:.4f}" for key in ("AMI", "ARI")]
    return f"| {title} | {' | '.join(cells)} |"


def main() -> None:
    """Parse the command line, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specimens", type=int, default=SPECIMENS, help="vectors to cluster (default: %(default)s)")
    parser.add_argument(
        "--peer-specimens", type=int, default=20_000, help="for scikit-learn's Ward (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of a process (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of data and UMAP (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the page")
    for hidden in ("--step", "--way"):  # a process of its own for each
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        answer(run(options.step, options.way, options.folder, options.specimens, options.seed))
        return
    results = measure(options.specimens, options.peer_specimens, options.threads, options.seed)
    command = "python benchmarks/clustering.py"
    command += f" --specimens {options.specimens} --peer-specimens {options.peer_specimens}"
    command += f" --threads {options.threads} --seed {options.seed}"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "clustering.md").write_text(page(results, options.threads, command), encoding="utf-8")


if __name__ == "__main__":
    main()
