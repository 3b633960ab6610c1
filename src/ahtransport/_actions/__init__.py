"""Level 2: actions, verbs and rooms, on level 1's public names only."""
