"""The main job, stage by stage: search, measure, train, compare, export, verify."""
