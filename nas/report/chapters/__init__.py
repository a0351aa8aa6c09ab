"""The report's sections: each function turns the facts of a run into one section."""
