"""One module a protocol: which texts are compared, and how the counts are averaged. Each has its own version."""
