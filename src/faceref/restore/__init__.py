"""From a photograph to its result: find, assign, show, restore, compose."""
