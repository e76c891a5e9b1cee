"""Where specimens were collected: invented countries on real ground, and which species lives where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MISSING_SHARE = 0.004
"""Share of specimens without coordinates."""


@dataclass(frozen=True)
class Site:
    """A collection site.

    Attributes:
        country: Invented name.
        province: Invented name.
        latitude: Decimal degrees, on land.
        longitude: Decimal degrees.
        effort: Relative number of specimens. As in BIOSCAN-5M one country dominates.
    """

    country: str
    province: str
    latitude: float
    longitude: float
    effort: float


PLACES = """
Simland 6: Avel 10.842 -85.618, Avel 10.765 -85.341, Brunde 10.431 -84.007, Corvey 8.703 -83.204, Corvey 8.947 -82.832,
  Delm 9.553 -83.808, Delm 9.748 -83.998
Fictovia 1.2: Ostmark 40.583 -122.392, Ostmark 38.482 -121.763, Tarn 35.611 -83.489, Wend 32.262 -110.87,
  Wend 30.284 -97.78
Ludonia 1.2: Kell -33.958 18.862, Moor -24.995 31.552, Moor -29.118 26.214, Sand -33.33 26.52
Mythosia 1: Norr 43.548 -80.224, Norr 45.387 -75.711, Vest 49.263 -123.02, Ytre 58.742 -94.065
Chimeria 1.2: Lann 18.587 98.486, Lann 14.437 101.372, Pellu 7.003 100.298
Phantasia 1: Gor 31.432 73.089, Gor 33.711 73.058, Zair 30.168 67.012
Utopica 1: Tumba -3.245 37.282, Tumba -8.248 35.413, Wara -4.763 38.302
Nullia 1.2: Ribera -0.638 -76.15, Ribera -3.974 -79.078
Fabulia 0.8: Corro -16.118 145.33, Dunn -33.745 150.61, Dunn -31.952 116.061
Legovia 0.6: Fjell 63.351 10.395, Fjell 59.663 10.771, Skog 69.152 19.156
Imagistan 0.6: Akwe 6.692 -1.622, Akwe 6.235 -0.912
Somnia 0.5: Lamm 48.745 11.5
"""
"""One country a line: name, effort of each of its sites, then province, latitude and longitude of each site."""


def parse_sites(text: str = PLACES) -> list[Site]:
    """The sites that `text` lists in the form of `PLACES`."""
    sites = []
    for line in text.strip().replace("\n  ", " ").splitlines():
        head, listed = line.split(":")
        country, effort = head.split()
        for entry in listed.split(","):
            province, latitude, longitude = entry.split()
            sites.append(Site(country, province, float(latitude), float(longitude), float(effort)))
    return sites


def settle(genera: list[str], sites: list[Site], rng: np.random.Generator) -> np.ndarray:
    """Where each species lives: at some sites in the home country of its genus, and rarely elsewhere.

    Args:
        genera: Genus of each species.
        sites: All sites.
        rng: Source of every random choice.

    Returns:
        For each species the probability of each site, shape (species, sites).
    """
    effort = np.array([site.effort for site in sites])
    effort /= effort.sum()
    countries = [site.country for site in sites]
    homes: dict[str, str] = {}
    ranges = np.zeros((len(genera), len(sites)))
    for species, genus in enumerate(genera):
        home = homes.setdefault(genus, countries[rng.choice(len(sites), p=effort)])
        weights = effort * np.array([1.0 if country == home else 0.02 for country in countries])
        lived = rng.choice(len(sites), int(rng.integers(1, 5)), replace=False, p=weights / weights.sum())
        ranges[species, lived] = rng.dirichlet(np.full(len(lived), 0.8))
    return ranges
