"""What several pages draw: charts, boards, lists, comparisons, filters."""
