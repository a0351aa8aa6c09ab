"""What in a network is slow on a device for no good reason, how to mend it, and what each fix gains there."""
