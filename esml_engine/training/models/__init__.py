"""What a fitted model is: how it reads a table's columns, what its members predict, what it answers."""
