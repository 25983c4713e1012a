"""A look at this machine, its GPUs, Ray and its settings, each thing with what to do about it.

``examine`` changes nothing but that it writes, in a folder of its own that it removes, to a root it is given.
What only this machine and Ray are asked for is looked at in ``cluster.doctor``.
"""

from orchestrator.app.doctor.examination import Diagnosis, examine

__all__ = ["Diagnosis", "examine"]
