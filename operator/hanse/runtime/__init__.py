"""What runs in the pods: front, SuperLink, launcher and aggregator; gate and trainer."""
