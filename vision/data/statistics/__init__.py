"""What a data set holds, as figures, pages and contact sheets."""
