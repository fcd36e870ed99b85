"""What all studies share: cells and their processes, stages, tables in documents, plots."""
