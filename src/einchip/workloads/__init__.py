"""Compressed matrices by name: published ones, and those of a file of the same form.

catalogue   reads them and says what is wrong with an entry
layers      whole recurrent layers: cycles of a time step against its bounds
figures     weights, multiply-adds, bound, cycles and energy of one, mapped and simulated
page        docs/workloads.md from committed figures
"""

from einchip.workloads.catalogue import Entry, Refused, Workload, published, read
from einchip.workloads.figures import Figures, Table, measure, network_of

__all__ = [
    "Entry",
    "Figures",
    "Refused",
    "Table",
    "Workload",
    "measure",
    "network_of",
    "published",
    "read",
]
