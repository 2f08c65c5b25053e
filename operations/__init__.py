"""What operators and the composition roots share: configuration, sagas at work, the CLI."""
