"""Pictures that stand in a data set more than once."""
