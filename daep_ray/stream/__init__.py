"""Shards -> packed batches: recipe, plan, packing, and the Ray Data execution of the plan."""
