"""Plain torch: the formulas that every other back-end is measured against."""
