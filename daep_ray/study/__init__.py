"""Studies: a question becomes cells, cells become trainings, trainings become tidy tables."""
