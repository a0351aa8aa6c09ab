"""One supernet, many networks: scores, effects of choices, designs under budgets."""
