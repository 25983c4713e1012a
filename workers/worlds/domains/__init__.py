"""The eight domains of the invented worlds: what their things are called, and what is asked about them."""

from workers.worlds.domains.crafts import MACHINES, RECIPES, SOFTWARE
from workers.worlds.domains.nature import COMPOUNDS, ORGANISMS
from workers.worlds.domains.society import LAWS, PEOPLE, TOWNS

DOMAINS = {
    domain.name: domain for domain in (COMPOUNDS, LAWS, MACHINES, ORGANISMS, PEOPLE, RECIPES, SOFTWARE, TOWNS)
}
"""In alphabetical order."""

__all__ = ["DOMAINS"]
