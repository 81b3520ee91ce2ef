"""The gate: the process of the client pod that alone holds the node key and that everything passes on its way out."""
