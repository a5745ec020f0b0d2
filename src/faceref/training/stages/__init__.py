"""The stages of training: what each optimises, and how it is built."""
