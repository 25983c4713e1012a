"""What a doctor finds on this machine and on the cluster it is to reach: nodes' limits, GPUs, Ray, its token.

Each check is a function that returns a ``Finding`` and changes nothing. What the kernel tells is read from a
``Kernel``, so that a test can give another. Imports the standard library only, but for
``cluster.doctor.probe``, which talks to Ray and is run as a process of its own.
"""

from cluster.doctor.finding import Finding, Status

__all__ = ["Finding", "Status"]
