"""From a photograph to its result: find, assign, restore, compose."""
