"""What people do: each act's form, its plan and its button, for every page that has it."""
