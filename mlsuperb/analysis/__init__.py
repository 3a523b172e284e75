"""What runs look like from outside: figures, embeddings, reports."""
