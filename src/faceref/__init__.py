"""faceref: restore a face so that it stays that person, by looking at other photographs of them."""
