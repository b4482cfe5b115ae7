"""Who stands in for whom. Nothing here knows of graphs: a feature is an array of values."""
