"""Actions, rooms and verbs: what ActionHero is in Node."""
