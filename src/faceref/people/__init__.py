"""Who is who: faces grouped into people, the choice of references, what is known of a person."""
