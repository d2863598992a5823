"""Making a data set of folders, tables and boxes."""
