"""`python -m daep_ray` is `daep-ray`."""

from daep_ray.cli import main

main()
